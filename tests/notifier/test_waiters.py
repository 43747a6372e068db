import asyncio

import pytest

from notifier.topics import parse_topic
from notifier.waiters import Waiter
from server.core.errors import Forbidden, InvalidAuth, SyncError
from server.core.positions import make_position, timestamp_of
from tests.notifier.stages import Stage
from tests.server.storage.scenes import ALICE, BOB, delete, put

pytestmark = pytest.mark.gen_test(timeout=30)

PATIENCE = 10.0


async def begin(stage: Stage, path: str, threshold: int = 0) -> Waiter:
    """A waiter of Alice's that hears."""
    waiter = stage.live.wait_for(parse_topic(path, ()), ALICE, threshold)
    await waiter.join()
    return waiter


async def hear(stage: Stage, path: str) -> None:
    """Return once the hub has told a write that was made just now."""
    last = stage.live.hub.at
    await stage.write(put(path))
    async with asyncio.timeout(PATIENCE):
        while stage.live.hub.at == last:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_waiter_wakes_after_a_change_and_knows_that_it_heard_one() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        waiter = await begin(stage, records)
        waiting = asyncio.ensure_future(waiter.wait(PATIENCE))
        await hear(stage, f"{records}/a")
        # Others may follow at once: it is no hurry.
        assert not waiting.done()
        await asyncio.wait_for(waiting, PATIENCE)
        assert (waiter.heard, waiter.lost) == (True, False)
        waiter.leave()
        assert stage.live.hub.count == 0
        assert not stage.live.waiters


async def test_change_between_joining_and_waiting_is_heard() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        waiter = await begin(stage, records)
        await hear(stage, f"{records}/a")
        assert waiter.heard
        await asyncio.wait_for(waiter.wait(3600), PATIENCE)
        waiter.leave()


async def test_change_below_the_threshold_is_none() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        clock = (await stage.clock(records)).position
        later = make_position(timestamp_of(clock) + 10**9)
        waiter = await begin(stage, records, later)
        await hear(stage, f"{records}/a")
        await waiter.wait(0)
        assert not waiter.heard
        waiter.leave()


async def test_waiter_says_as_of_where_it_hears_only_to_who_sees_all() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        await stage.write(put(f"{records}/a", acl={"read": [BOB.user_id]}))
        for actor, known in ((ALICE, (await stage.clock(records)).position), (BOB, None)):
            waiter = stage.live.wait_for(parse_topic(records, ()), actor, 0)
            assert await waiter.join() == known
            waiter.leave()


async def test_waiter_who_may_not_read_is_refused_and_leaves_nothing() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        waiter = stage.live.wait_for(parse_topic(records, ()), BOB, 0)
        with pytest.raises(Forbidden):
            await waiter.join()
        waiter.leave()
        assert stage.live.hub.count == 0
        assert not stage.live.waiters


@pytest.mark.parametrize("how", ["deleted", "regrouped", "gap"])
async def test_waiter_who_is_lost_wakes(how: str) -> None:
    async with Stage() as stage:
        collection = await stage.make_collection({"read": [BOB.user_id]})
        topic = parse_topic(f"{collection}/records", ())
        waiter = stage.live.wait_for(topic, BOB, 0)
        await waiter.join()
        if how == "deleted":
            await stage.do(delete(collection))
        elif how == "regrouped":
            await stage.do(put(collection, acl={"read": []}))
        else:
            stage.live.hub.forget_past(stage.live.hub.at)
        await asyncio.wait_for(waiter.wait(3600), PATIENCE)
        assert (waiter.heard, waiter.lost) == (False, True)
        waiter.leave()
        assert stage.live.hub.count == 0


async def test_waiter_who_is_released_waits_no_longer_whenever_that_is() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        before = await begin(stage, records)
        before.release()
        await asyncio.wait_for(before.wait(3600), PATIENCE)
        during = await begin(stage, records)
        waiting = asyncio.ensure_future(during.wait(3600))
        await asyncio.sleep(0)
        during.release()
        during.release()
        await asyncio.wait_for(waiting, PATIENCE)
        for waiter in (before, during):
            assert (waiter.heard, waiter.lost) == (False, False)
            waiter.leave()


async def test_process_that_stops_releases_who_waits_and_who_comes() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        waiter = await begin(stage, records)
        waiting = asyncio.ensure_future(waiter.wait(3600))
        await stage.live.stop()
        await asyncio.wait_for(waiting, PATIENCE)
        late = await begin(stage, records)
        await asyncio.wait_for(late.wait(3600), PATIENCE)
        for one in (waiter, late):
            assert (one.heard, one.lost) == (False, False)
            one.leave()
        assert not stage.live.waiters


async def test_waiters_of_a_path_that_is_gone_are_refused_like_any_reader() -> None:
    async with Stage() as stage:
        waiter = stage.live.wait_for(parse_topic("/buckets/none/collections", ()), ALICE, 0)
        with pytest.raises(SyncError):
            await waiter.join()
        waiter.leave()


async def test_waiter_whose_credentials_are_over_is_refused_whenever_that_is() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        waiter = await begin(stage, records)
        assert waiter.actor == ALICE
        waiting = asyncio.ensure_future(waiter.wait(3600))
        await asyncio.sleep(0)
        waiter.expel()
        with pytest.raises(InvalidAuth):
            await waiting
        waiter.leave()
        late = await begin(stage, records)
        late.expel()
        with pytest.raises(InvalidAuth):
            await late.wait(3600)
        late.leave()
        assert not stage.live.waiters
