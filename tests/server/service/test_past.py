import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from server.core.commands import Change, Target
from server.core.envelopes import Envelope
from server.core.errors import (
    CursorExpired,
    Forbidden,
    InvalidParameters,
    ModifiedMeanwhile,
    ObjectMissing,
    SyncError,
)
from server.core.judge import Reading
from server.core.patches import ShallowPatch
from server.core.paths import object_path
from server.core.permissions import Actor
from server.core.positions import make_position, spell_full_cursor, timestamp_of
from server.core.preconditions import Precondition
from server.service.past import read_past_object
from server.service.trimming import trim
from server.storage.base import LogPage
from server.storage.reader import Reader
from tests.server.service.pollers import ask, dead, live, now_ms, read
from tests.server.storage.scenes import ALICE, BOB, RULES, Scene, delete, list_path, patch, put

pytestmark = pytest.mark.gen_test(timeout=120)

QUERIES = (
    "",
    "_sort=n",
    "_sort=-deep.m",
    "_sort=-n,deep.m&min_n=2",
    "min_n=3&_sort=last_modified",
    "n=1",
    "not_last_modified=1",
    "gt_last_modified=1000000000000&_sort=n",
)


class Story:
    """Random writes in a list, and what it showed after each.

    Attributes:
        states: position to what the list showed, by query.
    """

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.random = random.Random(seed)
        self.states: dict[int, dict[str, list[bytes]]] = {}
        self.collection = ""

    async def live(self, writes: int) -> None:
        self.collection = await self.scene.make_collection()
        for _ in range(writes):
            for _ in range(self.random.randint(1, 3)):
                await self._write()
            clock = await self.scene.clock(self.records)
            self.states[clock.position] = {one: await self.show(one) for one in QUERIES}

    @property
    def records(self) -> str:
        return f"{self.collection}/records"

    async def show(self, query: str, by: Actor = ALICE) -> list[bytes]:
        answer = await read(self.scene, ask(self.records, query, by=by))
        return [one.json for one in answer.objects]

    async def _write(self) -> None:
        rng = self.random
        uri = f"{self.records}/r{rng.randint(0, 7)}"
        data: dict[str, Any] = {"n": rng.randint(0, 5), "deep": {"m": rng.choice([1, "x", None])}}
        if rng.random() < 0.2:
            data["last_modified"] = now_ms() - rng.randint(0, 10**9)
        choice = rng.random()
        try:
            if choice < 0.3:
                await self.scene.do(delete(uri))
            elif choice < 0.5:
                await self.scene.do(patch(uri, {"n": rng.randint(0, 5)}))
            else:
                await self.scene.do(put(uri, data))
        except ObjectMissing:
            pass


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_list_at_a_cursor_is_what_it_was_whatever_is_asked(scene: Scene, seed: int) -> None:
    story = Story(scene, seed)
    await story.live(15)
    for position, states in story.states.items():
        at = spell_full_cursor(position)
        for query, shown in states.items():
            assert await story.show(f"{query}&_at={at}") == shown, (at, query)


async def test_pages_of_a_walk_are_of_its_state_whatever_is_written_meanwhile(scene: Scene) -> None:
    story = Story(scene, 4)
    await story.live(12)
    position = list(story.states)[5]
    for query in ("_sort=n", ""):
        request = ask(
            story.records, f"{query}&_limit=2&_at={spell_full_cursor(position)}", by=ALICE
        )
        walked, stamps = [], set()
        while True:
            answer = await read(scene, request)
            walked += [one.json for one in answer.objects]
            stamps.add(answer.timestamp)
            if answer.token is None:
                break
            await scene.do(put(f"{story.records}/r{len(walked) % 7}", {"n": 9}))
            request = replace(request, query=replace(request.query, token=answer.token))
        assert walked == story.states[position][query]
        assert len(stamps) == 1


async def test_token_of_one_state_is_not_one_of_another(scene: Scene) -> None:
    story = Story(scene, 5)
    await story.live(6)
    *_, first, second = [one for one, s in story.states.items() if len(s[""]) > 1]
    answer = await read(
        scene, ask(story.records, f"_limit=1&_at={spell_full_cursor(first)}", by=ALICE)
    )
    for other in (f"_at={spell_full_cursor(second)}", ""):
        with pytest.raises(InvalidParameters):
            await read(scene, ask(story.records, f"_token={answer.token}&{other}", by=ALICE))


