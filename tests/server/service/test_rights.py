"""What a poll costs, and what rights mean."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from server.core.permissions import Actor
from server.core.positions import last_position, make_position
from server.core.preconditions import NONE, Precondition
from server.core.queries import parse_query
from server.service import rights as rights_module
from server.service.lists import ListAnswer, Lists
from server.service.rights import History, Rights, Since, first_of, since_of
from server.storage.base import Snapshot
from tests.server.service.pollers import OPTIONS, ask
from tests.server.storage.scenes import ALICE, BOB, Scene, put

pytestmark = pytest.mark.gen_test(timeout=60)

HOUR = 3_600_000


class Counted:
    """A snapshot that notes what it is asked."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._snapshot, name)


async def cost(
    scene: Scene, list_uri: str, query: str, by: Actor, only: Precondition = NONE
) -> tuple[list[str], ListAnswer]:
    """What a GET asks of its snapshot, and its answer."""
    async with scene.storage.snapshot() as snapshot:
        counted: Any = Counted(snapshot)
        lists = Lists(scene.storage, OPTIONS)
        answer = await lists.read(counted, ask(list_uri, query, by=by, only=only))
        return counted.asked, answer


async def rest() -> None:
    """Let the clocks of a list and its bucket, which run ahead of the time, wait for it."""
    await asyncio.sleep(0.02)


async def test_owner_of_a_list_older_than_the_poll_polls_without_a_find_more(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights_module, "SKEW_MS", 0)
    collection = await scene.make_collection()
    uri = f"{collection}/records"
    await rest()
    stamp = (await scene.write(put(f"{uri}/r"))).last_modified
    await scene.do(put(f"{uri}/s"))
    asked, _ = await cost(scene, uri, "", ALICE)
    assert asked == ["objects", "page"]
    asked, answer = await cost(scene, uri, f"_since={stamp}", ALICE)
    assert asked == ["objects", "page"]
    assert [one.id for one in answer.objects] == ["s"]


async def test_poll_of_a_list_that_wrote_last_in_its_bucket_is_no_find_more(scene: Scene) -> None:
    collection = await scene.make_collection()
    uri = f"{collection}/records"
    await rest()
    stamp = (await scene.write(put(f"{uri}/r"))).last_modified
    asked, _ = await cost(scene, uri, f"_since={stamp}", ALICE)
    assert asked == ["objects", "page"]
    known = Precondition(none_match=stamp)
    asked, answer = await cost(scene, uri, f"_since={stamp}", ALICE, known)
    assert (asked, answer.modified) == (["objects"], False)


async def test_poll_of_a_young_list_is_one_find_more(scene: Scene) -> None:
    collection = await scene.make_collection()
    uri = f"{collection}/records"
    stamp = (await scene.write(put(f"{uri}/r"))).last_modified
    await scene.do(put(f"{uri}/s"))
    # The collection is changed, but not who may read it.
    await scene.do(put(collection, {"title": "x"}))
    asked, answer = await cost(scene, uri, f"_since={stamp}", ALICE)
    assert asked == ["objects", "rights_log", "page"]
    assert [one.id for one in answer.objects] == ["s"]


async def test_list_that_is_dated_ahead_tells_who_gained_it_all_the_same(scene: Scene) -> None:
    collection = await scene.make_collection()
    uri = f"{collection}/records"
    acl = {"read": [BOB.user_id]}
    await scene.do(put(f"{uri}/his", acl=acl))
    clock = await scene.clock(uri)
    ahead = (clock.position >> 20) + HOUR
    await scene.do(put(f"{uri}/ahead", {"last_modified": ahead}))
    await scene.do(put(f"{uri}/his", {"n": 2}, acl=acl))
    _, first = await cost(scene, uri, "", BOB)
    assert [one.id for one in first.objects] == ["his"]
    await scene.do(put(collection, acl=acl))
    _, answer = await cost(scene, uri, f"_since={first.timestamp}", BOB)
    assert sorted(one.id for one in answer.objects) == ["ahead", "his"]


def rights(*principals: str, whole: bool = False) -> Rights:
    return Rights(whole, frozenset(principals))


@pytest.mark.parametrize(
    ("now", "before", "gained", "lost"),
    [
        (rights("a"), rights("a"), False, False),
        (rights("a", "g"), rights("a"), True, False),
        (rights("a"), rights("a", "g"), False, True),
        (rights("a", "g"), rights("a", "h"), True, True),
        (rights("a", whole=True), rights("a"), True, False),
        (rights("a"), rights("a", whole=True), False, True),
        (rights("a", "g", whole=True), rights("a", whole=True), False, False),
    ],
)
def test_history_tells_what_was_gained_and_lost(
    now: Rights, before: Rights, gained: bool, lost: bool
) -> None:
    history = History(now, before, before)
    assert (history.gained, history.lost) == (gained, lost)


@pytest.mark.parametrize(
    ("readers", "shown"), [(["a"], True), (["b", "a"], True), (["b"], False), ([], False)]
)
def test_rights_show_what_names_one_of_the_principals(readers: Sequence[str], shown: bool) -> None:
    assert rights("a", "g").shows(readers) is shown
    assert rights(whole=True).shows(readers)


def test_poll_begins_at_its_etag_or_cursor_but_not_below_the_floor() -> None:
    last = last_position(5)
    for text, first in [("5", make_position(5)), ("5-2", make_position(5, 2))]:
        query = parse_query([("_since", text)])
        assert since_of(query, 0) == Since(5, first, last)
        floor = make_position(9)
        assert since_of(query, floor) == Since(5, floor, floor)
    assert since_of(parse_query([("_before", "5")]), 0) is None


def test_first_of_none_is_their_number() -> None:
    assert first_of([False, True, True]) == 1
    assert first_of([False, False]) == 2
    assert first_of([]) == 0
