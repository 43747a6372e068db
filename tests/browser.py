"""Chromium, driven over its DevTools protocol through a pair of pipes: no port, no package."""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.processes import die_with_parent

DEADLINE_SECONDS = 60.0

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str:
    """The browser's program."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.fail("no browser: install the package chromium", pytrace=False)


class Chromium:
    """A headless browser of its own."""

    def __init__(self, profile: Path) -> None:
        """Start it.

        Args:
            profile: a folder for its data.
        """
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()

        def hand_over() -> None:
            # Elsewhere first: either may be the number that the other has to get.
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (requests, answers)]
            for number, end in zip((3, 4), ends, strict=True):
                os.dup2(end, number)
            die_with_parent()

        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [find_chromium(), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            close_fds=False,
            preexec_fn=hand_over,
        )
        os.close(requests)
        os.close(answers)
        self._serial = itertools.count(1)
        self._results: dict[int, dict[str, Any]] = {}
        self._loaded: set[str] = set()
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        waiting = b""
        while piece := os.read(self._answers, 65536):
            *messages, waiting = (waiting + piece).split(b"\0")
            with self._changed:
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._results[message["id"]] = message
                    elif message["method"] == "Page.loadEventFired":
                        self._loaded.add(message["sessionId"])
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def ask(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol.

        Raises:
            AssertionError: If it is refused, or takes more than a minute.
        """
        serial = next(self._serial)
        message: dict[str, Any] = {"id": serial, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        self._wait_for(lambda: serial in self._results, f"answer to {method}")
        answer = self._results.pop(serial)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def _wait_for(self, known: Callable[[], bool], what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: known() or self._ended, DEADLINE_SECONDS)
        if not known():
            self._log.seek(0)
            pytest.fail(f"no {what}:\n{self._log.read().decode(errors='replace')}")

    def open(self, url: str) -> "Tab":
        """A new tab with a page, once that has loaded, its modules too."""
        target = self.ask("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        session: str = attached["sessionId"]
        self.ask("Page.enable", session)
        self.ask("Page.navigate", session, url=url)
        self._wait_for(lambda: session in self._loaded, f"page of {url}")
        return Tab(partial(self.ask, session=session))

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(AssertionError, OSError):
            self.ask("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._requests)
        self._thread.join(10)
        os.close(self._answers)
        self._log.close()


class Tab:
    """A page in a browser."""

    def __init__(self, ask: Callable[..., dict[str, Any]]) -> None:
        self._ask = ask
        ask("Network.enable")

    def run(self, script: str) -> Any:
        """What the body of an async function returns, run in the page.

        Raises:
            AssertionError: If it throws.
        """
        expression = f"(async () => {{ {script} }})()"
        options = {"awaitPromise": True, "returnByValue": True}
        done = self._ask("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def go_offline(self, *, offline: bool) -> None:
        """Take the network away from the page, or give it back."""
        speeds = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self._ask("Network.emulateNetworkConditions", offline=offline, **speeds)

    def screenshot(self, path: Path) -> None:
        """Store what is to be seen, as PNG."""
        path.write_bytes(b64decode(self._ask("Page.captureScreenshot")["data"]))


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving_files(folder: Path) -> Iterator[str]:
    """Serves a folder; gives its root, without a slash at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
