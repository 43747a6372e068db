"""A server of ours in a thread of the test's process, so that coverage sees it."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from server.app import Server, open_server
from server.config import load_settings

T = TypeVar("T")


def run_alone(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop of its own.

    Unlike ``asyncio.run`` it leaves the thread's current loop alone, which
    pytest-tornado made and which other tests still count on.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class ThreadServer:
    """A server that listens on a free port until it is stopped.

    Attributes:
        url: root of the API, without a slash at its end.
    """

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        """Start and wait until it listens.

        Args:
            settings: by Kinto's names, such as ``readonly``.
            environ: more of the environment, such as ``MONGODB_URI``.
        """
        given = {
            f"KINTO_{name.upper().replace('.', '_')}": value for name, value in settings.items()
        }
        texts = {name: str(value) for name, value in given.items() if value is not None}
        self._settings = load_settings({**texts, **environ}, port=0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Server = self._run(open_server(self._settings))
        self.url: str = self._server.url.rstrip("/")

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def stop(self) -> None:
        """Stop as the command line does."""
        self._run(self._server.stop())
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()
