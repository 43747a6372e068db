"""The end of tasks that may forget that they were cancelled."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 0.2


async def end_tasks(tasks: "Iterable[asyncio.Future[Any]]") -> None:
    """Cancel tasks, and wait until all of them have ended; what they raise is lost.

    One that is cancelled while PyMongo opens a connection may never hear of it: the
    driver makes an error of its own of that, after which the task goes on. So it is
    cancelled again until it has ended.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                # Looked at: nobody else will.
                task.exception()
