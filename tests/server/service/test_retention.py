import asyncio
import random
import time
from typing import Any

import pytest

from server.core.commands import Trim
from server.core.errors import CursorExpired, Forbidden, Unavailable
from server.core.paths import object_path
from server.core.permissions import make_actor
from server.core.positions import spell_full_cursor
from server.core.revisions import Revision
from server.service.retention import Limits, Retention
from server.service.trimming import trim
from server.storage.base import LogPage
from tests.server.service.pollers import Poller, ask, live, read
from tests.server.storage.scenes import ALICE, BOB, Scene, delete, list_path, patch, put

pytestmark = pytest.mark.gen_test(timeout=120)

CAROL = make_actor("basicauth:carol")
NEVER = 1 << 62


async def log_of(scene: Scene, uri: str, **options: Any) -> list[Revision]:
    """The log of a list, or of a bucket."""
    scope = object_path(uri).id if uri.count("/") == 2 else list_path(uri)
    async with scene.storage.snapshot() as snapshot:
        return await snapshot.log(LogPage(scope, 0, NEVER, 1000, **options))


async def whole_log(scene: Scene, uri: str) -> list[str]:
    """Ids of the entries of a list that the history still shows."""
    return [one.uri.rpartition("/")[2] for one in await log_of(scene, uri, trimmed=False)]


def bucket_of(collection: str) -> str:
    return collection.partition("/collections")[0]


async def test_collection_keeps_its_last_changes(scene: Scene) -> None:
    collection = await scene.make_collection()
    await scene.fill(collection, *({"n": n} for n in range(7)))
    records = f"{collection}/records"
    retention = Retention(scene.storage, Limits(max_count=3))
    report = await retention.apply()
    assert (report.entries, report.buckets) == (4, {object_path(collection).bucket: 4})
    assert await whole_log(scene, records) == ["r4", "r5", "r6"]
    log = await log_of(scene, records)
    assert [(one.trimmed, bool(one.json)) for one in log] == [(True, False)] + [(False, True)] * 3
    clock = await scene.clock(records)
    assert (clock.kept, clock.live) == (log[0].position, 7)
    feed = await scene.clock(f"{bucket_of(collection)}/changes")
    assert feed.kept == log[0].seq
    # Nothing more to take, also for who looks at everything anew.
    assert (await retention.apply()).entries == 0
    assert (await Retention(scene.storage, Limits(max_count=3)).apply()).entries == 0
    await scene.fill(collection, {"n": 9})
    assert (await retention.apply()).entries == 1
    assert await whole_log(scene, records) == ["r5", "r6", "r0"]
    assert len(await log_of(scene, records)) == 4


async def test_what_was_done_to_parents_is_kept_for_ever(scene: Scene) -> None:
    collection = await scene.make_collection()
    await scene.do(put(f"{bucket_of(collection)}/groups/g"))
    await scene.fill(collection, {"n": 1}, {"n": 2})
    await Retention(scene.storage, Limits(max_count=0)).apply()
    shown = [one.uri for one in await log_of(scene, bucket_of(collection), trimmed=False)]
    bucket = bucket_of(collection)
    assert shown == [bucket, collection, f"{bucket}/groups/g"]


async def test_changes_that_are_too_old_go(scene: Scene) -> None:
    collection = await scene.make_collection()
    await scene.fill(collection, {"n": 1}, {"n": 2})
    retention = Retention(scene.storage, Limits(max_age_seconds=1))
    assert (await retention.apply()).entries == 0
    last = (await log_of(scene, f"{collection}/records"))[-1]
    # The only thing to be waited for here is the time itself.
    await asyncio.sleep(max(0.0, last.date / 1000 + 1.02 - time.time()))
    await scene.fill(collection, {"n": 3})
    assert (await retention.apply()).entries == 2
    assert await whole_log(scene, f"{collection}/records") == ["r0"]


async def test_bucket_that_rests_is_looked_at_when_something_in_it_gets_too_old(
    scene: Scene,
) -> None:
    collection = await scene.make_collection()
    await scene.fill(collection, {"n": 1})
    retention = Retention(scene.storage, Limits(max_age_seconds=1))
    assert (await retention.apply()).entries == 0
    (entry,) = await log_of(scene, f"{collection}/records")
    await asyncio.sleep(max(0.0, entry.date / 1000 + 1.02 - time.time()))
    assert (await retention.apply()).entries == 1


