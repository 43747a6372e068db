"""Servers, and Node processes with live.js that follow them."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from tests.servers import ThreadServer
from tests.static.fakes import FakeServer, Script
from tests.static.followers import Follower
from tests.static.relays import Relay
from tests.system.clients import Client

Serve = Callable[..., ThreadServer]
"""``serve(storage="memory", **settings)``: a server of its own, by Kinto's names."""


def serving(storage: str, uri: str, database: str, **settings: Any) -> ThreadServer:
    """A server in a thread; the last two are for MongoDB."""
    if storage == "memory":
        return ThreadServer({"storage_backend": "memory", **settings}, {})
    return ThreadServer({"mongodb_database": database, **settings}, {"MONGODB_URI": uri})


@pytest.fixture
def serve(mongo_uri: str, mongo_database: str) -> Iterator[Serve]:
    """Starts servers that end with the test."""
    started: list[ThreadServer] = []

    def start(storage: str = "memory", **settings: Any) -> ThreadServer:
        started.append(serving(storage, mongo_uri, mongo_database, **settings))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module", params=["memory", "mongo"])
def server(
    request: pytest.FixtureRequest, mongo_uri: str, mongo_client: MongoClient[dict[str, object]]
) -> Iterator[ThreadServer]:
    """A server for the tests of a module, on each storage in turn."""
    name = f"static_{uuid.uuid4().hex}"
    server = serving(request.param, mongo_uri, name, live_heartbeat_seconds=1)
    yield server
    server.stop()
    mongo_client.drop_database(name)


def port_of(url: str) -> int:
    """The port in a URL."""
    return urlsplit(url).port or 0


OpenRelay = Callable[[str], Relay]


@pytest.fixture
def open_relay() -> Iterator[OpenRelay]:
    """Makes relays before servers, by their URL."""
    opened: list[Relay] = []

    def start(url: str) -> Relay:
        opened.append(Relay(port_of(url)))
        return opened[-1]

    yield start
    for relay in opened:
        relay.close()


@pytest.fixture
def relay(server: ThreadServer, open_relay: OpenRelay) -> Relay:
    """A relay before the module's server."""
    return open_relay(server.url)


@pytest.fixture
def follower() -> Iterator[Follower]:
    """live.js in Node."""
    follower = Follower()
    yield follower
    follower.close()


@pytest.fixture
def fake() -> Iterator[Callable[[Script], FakeServer]]:
    """Makes servers that say what a test wants said."""
    started: list[FakeServer] = []

    def start(script: Script) -> FakeServer:
        started.append(FakeServer(script))
        return started[-1]

    yield start
    for server in started:
        server.close()


class Notes:
    """A collection of alice's in a bucket of its own, and requests to it.

    Attributes:
        uri: of the collection.
        records: the URI of its records.
    """

    def __init__(self, url: str, bucket: str = "") -> None:
        self._url = url
        self._clients: dict[str, Client] = {}
        self.bucket = bucket or f"/buckets/b-{uuid.uuid4().hex}"
        self.uri = f"{self.bucket}/collections/notes"
        self.records = f"{self.uri}/records"
        self.make()

    def make(self) -> None:
        """Make it, and the bucket if need be."""
        self.by("alice").put(self.bucket)
        self.by("alice").put(self.uri)

    def by(self, user: str) -> Client:
        """A user's connection."""
        if user not in self._clients:
            self._clients[user] = Client(self._url, user)
        return self._clients[user]

    def write(self, name: str, title: str, **permissions: list[str]) -> None:
        """Store a record; its permissions are replaced where any are given."""
        self.by("alice").put(f"{self.records}/{name}", {"title": title}, **permissions)

    def remove(self, target: str) -> None:
        """Delete a record by its id, or any object by its URI."""
        uri = target if target.startswith("/") else f"{self.records}/{target}"
        answer = self.by("alice").ask("DELETE", uri)
        assert answer.status == 200, answer

    def permit(self, uri: str, **permissions: list[str]) -> None:
        """Replace permissions of an object."""
        body = {"permissions": {k.replace("_", ":"): v for k, v in permissions.items()}}
        answer = self.by("alice").ask("PATCH", uri, body)
        assert answer.status == 200, answer

    def id_of(self, user: str) -> str:
        """The principal of a user."""
        found: str = self.by(user).get("/").body["user"]["id"]
        return found

    def read(self, user: str = "alice", query: str = "") -> dict[str, Any]:
        """The records that a user sees, by id."""
        return {one["id"]: one for one in self.by(user).get(self.records + query).data}

    def close(self) -> None:
        """Let go of the connections."""
        for client in self._clients.values():
            client.close()


def settle(follower: Follower, notes: Notes, of: str = "list") -> None:
    """Wait until what was told equals what GET gives."""
    wanted = notes.read()
    follower.wait_until(lambda: follower.copy(of).records == wanted, f"equal copy to {wanted}")


OpenNotes = Callable[..., Notes]
"""``open_notes(url, bucket="")``."""


@pytest.fixture
def open_notes() -> Iterator[OpenNotes]:
    """Makes collections on servers, by their URL."""
    opened: list[Notes] = []

    def make(url: str, bucket: str = "") -> Notes:
        opened.append(Notes(url, bucket))
        return opened[-1]

    yield make
    for notes in opened:
        notes.close()


@pytest.fixture
def notes(server: ThreadServer, open_notes: OpenNotes) -> Notes:
    """A collection on the module's server."""
    return open_notes(server.url)
