"""MongoDB gone for a while, under load."""

import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.processes import MongoProcess, die_with_parent
from tests.system.clients import Answer, Client, records_of, run_together
from tests.system.conftest import COLLECTION, LoadedServer, RunServer, make_collection

OUTAGE_SECONDS = 5.0
READ_SECONDS = 20.0
"""A read that takes longer is a hang."""

RECORDS = f"{COLLECTION}/records"


class MortalMongo(MongoProcess):
    """A mongod that can be killed, and started again on its port and data."""

    def kill(self) -> None:
        """End it as a power cut would."""
        self.stop()

    def stand_still(self) -> None:
        """Answer nothing, with all connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again, also what was asked meanwhile."""
        self._process.send_signal(signal.SIGCONT)

    def start_again(self) -> None:
        """Start it; it recovers and becomes primary by itself."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._process.args, stdout=log, stderr=log, preexec_fn=die_with_parent
            )


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[MortalMongo]:
    mongo = MortalMongo(tmp_path / "mongod")
    try:
        mongo.wait_until_ready()
        yield mongo
    finally:
        mongo.stop()


class Load:
    """Reads and writes that go on, whatever they are answered, until they are stopped."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def write(self, client: Client, name: str) -> list[tuple[str, Answer]]:
        """Create records; each with the answer."""
        answers: list[tuple[str, Answer]] = []
        while not self._stop.is_set():
            record = f"{name}-{len(answers)}"
            answers.append((record, client.ask("PUT", f"{RECORDS}/{record}", {"data": {}})))
            # As a client that minds Retry-After, if a hasty one.
            self._stop.wait(0.02 if answers[-1][1].is_success else 0.2)
        return answers

    def read(self, client: Client) -> list[tuple[str, Answer]]:
        """Read the list again and again."""
        answers: list[tuple[str, Answer]] = []
        while not self._stop.is_set():
            answers.append(("", client.ask("GET", f"{RECORDS}?_limit=10")))
            self._stop.wait(0.05)
        return answers

    def outage(self, mongo: MortalMongo, probe: Client) -> list[tuple[str, Answer]]:
        """Kill MongoDB, start it again later, and go on until a write comes through."""
        try:
            time.sleep(0.5)
            mongo.kill()
            time.sleep(OUTAGE_SECONDS)
            mongo.start_again()
            return [("probe", probe.ask("PUT", f"{RECORDS}/probe", {"data": {}}))]
        finally:
            self._stop.set()


def check_refusal(answer: Answer) -> None:
    """Who is not served is told so, and when to come again."""
    assert answer.status == 503, answer
    assert answer.body["errno"] == 201
    assert int(answer.headers["Retry-After"]) > 0


def run_outage(
    mongo: MortalMongo, patient: LoadedServer, hasty: LoadedServer
) -> list[list[tuple[str, Answer]]]:
    """The answers of the outage's end, of each writer and of each reader, in this order."""
    load = Load()
    return run_together(
        partial(load.outage, mongo, patient.connect()),
        *(partial(load.write, patient.connect(), f"patient-{i}") for i in range(4)),
        *(partial(load.write, hasty.connect(), f"hasty-{i}") for i in range(2)),
        partial(load.read, patient.connect()),
        partial(load.read, hasty.connect()),
    )


def test_outage_of_mongodb_delays_or_refuses_requests_and_applies_each_write_once(
    mongo: MortalMongo, run_server: RunServer, database: str
) -> None:
    patient = run_server(mongo.uri)
    hasty = run_server(mongo.uri, KINTO_WRITE_TIMEOUT_SECONDS="1.5")
    make_collection(patient.connect())
    ((_, probe),), *results = run_outage(mongo, patient, hasty)
    writes, reads = sum(results[:6], []), sum(results[6:], [])

    assert probe.status == 201
    acknowledged = {record for record, answer in writes if answer.status == 201}
    refused = [answer for _, answer in writes if answer.status != 201]
    assert any(record.startswith("patient") for record in acknowledged)
    # Some waited for the database's return; others had no time for that.
    assert max(a.ended - a.started for _, a in writes if a.status == 201) > OUTAGE_SECONDS / 2
    assert refused
    for answer in refused:
        check_refusal(answer)
    for _, answer in reads:
        assert answer.ended - answer.started < READ_SECONDS
        if answer.status != 200:
            check_refusal(answer)

    with MongoClient[dict[str, Any]](mongo.uri) as client:
        log = client[database]["revisions"].find({"list": RECORDS})
        applied = Counter(one["uri"].rsplit("/", 1)[1] for one in log)
    assert set(applied.values()) == {1}
    assert acknowledged <= applied.keys() <= {record for record, _ in writes} | {"probe"}
    listed = patient.connect().get(RECORDS).data
    assert {record["id"] for record in listed} == applied.keys()


def test_requests_are_refused_in_time_while_mongodb_stands_still_and_served_when_it_goes_on(
    mongo: MortalMongo, run_server: RunServer
) -> None:
    server = run_server(mongo.uri, KINTO_WRITE_TIMEOUT_SECONDS="3")
    make_collection(server.connect())
    requests = [("GET", path) for path in ("/buckets/b", COLLECTION, RECORDS, f"{RECORDS}/r")] * 2
    requests += [("PUT", f"{RECORDS}/r"), ("GET", "/__heartbeat__"), ("PUT", COLLECTION)]
    mongo.stand_still()
    try:
        first, *others = (partial(server.connect().ask, *one) for one in requests)
        answers = run_together(first, *others)
    finally:
        mongo.go_on()
    for (_, path), answer in zip(requests, answers, strict=True):
        assert answer.ended - answer.started < READ_SECONDS
        if path == "/__heartbeat__":
            assert answer.status == 503
        else:
            check_refusal(answer)
    client = server.connect()
    client.put(f"{RECORDS}/afterwards")
    assert "afterwards" in records_of(client, COLLECTION)