async def test_dry_run_counts_and_takes_nothing(scene: Scene) -> None:
    collection = await scene.make_collection()
    await scene.fill(collection, *({"n": n} for n in range(5)))
    limits = Limits(max_count=2, trim_count=1, trim_threshold=0)
    report = await Retention(scene.storage, limits, dry_run=True).apply()
    assert report.entries == 3 + 4
    assert len(await whole_log(scene, f"{collection}/records")) == 5
    assert (await scene.clock(f"{collection}/records")).kept == 0


async def test_kinds_are_trimmed_as_the_reference_does_beyond_a_threshold(scene: Scene) -> None:
    collection = await scene.make_collection()
    bucket = bucket_of(collection)
    await scene.fill(collection, *({"n": n} for n in range(5)))
    for n in range(3):
        await scene.do(patch(bucket, {"n": n}))
    few = Retention(scene.storage, Limits(trim_count=2, trim_threshold=3))
    assert (await few.apply()).entries == 0
    report = await Retention(scene.storage, Limits(trim_count=2, trim_threshold=1)).apply()
    assert report.entries == 3 + 2
    assert await whole_log(scene, f"{collection}/records") == ["r3", "r4"]
    shown = await log_of(scene, bucket, trimmed=False, plural="buckets")
    assert [one.action for one in shown] == ["update", "update"]
    # Others follow the list of buckets: its log stays whole.
    assert all(one.json for one in await log_of(scene, bucket, plural="buckets"))


async def test_only_the_named_users_entries_are_trimmed(scene: Scene) -> None:
    collection = await scene.make_collection({"write": [BOB.user_id, CAROL.user_id]})
    for n in range(3):
        for by in (BOB, CAROL):
            await scene.do(put(f"{collection}/records/{by.user_id[-1]}{n}", by=by))
    limits = Limits(trim_count=1, trim_users=[BOB.user_id], trim_threshold=0)
    assert (await Retention(scene.storage, limits).apply()).entries == 2
    assert await whole_log(scene, f"{collection}/records") == ["l0", "l1", "b2", "l2"]


async def test_task_trims_until_it_is_cancelled(scene: Scene) -> None:
    collection = await scene.make_collection()
    await scene.fill(collection, {"n": 1}, {"n": 2})
    task = asyncio.ensure_future(Retention(scene.storage, Limits(max_count=1)).run(0.6))
    async with asyncio.timeout(30):
        while len(await whole_log(scene, f"{collection}/records")) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], BaseException)


async def cut_off(scene: Scene, collection: str) -> None:
    """Trim all that is in the log of a collection's records."""
    entries = await log_of(scene, f"{collection}/records")
    await trim(scene.storage, object_path(bucket_of(collection)), entries)


async def test_reader_of_a_whole_list_polls_on_whatever_is_trimmed(scene: Scene) -> None:
    collection = await scene.make_collection()
    await scene.fill(collection, {"n": 1}, {"n": 2})
    records = f"{collection}/records"
    since = (await scene.clock(records)).position >> 20
    await scene.do(put(f"{records}/new"))
    await scene.do(delete(f"{records}/r0"))
    await cut_off(scene, collection)
    answer = await read(scene, ask(records, f"_since={since}", by=ALICE))
    assert sorted(one.id for one in answer.objects) == ["new", "r0"]
    with pytest.raises(CursorExpired):
        await read(scene, ask(records, f"_since={since}-0", by=ALICE))
    now = spell_full_cursor((await scene.clock(records)).position)
    assert (await read(scene, ask(records, f"_since={now}", by=ALICE))).objects == []


async def test_reader_of_a_part_is_told_when_what_left_their_sight_is_not_known(
    scene: Scene,
) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    await scene.do(put(f"{records}/one", acl={"read": [BOB.user_id]}))
    await scene.do(put(f"{records}/two", acl={"read": [BOB.user_id]}))
    since = (await scene.clock(records)).position >> 20
    await scene.do(put(f"{records}/two", acl={"read": [CAROL.user_id]}))
    await scene.do(put(f"{records}/three"))
    await cut_off(scene, collection)
    with pytest.raises(CursorExpired) as caught:
        await read(scene, ask(records, f"_since={since}"))
    assert caught.value.details["reason"] == "floor"
    # Who has no right is told nothing, and who has nothing has lost nothing.
    with pytest.raises(Forbidden):
        await read(scene, ask(records, f"_since={since}", by=make_actor("basicauth:dave")))
    assert live(await read(scene, ask(records, "_since=0"))) == ["one"]
    again = await read(scene, ask(records))
    assert live(await read(scene, ask(records, f"_since={again.timestamp}"))) == []


