"""What a storage promises about telling changes."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.core.paths import object_path
from server.core.revisions import Revision
from server.storage.base import Change, Feed, LogPage
from tests.server.storage.scenes import BOB, Scene, delete, list_path, patch, put, random_bucket

EVER = 1 << 62


@asynccontextmanager
async def open_feed(scene: Scene) -> AsyncIterator[Feed]:
    """A feed that is closed at the end."""
    feed = await scene.storage.feed()
    try:
        yield feed
    finally:
        await feed.close()


async def collect(feed: Feed, count: int) -> list[Change]:
    """Read until there are so many changes."""
    changes: list[Change] = []
    while len(changes) < count:
        changes += await feed.read()
    return changes


async def collect_until(feed: Feed, uri: str) -> list[Change]:
    """Read until a change of this object came; it must be the last."""
    changes: list[Change] = []
    while not changes or changes[-1].revision.uri != uri:
        changes += await feed.read()
    return changes


def spell(changes: list[Change]) -> list[str]:
    return [f"{one.revision.action} {one.revision.uri.rpartition('/')[2]}" for one in changes]


@pytest.mark.gen_test(timeout=60)
class FeedContract:
    """Every change once, in order, and comparable with what a snapshot shows."""

    async def test_feed_tells_what_is_committed_after_it_was_opened_whole_and_in_order(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, {})
        async with open_feed(scene) as feed:
            at = feed.at
            await scene.do(put(f"{uri}/r1", {"n": 1}, acl={"read": [BOB.user_id]}))
            await scene.do(patch(f"{uri}/r1", {"n": 2}))
            await scene.do(put(f"{uri}/old", {"last_modified": 1000}))
            await scene.do(delete(f"{uri}/r0"))
            changes = await collect(feed, 4)
        assert spell(changes) == ["create r1", "update r1", "create old", "delete r0"]
        logged = sorted(await scene.log(), key=lambda one: one.seq)
        assert [one.revision for one in changes] == logged[-4:]
        times = [one.at for one in changes]
        assert times == sorted(set(times))
        assert times[0] > at

    async def test_changes_that_come_between_two_reads_wait(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        async with open_feed(scene) as feed:
            await scene.fill(collection, {}, {}, {})
            first = await collect(feed, 3)
            await scene.do(delete(f"{collection}/records/r0"))
            await scene.do(delete(f"{collection}/records/r1"))
            second = await collect(feed, 2)
        assert spell(first) == ["create r0", "create r1", "create r2"]
        assert spell(second) == ["delete r0", "delete r1"]

    async def test_changes_of_one_command_come_together_and_at_one_time(self, scene: Scene) -> None:
        uri = await scene.make_collection() + "/records"
        async with open_feed(scene) as feed:
            writes = [put(f"{uri}/r{number}", {"n": number}) for number in range(700)]
            await scene.commit(*writes)
            await scene.do(put(f"{uri}/later"))
            changes = await collect(feed, 701)
        assert spell(changes) == [f"create r{number}" for number in range(700)] + ["create later"]
        assert len({one.at for one in changes[:-1]}) == 1
        assert changes[-1].at > changes[0].at

    async def test_what_is_refused_or_changes_nothing_is_not_told(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        async with open_feed(scene) as feed:
            await scene.commit(put(f"{uri}/r0", by=BOB), delete(f"{uri}/none"))
            await scene.do(put(f"{uri}/r1"))
            assert spell(await collect_until(feed, f"{uri}/r1")) == ["create r1"]

    async def test_read_that_is_cancelled_loses_nothing(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        async with open_feed(scene) as feed:
            told: list[Change] = []
            for number in range(6):
                reading = asyncio.ensure_future(feed.read())
                # As far as it gets in so many turns of the loop: a different state each time.
                for _ in range(number * number):
                    await asyncio.sleep(0)
                if number % 2:
                    await scene.do(put(f"{uri}/r{number}"))
                reading.cancel()
                # What it has returned before it was cancelled counts.
                for result in await asyncio.gather(reading, return_exceptions=True):
                    if not isinstance(result, BaseException):
                        told += result
                if not number % 2:
                    await scene.do(put(f"{uri}/r{number}"))
            told += await collect(feed, 6 - len(told))
        assert spell(told) == [f"create r{number}" for number in range(6)]

    async def test_two_feeds_tell_the_same_in_the_same_order_whoever_writes(
        self, scene: Scene
    ) -> None:
        collections = [await scene.make_collection() for _ in range(3)]

        async def write(writer: int) -> None:
            for index in range(10):
                dated = {"last_modified": 1000 + index} if index % 3 == 0 else {}
                name = f"w{writer}-{index}"
                await scene.do(put(f"{collections[writer % 3]}/records/{name}", dated))

        async with open_feed(scene) as first, open_feed(scene) as second:
            reading = [asyncio.ensure_future(collect(one, 60)) for one in (first, second)]
            await asyncio.gather(*(write(writer) for writer in range(6)))
            one, other = await asyncio.gather(*reading)
        assert one == other
        seqs: defaultdict[str, list[int]] = defaultdict(list)
        positions: defaultdict[str, list[int]] = defaultdict(list)
        for change in one:
            seqs[change.revision.bucket].append(change.revision.seq)
            positions[change.revision.list].append(change.revision.position)
        for line in (*seqs.values(), *positions.values()):
            assert line == sorted(set(line))
        assert [change.at for change in one] == sorted(change.at for change in one)

    async def test_snapshot_shows_exactly_the_changes_that_are_not_later_than_it(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri, writing = f"{collection}/records", True
        shown: list[tuple[int, list[Revision], int]] = []

        async def write(writer: int) -> None:
            for index in range(15):
                await scene.commit(put(f"{uri}/w{writer}-{index}"), put(f"{uri}/x{writer}-{index}"))

        async def look() -> None:
            last = False
            while not last:
                last = not writing
                async with scene.storage.snapshot() as snapshot:
                    clock = (await snapshot.objects([collection]))[collection].clocks["records"]
                    log = await snapshot.log(LogPage(list_path(uri), 0, EVER, 1000))
                    shown.append((snapshot.at, log, clock.position))
                await asyncio.sleep(0)

        async with open_feed(scene) as feed:
            looking = [asyncio.ensure_future(look()) for _ in range(2)]
            await asyncio.gather(*(write(writer) for writer in range(4)))
            writing = False
            await asyncio.gather(*looking)
            changes = await collect(feed, 120)
        for at, log, position in shown:
            assert log == [one.revision for one in changes if one.at <= at]
            assert not log or log[-1].position == position
        assert len(shown[-1][1]) == 120

    async def test_time_of_snapshots_never_goes_back_and_is_not_before_an_answer(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        times = []
        async with open_feed(scene) as feed:
            for number in range(5):
                await scene.do(put(f"{collection}/records/r{number}"))
                (change,) = await collect(feed, 1)
                async with scene.storage.snapshot() as snapshot:
                    await snapshot.objects([collection])
                    times.append((change.at, snapshot.at))
        assert [one for pair in times for one in pair] == sorted(
            one for pair in times for one in pair
        )

    async def test_start_of_a_feed_is_in_every_later_snapshot(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        async with open_feed(scene) as feed, scene.storage.snapshot() as snapshot:
            await snapshot.objects([collection])
            assert snapshot.at >= feed.at

    async def test_deletion_of_a_bucket_is_one_change_and_names_the_root_as_touched(
        self, scene: Scene
    ) -> None:
        bucket = random_bucket()
        await scene.commit(put(bucket), put(f"{bucket}/groups/g", {"members": ["x"]}))
        async with open_feed(scene) as feed:
            await scene.do(delete(bucket))
            await scene.do(put(random_bucket()))
            gone, made = await collect(feed, 2)
        assert (gone.revision.uri, gone.revision.touched) == (bucket, ("/",))
        assert gone.revision.bucket == object_path(bucket).id
        assert made.revision.touched == ()

    async def test_feed_that_was_closed_costs_the_others_nothing(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        closed = await scene.storage.feed()
        reading = asyncio.ensure_future(closed.read())
        await asyncio.sleep(0)
        async with open_feed(scene) as feed:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await closed.close()
            await closed.close()
            await scene.fill(collection, {})
            assert spell(await collect(feed, 1)) == ["create r0"]
