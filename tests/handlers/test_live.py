import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from server.core.permissions import Actor
from tests.conftest import ExpectedLogs
from tests.handlers.conftest import ALICE, BOB, Answer, Fetch, _client, serving
from tests.handlers.lives import open_live

pytestmark = pytest.mark.gen_test(timeout=30)

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
RECORDS = "/buckets/b/collections/c/records"


class Socket:
    """A client's WebSocket, in JSON."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection

    async def say(self, kind: str, **members: Any) -> None:
        await self.connection.write_message(json.dumps({"type": kind, **members}))

    async def hear(self) -> Any:
        """The next message; the close code when it was the last."""
        message = await self.connection.read_message()
        return self.connection.close_code if message is None else json.loads(message)

    async def until(self, kind: str) -> list[Any]:
        found = [await self.hear()]
        while found[-1]["type"] != kind:
            found.append(await self.hear())
        return found

    async def is_well(self) -> bool:
        """Whether it still answers."""
        await self.say("ping", t="well?")
        return bool((await self.until("pong"))[-1]["t"] == "well?")


class Site:
    """A server, asked over REST and over WebSocket."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._opened: list[WebSocketClientConnection] = []

    async def open(self, user: str | None = ALICE, **options: Any) -> Socket:
        headers = {**options.pop("headers", {}), **({"Authorization": user} if user else {})}
        url = self.root.replace("http", "ws") + "/v1/live"
        request = HTTPRequest(url, headers=headers)
        self._opened.append(await websocket_connect(request, **options))
        return Socket(self._opened[-1])

    def close(self) -> None:
        for connection in self._opened:
            connection.close()

    async def greet(self, user: str | None = ALICE, **options: Any) -> Socket:
        found = await self.open(user, **options)
        await found.say("hello")
        assert (await found.hear())["type"] == "welcome"
        return found


@asynccontextmanager
async def site(**given: Any) -> AsyncIterator[tuple[Site, Fetch]]:
    async with serving(None, includes="default_bucket", **given) as root:
        fetch = _client(root)
        await fetch("PUT /buckets/b", {})
        await fetch("PUT /buckets/b/collections/c", {})
        found = Site(root)
        yield found, fetch
        found.close()


async def test_client_is_told_what_changes() -> None:
    async with site() as (server, fetch):
        client = await server.greet()
        await client.say("subscribe", sub="s", path=RECORDS)
        assert [one["type"] for one in await client.until("ready")] == [
            "subscribed",
            "snapshot",
            "ready",
        ]
        answer = await fetch(f"PUT {RECORDS}/r", {"data": {"n": 1}})
        event = await client.hear()
        assert event["data"] == answer.data
        assert event["cursor"] == answer.headers["Cursor"]
        listed = await fetch(f"GET {RECORDS}")
        assert listed.headers["ETag"] == f'"{event["cursor"]}"'


async def test_subprotocol_is_ours_or_none() -> None:
    async with site() as (server, _):
        ours = await server.open(subprotocols=["other", "kinto.live.v1"])
        assert ours.connection.selected_subprotocol == "kinto.live.v1"
        none = await server.open()
        assert none.connection.selected_subprotocol is None


def encode(authorization: str) -> str:
    return base64.urlsafe_b64encode(authorization.encode()).rstrip(b"=").decode()


async def test_credentials_come_by_any_of_four_ways() -> None:
    async with site() as (server, fetch):
        me = (await fetch("GET /")).json["user"]["id"]
        by_header = await server.open()
        offered = ["kinto.live.v1", f"kinto.auth.{encode(ALICE)}"]
        by_subprotocol = await server.open(None, subprotocols=offered)
        assert by_subprotocol.connection.selected_subprotocol == "kinto.live.v1"
        for client in (by_header, by_subprotocol):
            await client.say("hello")
            assert (await client.hear())["user"]["id"] == me
        by_hello = await server.open(None)
        await by_hello.say("hello", authorization=ALICE)
        assert (await by_hello.hear())["user"]["id"] == me
        by_auth = await server.greet(None)
        await by_auth.say("auth", id=1, authorization=ALICE)
        assert (await by_auth.hear())["user"]["id"] == me


WRONG = ["Basic !", "Basic " + base64.b64encode(b"no colon").decode(), "Hawk x"]


@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_credentials_before_the_upgrade_are_401(wrong: str) -> None:
    async with site() as (server, _):
        for options in (
            {"user": wrong},
            {"user": None, "subprotocols": ["kinto.live.v1", f"kinto.auth.{encode(wrong)}"]},
            {"user": None, "subprotocols": ["kinto.auth.%%%"]},
        ):
            with pytest.raises(HTTPClientError) as caught:
                await server.open(**options)
            assert caught.value.code == 401


