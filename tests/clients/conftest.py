"""Servers for the tests that drive real clients: a real process on a real MongoDB."""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest
from pymongo import MongoClient

from tests.processes import ServerProcess

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
