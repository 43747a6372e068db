import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from server.core.commands import Replace
from server.core.errors import Forbidden, InvalidParameters, ModifiedMeanwhile, ParentMissing
from server.core.paths import parse_path
from server.core.permissions import Actor
from server.core.preconditions import NONE, Precondition
from server.core.queries import parse_query
from server.service import lists as lists_module
from server.service.lists import DELETE_AT_ONCE, ListAnswer, Lists
from server.service.pages import ListOptions, ListRequest
from tests.server.storage.scenes import ALICE, BOB, RULES, Scene, delete, list_path, put

pytestmark = pytest.mark.gen_test(timeout=60)

AT_ONCE = 20
MANY = 2 * AT_ONCE + 3

OPTIONS = ListOptions(RULES, b"secret", page_size=None, fetch_max=5000)


@pytest.fixture
def small_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletions take three commands for ``MANY`` objects."""
    monkeypatch.setattr(lists_module, "DELETE_AT_ONCE", AT_ONCE)


def ask(
    collection: str, query: str = "", *, by: Actor = ALICE, only: Precondition = NONE
) -> ListRequest:
    """A request about the records of a collection."""
    pairs = [(name, value) for name, _, value in (p.partition("=") for p in query.split("&") if p)]
    now = time.time_ns() // 1_000_000
    return ListRequest(by, list_path(f"{collection}/records"), parse_query(pairs), only, now)


async def read(scene: Scene, request: ListRequest, options: ListOptions = OPTIONS) -> ListAnswer:
    async with scene.storage.snapshot() as snapshot:
        return await Lists(scene.storage, options).read(snapshot, request)


def ids(answer: ListAnswer) -> list[str]:
    return [one.id for one in answer.objects]


async def fill(scene: Scene, collection: str, count: int) -> None:
    """Many records, quickly: ``r0000`` and so on."""
    parts: list[Replace] = [put(f"{collection}/records/r{i:04}", {"n": i}) for i in range(count)]
    for start in range(0, count, 250):
        await scene.commit(*parts[start : start + 250])


async def left(scene: Scene, collection: str) -> Sequence[str]:
    return await scene.living(f"{collection}/records")


@pytest.mark.usefixtures("small_commands")
async def test_deletion_of_many_is_complete_and_told_whole(scene: Scene) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, MANY)
    outcome, token = await Lists(scene.storage, OPTIONS).delete(ask(collection))
    assert token is None
    assert {stored.path.id for stored in outcome.tombstones} == {f"r{i:04}" for i in range(MANY)}
    assert all(stored.deleted for stored in outcome.tombstones)
    assert await left(scene, collection) == []
    clock = await scene.clock(f"{collection}/records")
    assert outcome.position == clock.position


class Meddling:
    """A storage in which somebody else acts after the first command."""

    def __init__(self, scene: Scene, parts: list[Any]) -> None:
        self._scene = scene
        self._parts = parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scene.storage, name)

    async def commit(self, command: Any) -> Any:
        verdicts = await self._scene.storage.commit(command)
        while self._parts:
            await self._scene.do(self._parts.pop(0))
        return verdicts


async def test_what_others_write_during_a_deletion_stays(scene: Scene) -> None:
    collection = await scene.make_collection()
    count = DELETE_AT_ONCE + 3
    await fill(scene, collection, count)
    # The walk begins with the newest; r0000 is reached last.
    others = [put(f"{collection}/records/new"), put(f"{collection}/records/r0000", {"n": "again"})]
    storage: Any = Meddling(scene, list(others))
    stamp = (await read(scene, ask(collection))).timestamp
    # The precondition holds for the first command, and is not asked of those after it.
    request = ask(collection, only=Precondition(match=stamp))
    outcome, token = await Lists(storage, OPTIONS).delete(request)
    assert token is None
    assert sorted(await left(scene, collection)) == ["new", "r0000"]
    assert len(outcome.tombstones) == count - 1


@pytest.mark.usefixtures("small_commands")
async def test_deletion_whose_collection_goes_meanwhile_tells_what_it_deleted(
    scene: Scene,
) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, MANY)
    storage: Any = Meddling(scene, [delete(collection)])
    outcome, token = await Lists(storage, OPTIONS).delete(ask(collection))
    assert (len(outcome.tombstones), token) == (AT_ONCE, None)


@pytest.mark.usefixtures("small_commands")
async def test_deletion_with_a_limit_above_one_command_stops_there(scene: Scene) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, MANY)
    limit = AT_ONCE + 7
    lists = Lists(scene.storage, OPTIONS)
    request = ask(collection, f"_limit={limit}&_sort=n")
    outcome, token = await lists.delete(request)
    assert len(outcome.tombstones) == limit
    assert len(await left(scene, collection)) == MANY - limit
    assert token is not None
    following = replace(request, query=replace(request.query, token=token))
    outcome, token = await lists.delete(following)
    assert (len(outcome.tombstones), token) == (MANY - limit, None)
    assert await left(scene, collection) == []


async def test_token_of_a_deletion_can_be_used_once(scene: Scene) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, 5)
    lists = Lists(scene.storage, OPTIONS)
    _, token = await lists.delete(ask(collection, "_limit=2"))
    following = ask(collection, f"_limit=2&_token={token}")
    answers = await asyncio.gather(
        lists.delete(following), lists.delete(following), return_exceptions=True
    )
    refused = [one for one in answers if isinstance(one, InvalidParameters)]
    assert len(refused) == 1
    assert "already used" in (refused[0].message or "")
    assert len(await left(scene, collection)) == 1


async def test_token_may_be_read_again_and_again(scene: Scene) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, 3)
    first = await read(scene, ask(collection, "_limit=2"))
    following = ask(collection, f"_limit=2&_token={first.token}")
    answers = [await read(scene, following) for _ in range(2)]
    assert [ids(answer) for answer in answers] == [["r0000"], ["r0000"]]


async def test_pages_of_one_walk_have_the_etag_of_the_first(scene: Scene) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, 3)
    first = await read(scene, ask(collection, "_limit=2"))
    await scene.do(put(f"{collection}/records/later"))
    second = await read(scene, ask(collection, f"_limit=2&_token={first.token}"))
    assert second.timestamp == first.timestamp
    assert (await read(scene, ask(collection))).timestamp > first.timestamp


async def test_deletion_by_a_stale_belief_deletes_nothing(scene: Scene) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, 2)
    with pytest.raises(ModifiedMeanwhile):
        await Lists(scene.storage, OPTIONS).delete(ask(collection, only=Precondition(match=1)))
    assert len(await left(scene, collection)) == 2


async def test_deletion_deletes_only_what_matches_and_may_be_written(scene: Scene) -> None:
    collection = await scene.make_collection({"read": [BOB.user_id]})
    await fill(scene, collection, 3)
    acl = {"write": [BOB.user_id]}
    for name in ("own", "other"):
        await scene.do(put(f"{collection}/records/{name}", {"n": name}, acl=acl))
    lists = Lists(scene.storage, OPTIONS)
    outcome, _ = await lists.delete(ask(collection, "n=own", by=BOB))
    assert [one.path.id for one in outcome.tombstones] == ["own"]
    outcome, _ = await lists.delete(ask(collection, by=BOB))
    assert [one.path.id for one in outcome.tombstones] == ["other"]
    with pytest.raises(Forbidden):
        await lists.delete(ask(collection, by=BOB))
    assert len(await left(scene, collection)) == 3


async def test_page_is_the_smallest_of_what_is_asked_for_and_set(scene: Scene) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, 5)
    for query, page_size, fetch_max, expected in [
        ("", None, 4, 4),
        ("", 3, 4, 3),
        ("_limit=2", 3, 4, 2),
        ("_limit=4", 3, 4, 3),
        ("_limit=9", None, 4, 4),
    ]:
        options = replace(OPTIONS, page_size=page_size, fetch_max=fetch_max)
        answer = await read(scene, ask(collection, query), options)
        assert len(answer.objects) == expected
        assert answer.token is not None


async def test_count_is_of_what_lives_and_matches_whatever_the_page(scene: Scene) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, 4)
    await scene.do(delete(f"{collection}/records/r0000"))
    for query, expected in [("", 3), ("min_n=2", 2), ("_limit=1", 3), ("_since=0", 3)]:
        answer = await read(scene, replace(ask(collection, query), count=True))
        assert (answer.total, answer.objects) == (expected, ())


class TestPartialReaders:
    """Who may see only some records of a list."""

    async def share(self, scene: Scene) -> str:
        """A collection in which Bob may read one record of two."""
        collection = await scene.make_collection()
        await scene.do(put(f"{collection}/records/hers"))
        await scene.do(put(f"{collection}/records/his", acl={"read": [BOB.user_id]}))
        return collection

    async def test_they_see_theirs_and_count_theirs(self, scene: Scene) -> None:
        collection = await self.share(scene)
        assert ids(await read(scene, ask(collection, by=BOB))) == ["his"]
        counted = await read(scene, replace(ask(collection, by=BOB), count=True))
        assert counted.total == 1

    async def test_etag_of_a_poll_without_news_is_the_one_they_sent(self, scene: Scene) -> None:
        collection = await self.share(scene)
        first = await read(scene, ask(collection, by=BOB))
        await scene.do(put(f"{collection}/records/hers", {"n": 2}))
        poll = ask(collection, f"_since={first.timestamp}", by=BOB)
        answer = await read(scene, poll)
        # A greater ETag with nothing to show makes kinto.js believe the server was flushed.
        assert (answer.objects, answer.timestamp) == ([], first.timestamp)
        assert not (
            await read(scene, replace(poll, precondition=Precondition(none_match=first.timestamp)))
        ).modified
        await scene.do(put(f"{collection}/records/his", {"n": 2}, acl={"read": [BOB.user_id]}))
        news = await read(scene, poll)
        assert ids(news) == ["his"]
        assert news.timestamp > first.timestamp
        counted = await read(scene, replace(poll, count=True))
        assert (counted.total, counted.timestamp) == (1, news.timestamp)

    async def test_page_of_a_walk_that_comes_out_empty_has_the_first_pages_etag(
        self, scene: Scene
    ) -> None:
        collection = await self.share(scene)
        first = f"{collection}/records/first"
        await scene.do(put(first, acl={"read": [BOB.user_id]}))
        begun = await read(scene, ask(collection, "_since=5&_sort=last_modified&_limit=1", by=BOB))
        assert begun.token is not None
        await scene.do(put(first, acl={"read": []}))
        rest = f"_since=5&_sort=last_modified&_limit=1&_token={begun.token}"
        answer = await read(scene, ask(collection, rest, by=BOB))
        assert (answer.objects, answer.timestamp) == ([], begun.timestamp)

    async def test_they_are_refused_once_nothing_is_theirs(self, scene: Scene) -> None:
        collection = await self.share(scene)
        await scene.do(put(f"{collection}/records/his", acl={}))
        await scene.do(put(f"{collection}/records/his", acl={"read": []}))
        with pytest.raises(Forbidden):
            await read(scene, ask(collection, by=BOB))
        with pytest.raises(Forbidden):
            await read(scene, ask(collection, "_token=nonsense", by=BOB))

    async def test_bad_token_is_told_to_who_may_know(self, scene: Scene) -> None:
        collection = await self.share(scene)
        for reader in (ALICE, BOB):
            with pytest.raises(InvalidParameters):
                await read(scene, ask(collection, "_token=nonsense", by=reader))

    async def test_who_may_add_sees_an_empty_list(self, scene: Scene) -> None:
        collection = await scene.make_collection({"record:create": [BOB.user_id]})
        assert ids(await read(scene, ask(collection, by=BOB))) == []


async def test_list_of_a_missing_collection_is_missing_for_who_may_know(scene: Scene) -> None:
    collection = await scene.make_collection()
    missing = collection[:-1] + "none"
    with pytest.raises(ParentMissing):
        await read(scene, ask(missing))
    with pytest.raises(Forbidden):
        await read(scene, ask(missing, by=BOB))


async def test_read_by_a_belief_is_answered_by_it(scene: Scene) -> None:
    collection = await scene.make_collection()
    await fill(scene, collection, 1)
    stamp = (await read(scene, ask(collection))).timestamp
    kept = await read(scene, ask(collection, only=Precondition(none_match=stamp)))
    assert (kept.modified, kept.objects) == (False, ())
    with pytest.raises(ModifiedMeanwhile):
        await read(scene, ask(collection, only=Precondition(match=stamp - 1)))


def test_scope_of_a_token_is_the_list_and_its_order() -> None:
    first = ask("/buckets/b/collections/c", "_sort=a,-b")
    assert first.scope == "/buckets/b/collections/c/records a,-b,-last_modified,id"
    assert parse_path("/buckets/b/collections/c/records") == first.path
