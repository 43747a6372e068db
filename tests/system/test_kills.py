"""Servers killed or stopped under load: what was acknowledged is there, nothing by half."""

import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from tests.system.clients import Answer, Client, Lost, Progress, run_together
from tests.system.conftest import COLLECTION, LoadedServer, RunServer, make_collection
from tests.system.proxies import MongoProxy

RECORDS = f"{COLLECTION}/records"
BATCH_SIZE = 25
ROUNDS = 10
STOP_SECONDS = 25.0

Load = Callable[[Client, threading.Event], None]
"""Writes on a connection until it is lost, or the event is set."""


@contextmanager
def loaded(server: LoadedServer, *loads: Load) -> Iterator[None]:
    """Have each load run on a connection of its own; afterwards they have ended."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=load, args=(server.connect(), stop), daemon=True) for load in loads
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)


class Batches:
    """Sends batches of creates, each with ids of its own.

    Attributes:
        sent: the first URIs of all batches, without their index.
        acknowledged: those of which every part was answered 201.
    """

    def __init__(self, records: str, name: str, progress: Progress) -> None:
        self._stem = f"{records}/{name}"
        self._progress = progress
        self.sent: list[str] = []
        self.acknowledged: list[str] = []

    def load(self, client: Client, stop: threading.Event) -> None:
        while not stop.is_set():
            batch = f"{self._stem}-{len(self.sent)}"
            self.sent.append(batch)
            try:
                answer = client.ask("POST", "/batch", {"requests": make_parts(batch)})
            except Lost:
                return
            statuses = [part["status"] for part in answer.body["responses"]]
            assert statuses == [201] * BATCH_SIZE
            self.acknowledged.append(batch)
            self._progress.add()


def make_parts(batch: str) -> list[dict[str, Any]]:
    return [
        {"method": "PUT", "path": f"{batch}-{i}", "body": {"data": {"text": "x" * 2000}}}
        for i in range(BATCH_SIZE)
    ]


def test_batch_is_there_whole_or_not_at_all_after_the_server_is_killed_in_its_middle(
    run_server: RunServer, mongo_uri: str, mongo_client: MongoClient[dict[str, Any]], database: str
) -> None:
    chance = random.Random(1)
    senders: list[Batches] = []
    for round_number in range(ROUNDS):
        server = run_server(mongo_uri)
        # A new bucket: that of the last round may be locked by what the killed server began.
        records = f"{make_collection(server.connect(), f'b{round_number}')}/records"
        progress = Progress()
        mine = [Batches(records, str(i), progress) for i in range(4)]
        senders += mine
        with loaded(server, *(one.load for one in mine)):
            progress.wait_for(3)
            # Any moment will do; the transaction's middle is among them.
            time.sleep(chance.uniform(0, 0.08))
            server.kill()

    sent = {batch for sender in senders for batch in sender.sent}
    acknowledged = {batch for sender in senders for batch in sender.acknowledged}
    found = Counter(uri.rsplit("-", 1)[0] for uri in stored_uris(mongo_client, database))
    assert found.keys() <= sent
    assert len(acknowledged) >= ROUNDS * 3
    assert {found[batch] for batch in acknowledged} == {BATCH_SIZE}
    assert len(sent - acknowledged) >= ROUNDS
    assert {found[batch] for batch in sent - acknowledged} <= {0, BATCH_SIZE}
    client = run_server(mongo_uri).connect()
    listed = [client.get(f"/buckets/b{i}/collections/c/records").data for i in range(ROUNDS)]
    assert sum(map(len, listed)) == found.total()


def stored_uris(client: MongoClient[dict[str, Any]], database: str) -> list[str]:
    """The URIs of all stored records; the log has each of them once."""
    is_record = {"$regex": "/records/"}
    stored = client[database]["objects"].find({"_id": is_record}, {"_id": 1})
    logged = client[database]["revisions"].find({"uri": is_record}, {"uri": 1})
    uris = [str(one["_id"]) for one in stored]
    assert sorted(one["uri"] for one in logged) == sorted(uris)
    return uris


class Puts:
    """Stores records, one after the other, and reads now and then.

    Attributes:
        acknowledged: ``last_modified`` by id.
        last: what was answered last.
        lost: when the request was sent of which no answer came; None if all were answered.
    """

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress
        self.acknowledged: dict[str, int] = {}
        self.last: Answer | None = None
        self.lost: float | None = None

    def load(self, client: Client, stop: threading.Event) -> None:
        while not stop.is_set():
            record = f"{self._name}-{len(self.acknowledged)}"
            with suppress(*Lost):
                self.last = client.ask("PUT", f"{RECORDS}/{record}", {"data": {"n": 1}})
                if not self.last.is_success:
                    return
                self.acknowledged[record] = self.last.data["last_modified"]
                self._progress.add()
                if len(self.acknowledged) % 4 == 0:
                    self.last = client.ask("GET", f"{RECORDS}?_limit=100")
                continue
            self.lost = client.sent
            return


def check_all_there(client: Client, writers: list[Puts]) -> None:
    """Everything that was acknowledged is in the list as it was acknowledged."""
    listed = {one["id"]: one["last_modified"] for one in client.get(RECORDS).data}
    for writer in writers:
        assert writer.acknowledged.items() <= listed.items()


def test_server_with_its_own_mongod_has_every_acknowledged_write_after_a_kill(
    run_server: RunServer,
) -> None:
    writers: list[Puts] = []
    server = run_server()
    make_collection(server.connect())
    for round_number in range(2):
        progress = Progress()
        mine = [Puts(f"{round_number}-{i}", progress) for i in range(8)]
        writers += mine
        with loaded(server, *(one.load for one in mine)):
            progress.wait_for(150)
            server.kill()
        server = run_server()
        client = server.connect()
        check_all_there(client, writers)
        client.put(f"{RECORDS}/afterwards-{round_number}")


def test_stopped_server_answers_what_it_was_asked_and_loses_nothing(
    run_server: RunServer, mongo_uri: str
) -> None:
    server = run_server(mongo_uri)
    make_collection(server.connect())
    progress = Progress()
    writers = [Puts(f"w{i}", progress) for i in range(16)]
    with loaded(server, *(one.load for one in writers)):
        progress.wait_for(300)
        asked = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - asked < STOP_SECONDS

    for writer in writers:
        assert writer.lost is None or writer.lost > asked, "asked before, and never answered"
        if writer.last is not None and not writer.last.is_success:
            assert (writer.last.status, writer.last.body["errno"]) == (503, 201)
            assert int(writer.last.headers["Retry-After"]) > 0
    check_all_there(run_server(mongo_uri).connect(), writers)


@pytest.mark.parametrize(
    ("method", "path", "command", "after"),
    [
        ("GET", COLLECTION, "find", 0),
        ("GET", RECORDS, "find", 0),
        ("GET", RECORDS, "find", 1),
        ("PUT", COLLECTION, "find", 0),
        ("PUT", COLLECTION, "commitTransaction", 0),
    ],
)
def test_request_that_waits_for_mongodb_is_answered_when_the_server_is_stopped_meanwhile(
    proxy: MongoProxy, run_server: RunServer, method: str, path: str, command: str, after: int
) -> None:
    server = run_server(proxy.uri)
    client = server.connect()
    make_collection(client)
    over = threading.Event()
    proxy.hold(command, after=after)

    def stop() -> int:
        assert proxy.held.wait(30)
        os.kill(server.pid, signal.SIGTERM)
        wait_until_refused(server)
        given_up = over.wait(0.5)
        proxy.release()
        assert not given_up
        return server.wait()

    def ask() -> int:
        try:
            return client.ask(method, path).status
        finally:
            over.set()

    assert run_together(stop, ask) == [0, 200]


def wait_until_refused(server: LoadedServer) -> None:
    """Return once it takes no new connections: the first thing that a stopping server does."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", urlsplit(server.url).port)) != 0:
                return
        time.sleep(0.01)
    raise AssertionError("it goes on listening")
