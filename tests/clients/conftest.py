"""Servers for the tests that drive real clients: a real process on a real MongoDB."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.clients.node import FOLDER, find_node
from tests.processes import ServerProcess

DEADLINE_SECONDS = 120

Play = Callable[..., Any]
"""``play(url, scenario, *options)`` -> the JSON that the scenario prints."""


@pytest.fixture(scope="session")
def play() -> Play:
    """Runs a scenario of ``kintojs/`` in a Node process."""
    node = find_node()

    def run(url: str, *arguments: str) -> Any:
        command = [node, "run.mjs", url, *arguments]
        ended = subprocess.run(
            command, cwd=FOLDER, capture_output=True, text=True, timeout=DEADLINE_SECONDS
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


Serve = Callable[..., str]
"""``serve(**settings)`` -> root of the API without a slash at the end, like
``http://127.0.0.1:8888/v1``. Settings are Kinto's, by name. Equal settings, same server."""


@pytest.fixture(scope="module")
def serve(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Servers that live as long as the module; each on a database of its own.

    With ``CLIENT_TESTS_URL`` in the environment nothing is started, and the
    tests run against that server (with basic auth): a way to see what another
    implementation does. Tests that need settings are skipped then.
    """
    started: dict[frozenset[tuple[str, object]], ServerProcess] = {}
    databases: list[str] = []

    def start(**settings: object) -> str:
        elsewhere = os.environ.get("CLIENT_TESTS_URL", "").rstrip("/")
        if elsewhere:
            if settings:
                pytest.skip(f"needs a server with {settings}")
            return elsewhere
        key = frozenset(settings.items())
        if key not in started:
            databases.append(f"clients_{uuid.uuid4().hex}")
            environ = {f"KINTO_{name.upper()}": str(value) for name, value in settings.items()}
            environ["MONGODB_URI"] = request.getfixturevalue("mongo_uri")
            environ["KINTO_MONGODB_DATABASE"] = databases[-1]
            folder = tmp_path_factory.mktemp("server")
            started[key] = ServerProcess(environ=environ, cwd=folder)
        return started[key].url.rstrip("/")

    yield start
    for server in started.values():
        server.close()
    if databases:
        client: MongoClient[dict[str, object]] = request.getfixturevalue("mongo_client")
        for name in databases:
            client.drop_database(name)


@pytest.fixture
def hasty(mongo_uri: str, mongo_database: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that gives a write up soon, and wants to be asked again soon."""
    environ = {
        "MONGODB_URI": mongo_uri,
        "KINTO_MONGODB_DATABASE": mongo_database,
        "KINTO_WRITE_TIMEOUT_SECONDS": "0.5",
        "KINTO_RETRY_AFTER_SECONDS": "1",
    }
    server = ServerProcess(environ=environ, cwd=tmp_path)
    yield server
    server.close()
