"""Child processes that do not outlive the server, however it ends."""

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> Callable[[], None] | None:
    """A ``preexec_fn``: the child gets SIGTERM when the process that starts it dies.

    The kernel sends it when the *thread* that forked ends, so fork in the main
    one. None where the system has no such thing.
    """
    if sys.platform != "linux":
        return None
    # Loaded here: between fork and exec only async-signal-safe calls are allowed.
    prctl = ctypes.CDLL(None).prctl

    def ask_for_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask_for_signal