@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_credentials_in_a_message_end_the_connection(wrong: str) -> None:
    async with site() as (server, _):
        for first in ("hello", "auth"):
            client = await server.open(None)
            if first == "auth":
                await client.say("hello")
                await client.hear()
            await client.say(first, id=1, authorization=wrong)
            error = await client.hear()
            assert (error["type"], error["id"], error["code"]) == ("error", 1, 401)
            assert await client.hear() == 4401


async def test_default_bucket_is_ones_own() -> None:
    async with site() as (server, fetch):
        client = await server.greet()
        path = "/buckets/default/collections/mine/records"
        await client.say("subscribe", sub="s", path=path)
        heard = await client.until("ready")
        bucket = (await fetch("GET /")).json["user"]["bucket"]
        assert heard[0]["path"] == f"/buckets/{bucket}/collections/mine/records"
        await fetch(f"PUT {path}/r", {"data": {}})
        assert (await client.hear())["data"]["id"] == "r"
        stranger = await server.greet(None)
        await stranger.say("subscribe", id=1, sub="s", path=path)
        assert (await stranger.hear())["errno"] == 104


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_origin_that_is_not_allowed_is_403(origin: str) -> None:
    async with site(cors_origins="https://app.example") as (server, _):
        good = await server.open(headers={"Origin": "https://app.example"})
        await good.say("hello")
        assert (await good.hear())["type"] == "welcome"
        with pytest.raises(HTTPClientError) as caught:
            await server.open(headers={"Origin": origin})
        assert caught.value.code == 403


async def test_service_at_its_end_lets_nobody_in() -> None:
    async with serving(None, eos="2020-01-01", eos_message="over") as root:
        with pytest.raises(HTTPClientError) as caught:
            await Site(root).open()
        assert caught.value.code == 410


@pytest.mark.parametrize(
    ("method", "dropped", "status"),
    [
        ("GET", ("Upgrade", "Connection"), 400),
        ("GET", ("Upgrade",), 400),
        ("GET", ("Connection",), 400),
        ("GET", ("Sec-WebSocket-Key",), 400),
        ("POST", (), 405),
        ("PUT", (), 405),
        ("DELETE", (), 405),
    ],
)
async def test_request_that_is_no_upgrade_is_refused_in_json(
    method: str, dropped: tuple[str, ...], status: int
) -> None:
    async with site() as (_, fetch):
        headers = {name: value for name, value in UPGRADE.items() if name not in dropped}
        answer: Answer = await fetch(f"{method} /live", headers=headers)
        assert answer.status == status
        assert answer.json["code"] == status
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("frame", "code"), [("{", 4400), ('"text"', 4400), (b"binary", 4400), ("x" * (1 << 20), 4413)]
)
async def test_frame_that_is_no_message_closes_the_connection(
    frame: str | bytes, code: int
) -> None:
    async with site() as (server, _):
        client = await server.greet()
        await client.connection.write_message(frame, binary=isinstance(frame, bytes))
        assert await client.hear() == code


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ({}, "type"),
        ({"type": 1}, "type"),
        ({"type": "shout", "id": "x"}, "type"),
        ({"type": "hello"}, "type"),
        ({"type": "subscribe"}, "sub"),
        ({"type": "subscribe", "sub": "a b", "path": RECORDS}, "sub"),
        ({"type": "subscribe", "sub": "x" * 65, "path": RECORDS}, "sub"),
        ({"type": "subscribe", "sub": "s"}, "path"),
        ({"type": "subscribe", "sub": "s", "path": 1}, "path"),
        ({"type": "subscribe", "sub": "s", "path": f"{RECORDS}?_sort=n"}, "_sort"),
        ({"type": "subscribe", "sub": "s", "path": f"{RECORDS}?_since=1"}, "_since"),
        ({"type": "subscribe", "sub": "s", "path": f"{RECORDS}?_limit=1"}, "_limit"),
        ({"type": "subscribe", "sub": "s", "path": "/buckets/b%FF/changes"}, ""),
        ({"type": "subscribe", "sub": "s", "path": "/buckets/-/changes"}, ""),
        ({"type": "subscribe", "sub": "s", "path": RECORDS, "since": "abc"}, "since"),
        ({"type": "subscribe", "sub": "s", "path": RECORDS, "since": 12}, "since"),
        ({"type": "subscribe", "sub": "s", "path": RECORDS, "deliver": "all"}, "deliver"),
        ({"type": "subscribe", "sub": "s", "path": RECORDS, "history": 1}, "history"),
        ({"type": "subscribe", "sub": "s", "path": RECORDS, "include": ["x"]}, "include"),
        ({"type": "subscribe", "sub": "s", "path": RECORDS, "on_denied": "cry"}, "on_denied"),
        ({"type": "unsubscribe", "sub": "nobody"}, "sub"),
        ({"type": "auth"}, "authorization"),
        ({"type": "ping", "id": [1]}, "id"),
        ({"type": "ping", "id": "x" * 65}, "id"),
    ],
)
async def test_message_that_cannot_be_understood_is_a_400_that_the_connection_survives(
    message: dict[str, Any], name: str
) -> None:
    async with site() as (server, _):
        client = await server.greet()
        await client.connection.write_message(json.dumps(message))
        error = await client.hear()
        assert (error["type"], error["code"], error["errno"]) == ("error", 400, 107)
        assert error["details"][0]["name"] == name
        if message.get("id") == "x":
            assert error["id"] == "x"
        assert await client.is_well()


