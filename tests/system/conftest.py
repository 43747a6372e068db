"""Server processes for load, whose logs must hold no error."""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from tests.processes import ServerProcess
from tests.system.clients import Client
from tests.system.proxies import MongoProxy

_FAULT = re.compile(r"^.*(?:Traceback|ERROR|CRITICAL|never (?:retrieved|awaited)).*", re.MULTILINE)


class LoadedServer(ServerProcess):
    """A server, the connections to it, and what it has to complain of."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        # First: a server that does not start is closed at once.
        self._clients: list[Client] = []
        super().__init__(environ=environ, cwd=folder)

    def connect(self, user: str = "alice") -> Client:
        """A new connection, which is closed at the test's end at the latest."""
        client = Client(self.url, user)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close the connections, and stop it if it still runs."""
        for client in self._clients:
            client.close()
        super().close()

    def faults(self) -> str:
        """The log from its first error on; "" if there is none."""
        first = _FAULT.search(self.output)
        return self.output[first.start() :][:5000] if first else ""


RunServer = Callable[..., LoadedServer]
"""``run_server(uri, NAME=value)``: a server on a MongoDB; settings by environment name."""


@pytest.fixture
def run_server(tmp_path: Path, database: str) -> Iterator[RunServer]:
    """Starts servers on this test's database; fails the test in which one logged an error."""
    started: list[LoadedServer] = []

    def run(uri: str | None = None, **environ: str) -> LoadedServer:
        settings = {"KINTO_MONGODB_DATABASE": database, **environ}
        if uri is not None:
            settings["MONGODB_URI"] = uri
        server = LoadedServer(tmp_path, settings)
        started.append(server)
        return server

    yield run
    for server in started:
        server.close()
    for server in started:
        if server.faults():
            pytest.fail(f"a server logged an error:\n{server.faults()}", pytrace=False)


@pytest.fixture
def database() -> str:
    """The name of a database that is not there yet."""
    return f"system_{uuid.uuid4().hex}"


class Pair:
    """Two servers on one database."""

    def __init__(self, *servers: LoadedServer) -> None:
        self.servers = servers

    def connect(self, number: int = 0, user: str = "alice") -> Client:
        """A new connection, to each of the servers in turn."""
        return self.servers[number % 2].connect(user)


@pytest.fixture
def pair(
    run_server: RunServer,
    mongo_uri: str,
    mongo_client: MongoClient[dict[str, object]],
    database: str,
) -> Iterator[Pair]:
    """Two servers on one empty database."""
    pair = Pair(run_server(mongo_uri), run_server(mongo_uri))
    yield pair
    for server in pair.servers:
        server.close()
    mongo_client.drop_database(database)


COLLECTION = "/buckets/b/collections/c"


def make_collection(client: Client, bucket: str = "b") -> str:
    """Make a bucket and a collection; the collection's URI."""
    client.put(f"/buckets/{bucket}")
    client.put(f"/buckets/{bucket}/collections/c")
    return f"/buckets/{bucket}/collections/c"


@pytest.fixture
def collection(pair: Pair) -> str:
    """The URI of a new collection on the pair."""
    return make_collection(pair.connect())


@pytest.fixture
def proxy(mongo_uri: str) -> Iterator[MongoProxy]:
    """A proxy before the MongoDB of this test run.

    Ask for it before ``run_server``: a server that loses it takes longer to stop.
    """
    proxy = MongoProxy(urlsplit(mongo_uri).port or 0)
    yield proxy
    proxy.close()
