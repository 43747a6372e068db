import asyncio
from contextlib import suppress

import pytest

from server.tasks import end_tasks

pytestmark = pytest.mark.gen_test


async def forget(times: int) -> None:
    """Wait for ever, and forget some cancellations."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


async def fail() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise ValueError("in the end")


async def test_tasks_are_cancelled_until_they_have_ended() -> None:
    tasks = [asyncio.ensure_future(work) for work in (forget(0), forget(2), fail())]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert [task.cancelled() for task in tasks] == [True, True, False]


async def test_what_has_ended_is_left_alone() -> None:
    task = asyncio.ensure_future(asyncio.sleep(0, "done"))
    await task
    await end_tasks([task])
    await end_tasks([])
    assert task.result() == "done"
