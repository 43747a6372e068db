import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.webhooks.hooks import Hook
from server.webhooks.workers import Worker
from tests.server.storage.scenes import Scene, put
from tests.server.webhooks.receivers import SECRET, Receiver, is_ordered, receiving

pytestmark = pytest.mark.gen_test(timeout=60)


@asynccontextmanager
async def working(
    scene: Scene, receiver: Receiver, lease_seconds: float = 30
) -> AsyncIterator["asyncio.Future[None]"]:
    """A worker of a receiver, until the end of the block."""
    hook = Hook("audit", receiver.url, SECRET, allows_private=True)
    worker = Worker(scene.storage, [hook], lease_seconds=lease_seconds, pause_seconds=(0.01, 0.05))
    task = asyncio.ensure_future(worker.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def begin(scene: Scene, receiver: Receiver) -> None:
    """Write until something is told: nobody says when a worker has begun."""
    number = 0
    while not receiver.events:
        await scene.do(put(f"/buckets/begin{number}"))
        number += 1
        await asyncio.sleep(0.01)


async def write(scene: Scene, bucket: str, numbers: range) -> None:
    await scene.do(put(f"/buckets/{bucket}"))
    for number in numbers:
        await scene.do(put(f"/buckets/{bucket}/groups/g{number}"))


async def test_changes_of_all_buckets_are_told_as_they_come(scene: Scene) -> None:
    async with receiving() as receiver, working(scene, receiver):
        await begin(scene, receiver)
        for bucket in ("one", "two"):
            await write(scene, bucket, range(3))
        await receiver.wait_for(lambda: receiver.changes().count(("create", "g2")) == 2)
    assert is_ordered(receiver.events)


async def test_worker_that_comes_back_tells_what_was_done_meanwhile(scene: Scene) -> None:
    async with receiving() as receiver:
        async with working(scene, receiver, lease_seconds=1):
            await begin(scene, receiver)
            await write(scene, "known", range(2))
            await receiver.wait_for(lambda: ("create", "g1") in receiver.changes())
        await write(scene, "known", range(2, 4))
        await write(scene, "new", range(4, 6))
        async with working(scene, receiver, lease_seconds=1):
            await receiver.wait_for(
                lambda: {("create", "g3"), ("create", "g5")} <= set(receiver.changes())
            )
    assert is_ordered(receiver.events)


async def test_receiver_that_comes_back_gets_everything(scene: Scene) -> None:
    async with receiving() as receiver, working(scene, receiver):
        await begin(scene, receiver)
        receiver.answers = [500] * 20
        await write(scene, "b", range(5))
        await receiver.wait_for(lambda: receiver.refused >= 3)
        assert ("create", "g0") not in receiver.changes()
        await receiver.wait_for(lambda: ("create", "g4") in receiver.changes())
    assert is_ordered(receiver.events)


async def test_of_two_workers_one_works_and_the_other_takes_over(scene: Scene) -> None:
    async with receiving() as one, receiving() as two:
        async with working(scene, one, lease_seconds=1):
            await begin(scene, one)
            async with working(scene, two, lease_seconds=1):
                await write(scene, "b", range(3))
                await one.wait_for(lambda: ("create", "g2") in one.changes())
                assert two.events == []
        async with working(scene, two, lease_seconds=1):
            await write(scene, "c", range(3, 5))
            await two.wait_for(lambda: ("create", "g4") in two.changes())
    assert ("create", "g4") not in one.changes()
    assert not {("create", f"g{number}") for number in range(3)} & set(two.changes())


async def test_lease_is_kept_while_the_worker_works(scene: Scene) -> None:
    async with receiving() as one, receiving() as two:
        async with working(scene, one, lease_seconds=0.5), working(scene, two, lease_seconds=0.5):
            for number in range(30):
                await scene.do(put(f"/buckets/b{number}"))
                await asyncio.sleep(0.05)
            await one.wait_for(lambda: len(one.events) + len(two.events) >= 25)
    # Whoever was first has it for ever.
    assert not (one.events and two.events)
