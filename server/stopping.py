"""Run what a signal may stop: it is cancelled, cleans up, and tells by its exit code."""

import asyncio
import signal
from collections.abc import Coroutine

BY_SIGNAL = 128
"""Plus its number: the exit code of what a signal has ended."""


def run_stoppable(work: Coroutine[object, object, int]) -> int:
    """Run until it ends, or somebody stops it; the exit code."""
    # The loop of the process, if there is one, stays as it is.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(_until_stopped(work))


async def _until_stopped(work: Coroutine[object, object, int]) -> int:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    codes: list[int] = []

    def stop(code: int) -> None:
        if not codes:
            codes.append(code)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, BY_SIGNAL + number)
    await asyncio.wait({task})
    return codes[0] if task.cancelled() else task.result()
