"""A process that dies or stands still between its first write and its commit."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from tests.system.clients import Answer, Client, Lost
from tests.system.conftest import COLLECTION, LoadedServer, RunServer, make_collection
from tests.system.proxies import MongoProxy

HELD_UP_SECONDS = 4.0
"""The promise."""

RECORDS = f"{COLLECTION}/records"


@pytest.fixture
def patient_mongo(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """MongoDB leaves transactions open for a minute, as it does by default."""
    name = "transactionLifetimeLimitSeconds"
    before = mongo_client.admin.command({"getParameter": 1, name: 1})[name]
    mongo_client.admin.command({"setParameter": 1, name: 60})
    yield
    mongo_client.admin.command({"setParameter": 1, name: before})


class Caught:
    """A server whose write is stored but not committed, and another one.

    Attributes:
        first: the server that is caught in its commit.
        other: a connection to another server on the same database.
    """

    def __init__(self, run_server: RunServer, mongo_uri: str, proxy: MongoProxy) -> None:
        self.first: LoadedServer = run_server(proxy.uri)
        self.other: Client = run_server(mongo_uri).connect()
        make_collection(self.other)
        self._answers: list[Answer] = []
        client = self.first.connect()
        client.get(COLLECTION)
        proxy.hold("commitTransaction")
        self._thread = threading.Thread(target=self._write, args=(client,), daemon=True)
        self._thread.start()
        assert proxy.held.wait(30)

    def _write(self, client: Client) -> None:
        try:
            self._answers.append(client.ask("PUT", f"{RECORDS}/caught", {"data": {}}))
        except Lost:
            return

    def answer(self) -> Answer | None:
        """What the caught write was answered; None if its server did not live to answer."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self._answers[0] if self._answers else None


def seconds_to_write(client: Client) -> float:
    """How long the slowest of some writes to the caught bucket took."""
    targets = (f"{RECORDS}/free", COLLECTION, "/buckets/b", f"{RECORDS}/free-too")
    answers = [client.put(path) for path in targets]
    return max(answer.ended - answer.started for answer in answers)


@pytest.mark.usefixtures("patient_mongo")
def test_server_killed_before_its_commit_holds_nobody_up_for_more_than_four_seconds(
    proxy: MongoProxy,
    run_server: RunServer,
    mongo_uri: str,
) -> None:
    caught = Caught(run_server, mongo_uri, proxy)
    caught.first.kill()
    assert seconds_to_write(caught.other) < HELD_UP_SECONDS
    assert caught.answer() is None
    assert caught.other.ask("GET", f"{RECORDS}/caught").status == 404


@pytest.mark.usefixtures("patient_mongo")
def test_server_that_stands_still_holds_nobody_up_and_writes_once_when_it_goes_on(
    proxy: MongoProxy,
    run_server: RunServer,
    mongo_uri: str,
    mongo_client: MongoClient[dict[str, Any]],
    database: str,
) -> None:
    caught = Caught(run_server, mongo_uri, proxy)
    os.kill(caught.first.pid, signal.SIGSTOP)
    assert seconds_to_write(caught.other) < HELD_UP_SECONDS
    os.kill(caught.first.pid, signal.SIGCONT)
    proxy.release()
    answer = caught.answer()
    assert answer is not None
    assert answer.status == 201
    log = list(mongo_client[database]["revisions"].find({"uri": f"{RECORDS}/caught"}))
    assert [one["last_modified"] for one in log] == [answer.data["last_modified"]]
    assert caught.other.get(f"{RECORDS}/caught").data == answer.data
