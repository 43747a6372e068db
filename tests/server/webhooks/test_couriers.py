import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.webhooks.couriers import Courier
from server.webhooks.hooks import Hook
from tests.conftest import ExpectedLogs
from tests.server.storage.scenes import Scene, delete, put
from tests.server.webhooks.receivers import SECRET, Receiver, is_ordered, receiving

pytestmark = pytest.mark.gen_test(timeout=60)

QUICK = (0.01, 0.05)


@asynccontextmanager
async def serving(scene: Scene, receiver: Receiver, begun: int = 0) -> AsyncIterator[Courier]:
    """A courier of a receiver, until the end of the block."""
    hook = Hook("audit", receiver.url, SECRET, allows_private=True)
    courier = Courier(scene.storage, hook, begun=begun, pause_seconds=QUICK)
    task = asyncio.ensure_future(courier.run())
    try:
        yield courier
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def make_bucket(scene: Scene, name: str, records: int) -> None:
    await scene.commit(put(f"/buckets/{name}"), put(f"/buckets/{name}/collections/c"))
    for number in range(records):
        await scene.do(put(f"/buckets/{name}/collections/c/records/r{number}"))


async def test_changes_of_a_bucket_come_in_its_order(scene: Scene) -> None:
    await make_bucket(scene, "b", 250)
    async with receiving() as receiver, serving(scene, receiver) as courier:
        courier.tell("b")
        await receiver.wait_for(lambda: len(receiver.events) >= 252)
    told = [("create", "b"), ("create", "c"), *(("create", f"r{n}") for n in range(250))]
    assert receiver.changes() == told
    assert len(receiver.deliveries) < 20
    assert not any(one["missed"] for one in receiver.deliveries)


async def test_delivery_that_fails_is_sent_again_and_what_follows_waits(scene: Scene) -> None:
    await make_bucket(scene, "b", 1)
    async with receiving() as receiver, serving(scene, receiver) as courier:
        receiver.answers = [500, 503, 404]
        courier.tell("b")
        await receiver.wait_for(lambda: bool(receiver.events))
        await scene.do(put("/buckets/b/collections/c/records/r1"))
        courier.tell("b")
        await receiver.wait_for(lambda: len(receiver.events) >= 4)
    assert receiver.refused == 3
    assert len(set(receiver.ids[:4])) == 1
    assert receiver.changes() == [("create", one) for one in ("b", "c", "r0", "r1")]


async def test_bucket_that_fails_does_not_hold_up_the_others(scene: Scene) -> None:
    await make_bucket(scene, "slow", 0)
    await make_bucket(scene, "quick", 0)
    async with receiving() as receiver, serving(scene, receiver) as courier:
        receiver.answers, receiver.headers = [503], {"Retry-After": "1"}
        courier.tell("slow")
        await receiver.wait_for(lambda: receiver.refused == 1)
        courier.tell("quick")
        await receiver.wait_for(lambda: bool(receiver.events))
        assert receiver.deliveries[0]["bucket_id"] == "quick"


async def test_another_courier_goes_on_where_the_last_one_ended(scene: Scene) -> None:
    await make_bucket(scene, "b", 3)
    async with receiving() as receiver:
        async with serving(scene, receiver) as courier:
            courier.tell("b")
            await receiver.wait_for(lambda: len(receiver.events) >= 5)
        await scene.do(put("/buckets/b/collections/c/records/r3"))
        async with serving(scene, receiver) as courier:
            courier.tell("b")
            await receiver.wait_for(lambda: len(receiver.events) >= 6)
    assert is_ordered(receiver.events)
    assert receiver.changes()[-1] == ("create", "r3")


async def test_what_was_done_before_the_beginning_is_not_told(scene: Scene) -> None:
    await make_bucket(scene, "b", 3)
    begun = (await scene.clock("/buckets/b/changes")).position >> 20
    async with receiving() as receiver, serving(scene, receiver, begun) as courier:
        await scene.do(delete("/buckets/b/collections/c/records/r1"))
        courier.tell("b")
        await receiver.wait_for(lambda: bool(receiver.events))
    assert receiver.changes() == [("delete", "r1")]
    assert receiver.events[0]["old"]["id"] == "r1"


async def test_bucket_that_is_deleted_is_told_last_and_nothing_is_missed(scene: Scene) -> None:
    await make_bucket(scene, "b", 1)
    async with receiving() as receiver, serving(scene, receiver) as courier:
        courier.tell("b")
        await receiver.wait_for(lambda: len(receiver.events) >= 3)
        await scene.do(delete("/buckets/b"))
        courier.tell("b")
        await receiver.wait_for(lambda: len(receiver.events) >= 4)
        await scene.do(put("/buckets/b"))
        courier.tell("b")
        await receiver.wait_for(lambda: len(receiver.events) >= 5)
    assert receiver.changes()[-2:] == [("delete", "b"), ("create", "b")]
    assert not any(one["missed"] for one in receiver.deliveries)


async def test_receiver_is_told_when_something_is_not_known_any_more(scene: Scene) -> None:
    await make_bucket(scene, "b", 1)
    async with receiving() as receiver, serving(scene, receiver) as courier:
        courier.tell("b")
        await receiver.wait_for(lambda: len(receiver.events) >= 3)
        await scene.do(put("/buckets/b/collections/c/records/r1"))
        await scene.do(delete("/buckets/b"))
        await scene.do(put("/buckets/b"))
        courier.tell("b")
        await receiver.wait_for(lambda: ("create", "b") in receiver.changes()[3:])
    assert receiver.deliveries[-1]["missed"]


async def test_place_that_cannot_be_understood_is_logged_and_others_go_on(
    scene: Scene, expected_logs: ExpectedLogs
) -> None:
    expected_logs("webhook audit, bucket broken")
    await make_bucket(scene, "broken", 0)
    await make_bucket(scene, "b", 0)
    await scene.storage.keep("webhook:audit:broken", "nonsense", None)
    async with receiving() as receiver, serving(scene, receiver) as courier:
        courier.tell("broken")
        courier.tell("b")
        await receiver.wait_for(lambda: bool(receiver.events))
        assert receiver.deliveries[0]["bucket_id"] == "b"