async def test_count_at_a_cursor_is_of_the_living(scene: Scene) -> None:
    story = Story(scene, 6)
    await story.live(10)
    for position, states in story.states.items():
        at = spell_full_cursor(position)
        for query in ("", "n=1", "not_last_modified=1"):
            request = replace(ask(story.records, f"{query}&_at={at}", by=ALICE), count=True)
            living = [one for one in states[query] if b'"deleted":true' not in one]
            assert (await read(scene, request)).total == len(living)


async def test_etag_at_a_cursor_is_that_of_then_and_answers_304(scene: Scene) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    first = await scene.write(put(f"{records}/a", {"n": 1}))
    later = await scene.write(put(f"{records}/a", {"n": 2}))
    between = make_position(timestamp_of(first.position), 7)
    query = f"_at={spell_full_cursor(between)}"
    answer = await read(scene, ask(records, query, by=ALICE))
    assert (answer.timestamp, answer.position) == (first.last_modified, between)
    known = Precondition(none_match=first.last_modified)
    assert not (await read(scene, ask(records, query, by=ALICE, only=known))).modified
    only = Precondition(match=later.last_modified)
    with pytest.raises(ModifiedMeanwhile):
        await read(scene, ask(records, query, by=ALICE, only=only))


async def test_list_that_was_empty_has_an_etag_that_nothing_was_written_after(scene: Scene) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    start = await scene.clock(records)
    await scene.do(put(f"{records}/a"))
    at = spell_full_cursor(start.position)
    answer = await read(scene, ask(records, f"_at={at}", by=ALICE))
    assert (answer.objects, answer.timestamp) == ([], timestamp_of(start.position))


async def test_future_and_what_was_before_the_list_was_made_again_are_gone(scene: Scene) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    old = await scene.write(put(f"{records}/a"))
    await scene.do(delete(collection))
    await scene.do(put(collection))
    clock = await scene.clock(records)
    for at, reason in ((old.position, "floor"), (clock.position + 1, "ahead")):
        with pytest.raises(CursorExpired) as caught:
            await read(scene, ask(records, f"_at={spell_full_cursor(at)}", by=ALICE))
        assert caught.value.details["reason"] == reason
        with pytest.raises(CursorExpired):
            await look(scene, f"{records}/a", at)
    answer = await read(scene, ask(records, f"_at={spell_full_cursor(clock.floor)}", by=ALICE))
    assert answer.objects == []


async def test_state_that_is_still_to_come_is_the_present_one_for_who_says_so(scene: Scene) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    await scene.do(put(f"{records}/a"))
    await scene.do(put(f"{records}/b"))
    request = replace(ask(records, f"_limit=1&_at={now_ms() + 10**9}", by=ALICE), clamps=True)
    first = await read(scene, request)
    await scene.do(put(f"{records}/c"))
    again = replace(request, query=replace(request.query, token=first.token))
    second = await read(scene, again)
    assert [live(first), live(second), second.token] == [["b"], ["a"], None]


READABLE = {"read": [BOB.user_id]}


async def share(scene: Scene, uri: str, acl: Mapping[str, Any]) -> None:
    envelope = Envelope(None, {name: tuple(who) for name, who in acl.items()})
    await scene.do(Change(Target(ALICE, object_path(uri)), ShallowPatch(envelope)))


async def test_who_sees_some_objects_sees_those_in_the_state_of_then(scene: Scene) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    for name in ("kept", "shared-later", "unshared-later", "deleted-later", "remade", "private"):
        await scene.do(put(f"{records}/{name}", {"n": 1}, acl={} if name != "kept" else READABLE))
    await share(scene, f"{records}/unshared-later", READABLE)
    await share(scene, f"{records}/deleted-later", READABLE)
    at = (await scene.clock(records)).position
    await scene.do(put(f"{records}/new", {"n": 1}, acl=READABLE))
    await scene.do(put(f"{records}/kept", {"n": 2}))
    await scene.do(put(f"{records}/shared-later", {"n": 2}, acl=READABLE))
    await share(scene, f"{records}/unshared-later", {"read": []})
    await scene.do(delete(f"{records}/deleted-later"))
    await scene.do(delete(f"{records}/remade"))
    await scene.do(put(f"{records}/remade", {"n": 3}, acl=READABLE))
    query = f"_at={spell_full_cursor(at)}"
    answer = await read(scene, ask(records, query, by=BOB))
    assert live(answer) == ["kept", "shared-later"]
    assert {one.data["n"] for one in answer.objects} == {1}
    assert answer.position is None
    total = await read(scene, replace(ask(records, query, by=BOB), count=True))
    assert total.total == 2
    for name in ("new", "remade"):
        with pytest.raises(ObjectMissing):
            await look(scene, f"{records}/{name}", at, by=BOB)
    for name in ("unshared-later", "deleted-later", "private"):
        with pytest.raises(Forbidden):
            await look(scene, f"{records}/{name}", at, by=BOB)
    assert (await look(scene, f"{records}/shared-later", at, by=BOB)).object.data["n"] == 1