@pytest.mark.parametrize(
    "query", ["_fields=a&_fields=b", "last_modified=abc", "like_n=1", "in_id=1"]
)
async def test_filter_that_rest_refuses_is_refused_with_the_same_details(query: str) -> None:
    async with site() as (server, fetch):
        client = await server.greet()
        await client.say("subscribe", sub="s", path=f"{RECORDS}?{query}")
        error = await client.hear()
        over_rest = await fetch(f"GET {RECORDS}?{query}")
        assert over_rest.status == error["code"] == 400
        assert error["details"] == over_rest.json["details"]


@pytest.mark.parametrize(
    ("path", "code", "errno"),
    [
        ("/nowhere", 404, 111),
        ("/buckets/b/changes/more", 404, 111),
        ("/buckets/b/collections/none/records", 404, 111),
        (f"{RECORDS}/none", 404, 110),
    ],
)
async def test_path_of_nothing_is_404(path: str, code: int, errno: int) -> None:
    async with site() as (server, _):
        client = await server.greet()
        await client.say("subscribe", id=5, sub="s", path=path)
        error = await client.hear()
        assert (error["id"], error["sub"]) == (5, "s")
        assert (error["code"], error["errno"]) == (code, errno)
        assert await client.is_well()


async def test_cursor_of_another_list_is_410_where_it_makes_no_sense() -> None:
    async with site() as (server, fetch):
        other = await fetch("PUT /buckets/b/collections/d", {})
        ahead = await fetch(
            "PUT /buckets/b/collections/d/records/r", {"data": {"last_modified": 2_000_000_000_000}}
        )
        client = await server.greet()
        await client.say("subscribe", sub="s", path=RECORDS, since=ahead.headers["Cursor"])
        error = await client.hear()
        assert (error["code"], error["errno"]) == (410, 118)
        assert error["details"]["reason"] == "ahead"
        assert set(error["details"]) == {"floor", "cursor", "reason"}
        assert other.status == 201
        assert await client.is_well()


async def test_nothing_is_heard_before_hello() -> None:
    async with site() as (server, _):
        client = await server.open()
        await client.say("subscribe", id=1, sub="s", path=RECORDS)
        assert (await client.hear())["details"][0]["name"] == "type"
        await client.say("hello")
        assert (await client.hear())["type"] == "welcome"


async def test_who_says_no_hello_is_sent_away() -> None:
    async with site(live_hello_seconds="0.5") as (server, _):
        client = await server.open()
        assert await client.hear() == 4408


async def test_one_subscription_too_many_is_429_and_the_others_go_on() -> None:
    async with site() as (server, fetch):
        client = await server.greet()
        for index in range(129):
            await client.say("subscribe", id=index, sub=f"s{index}", path=RECORDS, since="now")
        heard = [await client.hear() for _ in range(2 * 128 + 1)]
        (error,) = [one for one in heard if one["type"] == "error"]
        assert (error["id"], error["sub"], error["code"], error["errno"]) == (128, "s128", 429, 117)
        await fetch(f"PUT {RECORDS}/r", {"data": {}})
        events = [await client.hear() for _ in range(128)]
        assert {one["sub"] for one in events} == {f"s{index}" for index in range(128)}


async def test_name_that_is_taken_is_refused() -> None:
    async with site() as (server, _):
        client = await server.greet()
        await client.say("subscribe", sub="s", path=RECORDS)
        await client.until("ready")
        await client.say("subscribe", id=2, sub="s", path=RECORDS)
        error = await client.hear()
        assert (error["id"], error["code"], error["details"][0]["name"]) == (2, 400, "sub")
        assert await client.is_well()


