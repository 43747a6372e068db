"""``kintoun webhooks`` as its own process: killed, started again, with a receiver that fails."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import requests

from tests.processes import ServerProcess
from tests.server.webhooks.receivers import SECRET, Receiver, is_ordered, receiving
from tests.system.conftest import RunServer
from tests.system.listeners import LoopThread

COMMAND = (sys.executable, "-m", "server", "webhooks", "--lease-seconds", "1")


class ReceiverThread:
    """A receiver in a thread of its own."""

    def __init__(self) -> None:
        self._loop = LoopThread()
        self._context = receiving()
        self.receiver: Receiver = self._loop.run(self._context.__aenter__())

    def wait_for_record(self, name: str) -> None:
        """Wait until a record was told."""
        known = self.receiver
        self._loop.run(known.wait_for(lambda: ("create", name) in known.changes()))

    def wait_for_refusals(self, count: int) -> None:
        """Wait until it has refused so many more."""
        target = self.receiver.refused + count
        self._loop.run(self.receiver.wait_for(lambda: self.receiver.refused >= target))

    def close(self) -> None:
        self._loop.run(self._context.__aexit__(None, None, None))
        self._loop.close()


@contextmanager
def worker(mongo_uri: str, database: str, url: str) -> Iterator[ServerProcess]:
    environ = {
        "MONGODB_URI": mongo_uri,
        "KINTO_MONGODB_DATABASE": database,
        "KINTO_EVENT_LISTENERS": "audit",
        "KINTO_EVENT_LISTENERS_AUDIT_URL": url,
        "KINTO_EVENT_LISTENERS_AUDIT_SECRET": SECRET,
        "KINTO_EVENT_LISTENERS_AUDIT_ALLOW_PRIVATE": "true",
        "KINTO_EVENT_LISTENERS_AUDIT_RESOURCES": "record",
    }
    process = ServerProcess(environ=environ, command=COMMAND, ready=False)
    try:
        yield process
    finally:
        process.close()


def test_worker_that_is_killed_loses_nothing_while_the_receiver_fails_and_comes_back(
    run_server: RunServer, mongo_uri: str, database: str
) -> None:
    with ExitStack() as stack:
        server = run_server(mongo_uri)
        told = ReceiverThread()
        stack.callback(told.close)
        session = requests.Session()
        stack.callback(session.close)
        session.auth = ("alice", "secret")

        def put(path: str) -> None:
            session.put(f"{server.url}buckets/b{path}", json={}).raise_for_status()

        put("")
        put("/collections/c")
        with worker(mongo_uri, database, told.receiver.url) as first:
            first.wait_for("webhooks are served: audit")
            put("/collections/c/records/r0")
            told.wait_for_record("r0")
            told.receiver.answers = [500] * 1000
            put("/collections/c/records/r1")
            told.wait_for_refusals(2)
            first.kill()
        for number in range(2, 40):
            put(f"/collections/c/records/r{number}")
        with worker(mongo_uri, database, told.receiver.url) as second:
            told.wait_for_refusals(1)
            told.receiver.answers = []
            told.wait_for_record("r39")
            assert second.terminate() == 0
        names = [name for _, name in told.receiver.changes()]
        assert list(dict.fromkeys(names)) == [f"r{number}" for number in range(40)]
        assert is_ordered(told.receiver.events)