async def test_who_sees_nothing_now_is_refused_whatever_they_saw_then(scene: Scene) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    await scene.do(put(f"{records}/a", acl=READABLE))
    at = (await scene.clock(records)).position
    await share(scene, f"{records}/a", {"read": []})
    with pytest.raises(Forbidden):
        await read(scene, ask(records, f"_at={spell_full_cursor(at)}", by=BOB))


async def test_tombstones_are_told_also_of_what_was_made_anew_since(scene: Scene) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    await scene.do(put(f"{records}/a"))
    gone = (await scene.do(delete(f"{records}/a"))).object
    at = spell_full_cursor(gone.position)
    await scene.do(put(f"{records}/a"))
    answer = await read(scene, ask(records, f"gt_last_modified=0&_at={at}", by=ALICE))
    assert dead(answer) == {"a": gone.last_modified}
    assert live(await read(scene, ask(records, f"_at={at}", by=ALICE))) == []


async def look(scene: Scene, uri: str, at: int, by: Actor = ALICE) -> Reading:
    async with scene.storage.snapshot() as snapshot:
        return await read_past_object(Reader(snapshot, RULES), by, object_path(uri), at)


async def test_object_at_a_cursor_is_what_it_was_to_who_may_read_its_list(scene: Scene) -> None:
    collection = await scene.make_collection()
    uri = f"{collection}/records/a"
    start = (await scene.clock(f"{collection}/records")).position
    first = await scene.write(put(uri, {"n": 1}, acl=READABLE))
    second = await scene.write(put(uri, {"n": 2}))
    gone = (await scene.do(delete(uri))).object
    third = await scene.write(put(uri, {"n": 3}))
    for stored in (first, second, third):
        found = await look(scene, uri, stored.position)
        assert (found.object.json, found.object.last_modified) == (
            stored.json,
            stored.last_modified,
        )
        assert found.object.acl == stored.acl
        assert found.writable
    for position in (start, gone.position):
        with pytest.raises(ObjectMissing):
            await look(scene, uri, position)


async def test_object_that_is_deleted_can_be_read_as_it_was(scene: Scene) -> None:
    collection = await scene.make_collection({"read": [BOB.user_id]})
    uri = f"{collection}/records/a"
    first = await scene.write(put(uri, {"n": 1}))
    gone = (await scene.do(delete(uri))).object
    found = await look(scene, uri, first.position, by=BOB)
    assert (found.object.json, found.writable) == (first.json, False)
    for position in (gone.position, (await scene.clock(f"{collection}/records")).position):
        with pytest.raises(ObjectMissing):
            await look(scene, uri, position)
    with pytest.raises(ObjectMissing):
        await look(scene, f"{collection}/records/never", first.position)


@pytest.mark.parametrize("kind", ["bucket", "collection", "group"])
async def test_objects_and_lists_of_every_kind_have_a_past(scene: Scene, kind: str) -> None:
    collection = await scene.make_collection()
    bucket = collection.rpartition("/collections")[0]
    uri = {"bucket": bucket, "collection": collection, "group": f"{bucket}/groups/g"}[kind]
    first = await scene.write(put(uri, {"n": 1}))
    await scene.do(put(uri, {"n": 2}))
    assert (await look(scene, uri, first.position)).object.json == first.json
    query = f"id={object_path(uri).id}&_at={spell_full_cursor(first.position)}"
    answer = await read(scene, ask(uri.rpartition("/")[0], query, by=ALICE))
    assert [one.json for one in answer.objects] == [first.json]


