"""Fixtures for all tests: a real MongoDB, server processes, and no unexpected warnings."""

import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.processes import MongoProcess, ServerProcess


class ExpectedLogs(logging.Handler):
    """Collects the log records of WARNING and above of one test.

    Call it with a regular expression to allow the records whose
    ``LEVEL logger: message`` it is found in.

    Attributes:
        records: all that were logged, expected or not.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self._patterns: list[re.Pattern[str]] = []

    def __call__(self, pattern: str) -> None:
        self._patterns.append(re.compile(pattern))

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def unexpected(self) -> list[str]:
        lines = [f"{r.levelname} {r.name}: {r.getMessage()}" for r in self.records]
        return [line for line in lines if not any(p.search(line) for p in self._patterns)]


@pytest.fixture(autouse=True)
def expected_logs() -> Iterator[ExpectedLogs]:
    """Fails the test that logs a warning or an error it did not announce."""
    collector = ExpectedLogs()
    root = logging.getLogger()
    root.addHandler(collector)
    yield collector
    root.removeHandler(collector)
    unexpected = collector.unexpected()
    if unexpected:
        pytest.fail("logged but not expected:\n" + "\n".join(unexpected), pytrace=False)


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB replica set of one, with test commands enabled, for the whole run."""
    mongo = MongoProcess(tmp_path_factory.mktemp("mongod"))
    try:
        mongo.wait_until_ready()
        yield mongo.uri
    finally:
        mongo.stop()


@pytest.fixture(scope="session")
def mongo_client(mongo_uri: str) -> Iterator[MongoClient[dict[str, object]]]:
    """A blocking client, to look behind the server's back."""
    with MongoClient[dict[str, object]](mongo_uri) as client:
        yield client


@pytest.fixture
def mongo_database(mongo_client: MongoClient[dict[str, object]]) -> Iterator[str]:
    """The name of a database that is empty, and dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    mongo_client.drop_database(name)


StartServer = Callable[..., ServerProcess]
"""``start_server(*arguments, environ={}, ini=None, ready=True)``."""


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts server processes, which end with the test.

    Called with further arguments of ``serve``, environment variables, and the
    text of an ini file. It runs in the test's own folder, so data lie there.
    """
    started: list[ServerProcess] = []

    def start(
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        ini: str | None = None,
        ready: bool = True,
    ) -> ServerProcess:
        given: Sequence[str] = arguments
        if ini is not None:
            path = tmp_path / f"{len(started)}.ini"
            path.write_text(ini)
            given = [*arguments, "--ini", str(path)]
        server = ServerProcess(given, environ=environ, cwd=tmp_path, ready=ready)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()