async def test_flood_of_messages_is_429_and_a_greater_one_the_end() -> None:
    async with site() as (server, _):
        client = await server.greet()
        text = json.dumps({"type": "subscribe", "sub": "s", "path": "/nowhere"})
        for _ in range(2000):
            await client.connection.write_message(text)
        errors = [await client.hear() for _ in range(2000)]
        refused = [one for one in errors if one["code"] == 429]
        assert {one["code"] for one in errors} == {404, 429}
        assert refused[0]["errno"] == 117
        assert refused[0]["retry_after"] == 1
        sending = asyncio.ensure_future(_flood(client, text, 12_000))
        while isinstance(answer := await client.hear(), dict):
            assert answer["code"] in (404, 429)
        assert answer == 4429
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _flood(client: Socket, text: str, count: int) -> None:
    for _ in range(count):
        await client.connection.write_message(text)


async def test_half_open_connection_is_closed() -> None:
    async with site(live_ping_seconds="0.5") as (server, _):
        port = int(server.root.rpartition(":")[2])
        # It says hello, and never answers a ping.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_head(port))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(masked(b'{"type":"hello"}'))
        received = await asyncio.wait_for(reader.read(-1), 20)
        assert received.count(b"\x89\x00") == 2
        assert struct.pack(">H", 4408) in received
        writer.close()


def request_head(port: int) -> bytes:
    headers = {**UPGRADE, "Authorization": ALICE}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{''.join(lines)}\r\n".encode()


def masked(payload: bytes) -> bytes:
    assert len(payload) < 126
    return b"\x81" + bytes([0x80 | len(payload)]) + b"\0\0\0\0" + payload


async def test_reader_that_resets_its_connection_leaves_nothing_behind() -> None:
    async with site() as (server, fetch):
        port = int(server.root.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_head(port))
        await reader.readuntil(b"\r\n\r\n")
        hello = b'{"type":"hello","subscribe":[{"sub":"s","path":"%b"}]}' % RECORDS.encode()
        writer.write(masked(hello))
        await reader.readuntil(b'"ready"')
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        for index in range(5):
            assert (await fetch(f"PUT {RECORDS}/r{index}", {"data": {}})).status == 201
        client = await server.greet()
        await client.say("subscribe", sub="s", path=RECORDS)
        assert len((await client.until("ready"))[1]["data"]) == 5


async def test_stranger_is_let_in_when_something_is_shared() -> None:
    async with site() as (server, fetch):
        him = (await fetch("GET /", user=BOB)).json["user"]["id"]
        client = await server.greet(BOB)
        await client.say("subscribe", sub="s", path=RECORDS)
        assert (await client.hear())["code"] == 403
        await fetch(f"PUT {RECORDS}/r", {"data": {}, "permissions": {"read": [him]}})
        await client.say("subscribe", sub="s", path=RECORDS)
        assert [one["id"] for one in (await client.until("ready"))[1]["data"]] == ["r"]
        await fetch(f"PATCH {RECORDS}/r", {"permissions": {"read": []}})
        leave = await client.hear()
        assert (leave["action"], leave["reason"]) == ("leave", "permission")


async def test_upgrade_over_a_bare_socket_is_answered_by_the_book() -> None:
    async with site() as (server, _):
        port = int(server.root.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_head(port))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"101 Switching Protocols" in head
        # The answer to the example of RFC 6455, section 1.3.
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert b"kinto.auth" not in head
        writer.close()


async def test_pages_of_this_very_server_may_ask() -> None:
    async with site(cors_origins="https://app.example") as (server, _):
        own = await server.open(headers={"Origin": server.root})
        await own.say("hello")
        assert (await own.hear())["type"] == "welcome"


async def test_pages_of_the_servers_public_name_may_ask() -> None:
    given = {"cors_origins": "https://app.example", "http_host": "sync.example"}
    async with site(**given) as (server, _):
        own = await server.open(headers={"Origin": "https://sync.example"})
        await own.say("hello")
        assert (await own.hear())["type"] == "welcome"


async def test_error_of_ours_before_the_upgrade_is_told_in_json(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("Uncaught exception")
    async with open_live({"KINTO_STORAGE_BACKEND": "memory"}) as server:

        async def fail(authorization: str) -> Actor:
            raise ZeroDivisionError

        server.live.identify = fail
        answer = await server.ask("GET /live", headers=UPGRADE)
        assert (answer.status, answer.json["errno"]) == (500, 999)
