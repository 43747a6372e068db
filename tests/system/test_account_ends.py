"""What two servers on one MongoDB know of accounts: a password that changes on one ends the
sessions on the other."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.servers import ThreadServer

PATIENCE = 30.0
RECORDS = "/buckets/b/collections/c/records"
SETTINGS = {
    "includes": "accounts",
    "multiauth.policies": "account",
    "account_create_principals": "system.Everyone",
    "account_write_principals": "account:admin",
    "account_password_rounds": 4,
    # Only news may bring it up to date.
    "account_cache_ttl_seconds": 3600,
}

OLD, NEW = "old", "new"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Server:
    """A server, as its users see it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def open(
        self, target: str, user: str | None, body: Any = None, **headers: str
    ) -> tuple[HTTPConnection, HTTPResponse]:
        """Ask; the answer's body is yet to come."""
        method, _, path = target.partition(" ")
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        sent = {"Content-Type": "application/json", **headers}
        sent |= {"Authorization": user} if user else {}
        text = None if body is None else json.dumps(body)
        connection.request(method, parts.path + path, text, sent)
        return connection, connection.getresponse()

    def ask(self, target: str, user: str | None, body: Any = None) -> tuple[int, Any]:
        connection, response = self.open(target, user, body)
        with closing(connection):
            return response.status, json.loads(response.read())

    def user_of(self, user: str) -> Any:
        return self.ask("GET /", user)[1].get("user", {}).get("id")

    def set_password(self, name: str, user: str | None, password: str) -> None:
        status, answer = self.ask(f"PUT /accounts/{name}", user, {"data": {"password": password}})
        assert status in (200, 201), answer

    @contextmanager
    def follow(self, user: str, path: str = RECORDS) -> Iterator[ClientConnection]:
        """A WebSocket that is told of a list by now."""
        with connect(
            self.url.replace("http", "ws", 1) + "/live",
            subprotocols=[Subprotocol("kinto.live.v1")],
            additional_headers={"Authorization": user},
        ) as socket:
            body = {"sub": "s", "path": path, "since": "now"}
            socket.send(json.dumps({"type": "hello", "subscribe": [body]}))
            hear_until(socket, "ready")
            yield socket


def hear_until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(socket.recv(PATIENCE))
        if message["type"] == kind:
            return message


def end_of(socket: ClientConnection) -> tuple[int, str]:
    """How a WebSocket was closed."""
    with pytest.raises(ConnectionClosed) as caught:
        hear_until(socket, "never")
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


@pytest.fixture
def servers(mongo_uri: str, mongo_database: str) -> Iterator[tuple[Server, Server]]:
    """Two, on which admin, alice and bob have accounts, and alice a list that bob may read."""
    environ = {"MONGODB_URI": mongo_uri, "KINTO_MONGODB_DATABASE": mongo_database}
    running = [ThreadServer(SETTINGS, environ) for _ in range(2)]
    here, there = (Server(one.url) for one in running)
    for name in ("admin", "alice", "bob"):
        here.set_password(name, None, OLD)
    alice = basic("alice", OLD)
    shared = {"permissions": {"read": ["account:bob"]}}
    assert here.ask("PUT /buckets/b", alice, shared)[0] == 201
    assert here.ask("PUT /buckets/b/collections/c", alice)[0] == 201
    yield here, there
    for one in running:
        one.stop()


def change_password(server: Server) -> None:
    server.set_password("alice", basic("alice", OLD), NEW)


def delete_account(server: Server) -> None:
    assert server.ask("DELETE /accounts/alice", basic("alice", OLD))[0] == 200


def delete_all(server: Server) -> None:
    assert server.ask("DELETE /accounts", basic("admin", OLD))[0] == 200


@pytest.mark.parametrize("end", [change_password, delete_account, delete_all])
def test_what_ends_on_one_server_ends_on_the_other(
    servers: tuple[Server, Server], end: Callable[[Server], None]
) -> None:
    here, there = servers
    alice = basic("alice", OLD)
    assert there.user_of(alice) == "account:alice"
    with here.follow(alice) as near, there.follow(alice) as far:
        end(here)
        for socket in (far, near):
            assert end_of(socket) == (4401, "the credentials are not valid any more")
    # Whoever was told that, is known nowhere.
    for server in servers:
        assert server.user_of(alice) is None


