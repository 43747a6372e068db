import asyncio
import os
import signal

import pytest

from server.stopping import run_stoppable


def test_exit_code_is_what_the_work_comes_to() -> None:
    async def work() -> int:
        return 3

    assert run_stoppable(work()) == 3


def test_error_of_the_work_is_raised() -> None:
    async def work() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError):
        run_stoppable(work())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_the_work_and_is_told_by_the_exit_code(number: signal.Signals) -> None:
    cleaned: list[bool] = []

    async def work() -> int:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            # The second one does not interrupt this.
            os.kill(os.getpid(), number)
            await asyncio.sleep(0)
            cleaned.append(True)
        return 0

    assert run_stoppable(work()) == 128 + number
    assert cleaned == [True]