async def test_page_of_a_long_past_lets_others_have_their_turn(
    scene: Scene,
) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    for start in range(0, 4000, 500):
        parts = [put(f"{records}/r{i:05}", {"n": i}) for i in range(start, start + 500)]
        await scene.commit(*parts)
    at = spell_full_cursor((await scene.clock(records)).position)
    for start in range(0, 2000, 500):
        parts = [put(f"{records}/r{i:05}", {"n": -i}) for i in range(start, start + 500)]
        await scene.commit(*parts)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(turn())
    answer = await read(scene, ask(records, f"_sort=n&_limit=10&_at={at}", by=ALICE))
    other.cancel()
    assert [one.data["n"] for one in answer.objects] == list(range(10))
    assert turns >= 4


async def test_dates_of_filters_are_checked_as_those_of_today(scene: Scene) -> None:
    collection = await scene.make_collection()
    at = spell_full_cursor((await scene.clock(f"{collection}/records")).position)
    with pytest.raises(SyncError) as caught:
        await read(
            scene,
            ask(f"{collection}/records", f"_before={now_ms() + 10**10}&_at={at}", by=ALICE),
        )
    assert caught.value.status == 400


async def test_past_ends_where_the_log_was_trimmed(scene: Scene) -> None:
    collection = await scene.make_collection()
    records, uri = f"{collection}/records", f"{collection}/records/a"
    written = [await scene.write(put(uri, {"n": number})) for number in range(4)]
    resting = await scene.write(put(f"{records}/b"))
    last = await scene.write(put(uri, {"n": 4}))
    async with scene.storage.snapshot() as snapshot:
        page = LogPage(list_path(records), 0, resting.position, 100)
        entries = await snapshot.log(page)
    await trim(scene.storage, object_path(uri).ancestors[0], entries)
    for stored in written:
        with pytest.raises(CursorExpired):
            await look(scene, uri, stored.position)
    assert (await look(scene, uri, resting.position)).object.json == written[-1].json
    query = f"_at={spell_full_cursor(resting.position)}"
    answer = await read(scene, ask(records, query, by=ALICE))
    assert [one.json for one in answer.objects] == [resting.json, written[-1].json]
    assert answer.timestamp == resting.last_modified
    assert (await look(scene, uri, last.position)).object.json == last.json


class Sharing:
    """Random writes in a list, of which some objects are shared with Bob.

    Attributes:
        lives: of the objects that are there now, their texts since they were made, by position.
        shared: those that Bob may read now.
        cursors: of all writes.
    """

    def __init__(self, scene: Scene, records: str, seed: int) -> None:
        self._scene = scene
        self._records = records
        self._random = random.Random(seed)
        self.lives: dict[str, dict[int, bytes]] = {}
        self.shared: set[str] = set()
        self.cursors: list[int] = []

    async def write(self, number: int) -> None:
        name = f"r{self._random.randint(0, 5)}"
        uri = f"{self._records}/{name}"
        if name in self.lives and self._random.random() < 0.2:
            stored = (await self._scene.do(delete(uri))).object
            del self.lives[name]
            self.shared.discard(name)
        else:
            readers = [BOB.user_id] if self._random.random() < 0.5 else []
            stored = await self._scene.write(put(uri, {"n": number}, acl={"read": readers}))
            (self.shared.add if readers else self.shared.discard)(name)
            self.lives.setdefault(name, {})[stored.position] = stored.json
        self.cursors.append(stored.position)

    def seen_at(self, at: int) -> dict[str, bytes]:
        """What Bob sees of a state: names and texts, in the order of the names."""
        seen = {}
        for name in sorted(self.shared):
            for position, text in self.lives[name].items():
                if position <= at:
                    seen[name] = text
        return seen


@pytest.mark.parametrize("seed", range(3))
async def test_sharee_sees_at_every_cursor_what_is_theirs_now_as_it_was(
    scene: Scene, seed: int
) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    sharing = Sharing(scene, records, seed)
    for number in range(25):
        await sharing.write(number)
    assert sharing.shared
    for at in sharing.cursors:
        expected = sharing.seen_at(at)
        request = ask(records, f"_sort=id&_at={spell_full_cursor(at)}", by=BOB)
        answer = await read(scene, request)
        assert [one.json for one in answer.objects] == list(expected.values())
        assert (await read(scene, replace(request, count=True))).total == len(expected)
        for name in sharing.shared - set(expected):
            with pytest.raises(ObjectMissing):
                await look(scene, f"{records}/{name}", at, by=BOB)
        for name, text in expected.items():
            assert (await look(scene, f"{records}/{name}", at, by=BOB)).object.json == text
