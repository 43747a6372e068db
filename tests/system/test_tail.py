"""``kintoun tail`` as its own process, while servers and the database come and go."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from tests.faults import FaultyNetwork
from tests.processes import ROOT, OutputLines, die_with_parent, free_port
from tests.system.conftest import COLLECTION, LoadedServer, RunServer, make_collection
from tests.system.listeners import LoopThread
from tests.system.stubborn import StubbornWriters, read_log

Mongo = MongoClient[dict[str, Any]]

RECORDS = f"{COLLECTION}/records"
BETWEEN_FAULTS = 60
"""Writes that are acknowledged before the next fault."""


class Tail:
    """A ``kintoun tail`` that runs; its notes are among its lines."""

    def __init__(self, folder: Path, url: str, arguments: Sequence[str]) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("KINTO")}
        environ |= {"PYTHONPATH": str(ROOT), "KINTOUN_URL": url, "KINTOUN_AUTH": "alice:secret"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "tail", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd=folder,
            preexec_fn=die_with_parent,
        )
        self.output = OutputLines(self.process)

    def wait_for(self, pattern: str) -> None:
        """Wait until it has printed something."""
        self.output.wait_for(re.compile(pattern))

    def changes(self) -> list[dict[str, Any]]:
        """The lines that are no notes."""
        lines = self.output.text.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        self.output.read_to_end()
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()


@pytest.fixture
def tails(tmp_path: Path) -> Iterator[list[Tail]]:
    """The tails that a test has started; they end with it."""
    started: list[Tail] = []
    yield started
    for one in started:
        one.close()


def start_tail(tails: list[Tail], folder: Path, url: str, *arguments: str) -> Tail:
    """A tail that follows by now."""
    tails.append(Tail(folder, url, arguments))
    tails[-1].wait_for("kintoun: following ")
    return tails[-1]


def check_told(tail: Tail, mongo: Mongo, database: str) -> None:
    """Every revision is a line, in the list's order, and none is two."""
    told = [(one["cursor"], one["data"]) for one in tail.changes()]
    assert told == [(cursor, data) for cursor, _, data in read_log(mongo, database, RECORDS)]


def check_folded(tail: Tail, expected: dict[str, Any]) -> None:
    """All lines together are what the list holds."""
    copy: dict[str, Any] = {}
    for one in tail.changes():
        if one["action"] in ("delete", "leave"):
            copy.pop(one["uri"], None)
        else:
            copy[one["uri"]] = one["data"]
    assert copy == expected


def test_tail_follows_through_restarts_and_kills_of_the_server(
    run_server: RunServer,
    mongo_uri: str,
    mongo_client: Mongo,
    database: str,
    tails: list[Tail],
    tmp_path: Path,
) -> None:
    port = str(free_port())
    server = run_server(mongo_uri, PORT=port)
    make_collection(server.connect())
    every = start_tail(tails, tmp_path, server.url, RECORDS, "--since", "0", "--history", "all")
    latest = start_tail(tails, tmp_path, server.url, RECORDS)
    writers = StubbornWriters(server.url, RECORDS, seed=1)
    with writers.writing():
        for end in (LoadedServer.terminate, LoadedServer.kill):
            writers.progress.wait_for(BETWEEN_FAULTS)
            end(server)
            server = run_server(mongo_uri, PORT=port)
        writers.progress.wait_for(BETWEEN_FAULTS)
    writers.write_last()
    for tail in (every, latest):
        tail.wait_for('/last"')
        assert "trying again in" in tail.output.text
        assert tail.process.poll() is None
    check_told(every, mongo_client, database)
    check_folded(latest, writers.live())
    cursors = [one["cursor"] for one in latest.changes()]
    assert len(set(cursors)) == len(cursors)


def test_tail_follows_through_outages_of_the_database(
    run_server: RunServer,
    mongo_uri: str,
    mongo_client: Mongo,
    database: str,
    tails: list[Tail],
    tmp_path: Path,
) -> None:
    thread = LoopThread()
    network = FaultyNetwork("127.0.0.1", urlsplit(mongo_uri).port or 0)
    thread.run(network.restore())
    try:
        server = run_server(network.uri)
        make_collection(server.connect())
        tail = start_tail(tails, tmp_path, server.url, RECORDS, "--since", "0", "--history", "all")
        writers = StubbornWriters(server.url, RECORDS, seed=2)
        with writers.writing():
            for _ in range(2):
                writers.progress.wait_for(BETWEEN_FAULTS)
                thread.run(network.cut())
                # Until it is known to be gone.
                assert server.connect().ask("GET", RECORDS).status == 503
                thread.run(network.restore())
            writers.progress.wait_for(BETWEEN_FAULTS)
        writers.write_last()
        tail.wait_for('/last"')
        # Its server was there all the time: all that it noticed was a pause.
        assert "trying again in" not in tail.output.text
        check_told(tail, mongo_client, database)
        check_folded(tail, writers.live())
        server.close()
    finally:
        thread.run(network.cut())
        thread.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_tail_at_once_and_without_a_word(
    run_server: RunServer,
    mongo_uri: str,
    tails: list[Tail],
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    server = run_server(mongo_uri)
    make_collection(server.connect())
    tail = start_tail(tails, tmp_path, server.url, RECORDS)
    assert tail.stop(number) == code
    assert len(tail.output.text.splitlines()) == 1


def test_tail_ends_quietly_when_its_reader_has_enough(
    run_server: RunServer, mongo_uri: str, tmp_path: Path
) -> None:
    server = run_server(mongo_uri)
    client = server.connect()
    make_collection(client)
    client.put(f"{RECORDS}/first")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "KINTOUN_AUTH": "alice:secret"}
    words = [sys.executable, "-m", "server", "tail", server.url + RECORDS[1:], "--since", "0"]
    command = shlex.join(words)
    ended = subprocess.run(
        ["bash", "-c", f"{command} | head -1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        env=environ,
        cwd=tmp_path,
        timeout=60,
    )
    line, _, code = ended.stdout.decode().strip().rpartition("\n")
    assert code == "0", ended.stderr
    assert json.loads(line)["data"]["id"] == "first", ended.stderr
    # It may have come to an end before it could say that it follows.
    assert {one.split(b" ")[1] for one in ended.stderr.splitlines()} <= {b"following"}