def test_other_users_and_new_passwords_stay(servers: tuple[Server, Server]) -> None:
    here, there = servers
    with there.follow(basic("alice", OLD)) as old, there.follow(basic("bob", OLD)) as other:
        change_password(here)
        alice = basic("alice", NEW)
        # At once, whether or not the news has come by now.
        with there.follow(alice) as new:
            assert end_of(old)[0] == 4401
            assert here.ask(f"PUT {RECORDS}/r", alice, {"data": {"n": 1}})[0] == 201
            for socket in (new, other):
                assert hear_until(socket, "event")["data"]["n"] == 1
    assert there.user_of(alice) == here.user_of(alice) == "account:alice"


def test_stream_of_events_ends_and_says_why(servers: tuple[Server, Server]) -> None:
    here, there = servers
    connection, response = there.open(
        f"GET {RECORDS}", basic("alice", OLD), Accept="text/event-stream"
    )
    with closing(connection):
        assert response.status == 200
        change_password(here)
        events = response.read().decode().strip().split("\n\n")
    fields = dict(line.split(": ", 1) for line in events[-1].split("\n"))
    assert fields["event"] == "unsubscribed"
    told = json.loads(fields["data"])
    assert (told["code"], told["errno"], told["purge"]) == (401, 105, False)


def test_poll_that_waits_is_answered_by_401(servers: tuple[Server, Server]) -> None:
    here, there = servers
    alice = basic("alice", OLD)
    status, _ = there.ask(f"PUT {RECORDS}/r", alice, {"data": {}})
    assert status == 201
    connection, response = there.open(f"HEAD {RECORDS}", alice)
    etag = response.headers["ETag"].strip('"')
    connection.close()
    parts = urlsplit(there.url)
    with closing(HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)) as poll:
        path = f"{parts.path}{RECORDS}?_since={etag}&_wait=25"
        poll.request("GET", path, headers={"Authorization": alice})
        with there.follow(alice) as other:
            change_password(here)
            assert end_of(other)[0] == 4401
        answer = poll.getresponse()
        body = json.loads(answer.read())
    assert (answer.status, body["errno"]) == (401, 105)


def test_admin_follows_accounts_and_is_told_no_password(servers: tuple[Server, Server]) -> None:
    here, there = servers
    with there.follow(basic("admin", OLD), "/accounts") as socket:
        here.ask("PUT /accounts/carol", None, {"data": {"password": "correct horse", "n": 1}})
        made = hear_until(socket, "event")
        assert (made["uri"], made["action"]) == ("/accounts/carol", "create")
        assert set(made["data"]) == {"id", "last_modified", "n"}
        here.set_password("carol", basic("carol", "correct horse"), "battery staple")
        changed = hear_until(socket, "event")
        assert set(changed["data"]) == {"id", "last_modified"}
        told = json.dumps([made, changed])
        assert not any(word in told for word in ("horse", "staple", "$2b$", "password"))


def test_admin_follows_accounts_by_a_stream_of_events(servers: tuple[Server, Server]) -> None:
    here, there = servers
    admin = basic("admin", OLD)
    connection, response = there.open("GET /accounts", admin, Accept="text/event-stream")
    with closing(connection):
        assert response.status == 200
        here.set_password("admin", admin, NEW)
        assert b"event: unsubscribed" in response.read()
    assert there.open("GET /accounts", None, Accept="text/event-stream")[1].status == 401


def test_user_follows_their_own_account_and_no_other(servers: tuple[Server, Server]) -> None:
    here, there = servers
    with there.follow(basic("alice", OLD), "/accounts") as socket:
        body = {"data": {"n": 1}}
        assert here.ask("PATCH /accounts/bob", basic("bob", OLD), body)[0] == 200
        assert here.ask("PATCH /accounts/alice", basic("alice", OLD), body)[0] == 200
        assert hear_until(socket, "event")["uri"] == "/accounts/alice"
