"""The server under a profiler, between two signals.

Run as ``python -m bench.live_profiled FILE serve ...``: SIGUSR1 begins, SIGUSR2 ends and
writes FILE, for ``pstats``.
"""

import cProfile
import os
import signal
import sys
from typing import Any

from server.cli import main


def run() -> None:
    """Take the first argument away, and be the command line."""
    path = sys.argv.pop(1)
    profile = cProfile.Profile()

    def begin(*_: Any) -> None:
        profile.enable()

    def end(*_: Any) -> None:
        profile.disable()
        profile.dump_stats(path + ".new")
        os.rename(path + ".new", path)

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
    main()


if __name__ == "__main__":
    run()
