import os
import signal
import subprocess
import sys

from tests.processes import ROOT

PARENT = """
import subprocess, sys
from server.child_processes import end_with_parent
child = subprocess.Popen(
    [sys.executable, "-c", "import signal; print('ready', flush=True); signal.pause()"],
    preexec_fn=end_with_parent(),
)
print(child.pid, flush=True)
child.wait()
"""


def test_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        assert "ready" in lines
        parent.send_signal(signal.SIGKILL)
        # The child holds the pipe: its end is the end of the output.
        assert parent.stdout.read() == ""
    (pid,) = lines - {"ready"}
    assert not os.path.exists(f"/proc/{pid}/exe")