async def test_list_that_was_trimmed_to_a_past_dated_write_can_be_polled(scene: Scene) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    await scene.do(put(f"{records}/one", acl={"read": [BOB.user_id]}))
    await scene.do(put(f"{records}/old", {"last_modified": 5}, acl={"read": [BOB.user_id]}))
    await cut_off(scene, collection)
    poller = Poller(scene, records)
    assert await poller.poll()
    assert sorted(poller.copy) == ["old", "one"]
    assert live(await read(scene, ask(records, f"_since={poller.since}"))) == []


async def test_reader_whose_right_came_after_the_trimmed_log_is_told_of_the_gain(
    scene: Scene,
) -> None:
    collection = await scene.make_collection()
    records = f"{collection}/records"
    await scene.do(put(f"{records}/hers"))
    await scene.do(put(f"{records}/shared", acl={"read": [BOB.user_id]}))
    poller = Poller(scene, records)
    await poller.poll()
    assert sorted(poller.copy) == ["shared"]
    await cut_off(scene, collection)
    await scene.do(put(collection, acl={"read": [BOB.user_id]}))
    await poller.poll()
    assert sorted(poller.copy) == ["hers", "shared"]


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("cursors", [False, True], ids=["etags", "cursors"])
async def test_pollers_copies_stay_right_while_the_log_is_trimmed(
    seed: int, cursors: bool, scene: Scene
) -> None:
    chance = random.Random(seed)
    collection = await scene.make_collection()
    bucket, records = bucket_of(collection), f"{collection}/records"
    await scene.do(put(f"{bucket}/groups/g", {"members": []}))
    group = f"{bucket}/groups/g"
    pollers = [Poller(scene, records, cursors=cursors) for _ in range(2)]
    for step in range(40):
        uri = f"{records}/r{chance.randrange(4)}"
        readers = chance.choice([[], [BOB.user_id], [group]])
        move = chance.randrange(9)
        if move < 4:
            await scene.do(put(uri, {"n": step}, acl={"write": [ALICE.user_id], "read": readers}))
        elif move == 4:
            await scene.commit(delete(uri))
        elif move == 5:
            await scene.do(put(collection, acl={"write": [ALICE.user_id], "read": readers}))
        elif move == 6:
            members = chance.choice([[], [BOB.user_id]])
            await scene.do(put(group, {"members": members}))
        elif entries := await log_of(scene, records):
            cut = entries[: chance.randrange(1, len(entries) + 1)]
            await trim(scene.storage, object_path(bucket), cut)
        for poller in pollers[: chance.randrange(3)]:
            if await poller.poll():
                assert poller.copy == await poller.whole(), (seed, step, move)
    assert (await scene.clock(records)).kept > 0


async def test_failure_is_tried_again_and_who_is_not_next_does_nothing() -> None:
    class Failing:
        """Fails once; then it is another process's turn."""

        def __init__(self) -> None:
            self.asked = 0

        async def claim(self, nonce: str, seconds: int) -> bool:
            self.asked += 1
            if self.asked == 1:
                raise Unavailable("not now", 3)
            asked.set()
            return False

    asked, storage = asyncio.Event(), Failing()
    task = asyncio.ensure_future(
        Retention(storage, Limits(max_count=1)).run(0.001)  # type: ignore[arg-type]
    )
    async with asyncio.timeout(10):
        await asked.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert storage.asked >= 2


async def test_trim_of_what_another_took_meanwhile_takes_nothing(scene: Scene) -> None:
    collection = await scene.make_collection()
    await scene.fill(collection, {"n": 1})
    entries = await log_of(scene, f"{collection}/records")
    bucket = object_path(bucket_of(collection))
    await scene.do(delete(bucket.uri))
    assert await trim(scene.storage, bucket, entries) is None
    assert await scene.do(Trim(None, bucket, {}, 1)) is None
