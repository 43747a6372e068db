"""Starting the server again whenever a source file changes, for who develops it.

A parent watches and the server is its child, so that an error in a source
file ends only the child, and the next change starts it again.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from server.child_processes import end_with_parent

_ROOT = Path(__file__).resolve().parent.parent
_FOLDERS = ("server", "handlers", "notifier")
_INTERVAL_SECONDS = 0.5


def snapshot(root: Path = _ROOT) -> dict[Path, int]:
    """When each source file was last changed, in nanoseconds."""
    times = {}
    for folder in _FOLDERS:
        for path in (root / folder).rglob("*.py"):
            try:
                times[path] = path.stat().st_mtime_ns
            except FileNotFoundError:
                # An editor replaces a file by removing it for a moment.
                continue
    return times


def run_reloading(arguments: Sequence[str]) -> int:
    """Run ``python -m server`` with these arguments until a signal ends it; the exit code."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    while not stop.is_set():
        seen = snapshot()
        child = subprocess.Popen(
            [sys.executable, "-m", "server", *arguments],
            preexec_fn=end_with_parent(),
            # Ctrl-C must reach it once, from here.
            start_new_session=True,
        )
        _wait_for_change(seen, stop)
        if not stop.is_set():
            print("kintoun: a source file changed, starting again", file=sys.stderr, flush=True)
        child.terminate()
        child.wait()
    return 0


def _wait_for_change(seen: dict[Path, int], stop: threading.Event) -> None:
    while not stop.wait(_INTERVAL_SECONDS) and snapshot() == seen:
        pass
