import asyncio
import hashlib
import json
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from notifier import follow as follow_module
from notifier.follow import Change, Poke, Progress, Ready, Refused, Reset, Told, follow
from notifier.followers import Follower, Wanted
from tests.conftest import ExpectedLogs
from tests.notifier.stages import PATIENCE
from tests.servers import ThreadServer
from tests.system.clients import Client

pytestmark = pytest.mark.gen_test(timeout=30)

ALICE = ("alice", "secret")
LIST = "/buckets/b/collections/c/records"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_module, "PAUSE_SECONDS", (0.01, 0.05))


@pytest.fixture
def server() -> Iterator[ThreadServer]:
    server = ThreadServer({"storage_backend": "memory"}, {})
    yield server
    server.stop()


@pytest.fixture
def alice(server: ThreadServer) -> Iterator[Client]:
    client = Client(server.url)
    client.put("/buckets/b")
    client.put("/buckets/b/collections/c")
    yield client
    client.close()


async def take(told: AsyncIterator[Told], count: int) -> list[Any]:
    """The next few, which must come."""
    return [await anext(told) for _ in range(count)]


async def test_follower_is_told_what_is_there_and_then_what_changes(
    server: ThreadServer, alice: Client
) -> None:
    alice.put(f"{LIST}/r1", {"n": 1})
    async with aclosing(follow(server.url + "/", LIST, authorization=ALICE)) as told:
        first, ready = await take(told, 2)
        assert isinstance(first, Change)
        assert (first.action, first.uri, first.cursor) == ("snapshot", f"{LIST}/r1", None)
        assert isinstance(ready, Ready)
        alice.put(f"{LIST}/r2", {"n": 2})
        alice.put(f"{LIST}/r1", {"n": 3})
        alice.ask("DELETE", f"{LIST}/r2")
        changes = await take(told, 3)
    assert [(one.action, one.id) for one in changes] == [
        ("create", "r2"),
        ("update", "r1"),
        ("delete", "r2"),
    ]
    assert changes[1].data == alice.get(f"{LIST}/r1").data
    assert {one.resource_name for one in changes} == {"record"}


async def test_filters_are_spelled_as_in_a_query_string(
    server: ThreadServer, alice: Client
) -> None:
    wanted: Any = {"a": "x&y", "b": 1, "c": True, "d": None, "in_e": ["p q", 2]}
    data = {"a": "x&y", "b": 1, "c": True, "d": None, "e": "p q"}
    path = f"{LIST}?_fields=e"
    told = follow(server.url, path, authorization=ALICE, since="now", filters=wanted)
    async with aclosing(told):
        await anext(told)
        alice.put(f"{LIST}/other", {**data, "b": 2})
        alice.put(f"{LIST}/mine", data)
        change = await anext(told)
    assert isinstance(change, Change)
    assert (change.id, change.data) == (
        "mine",
        {"id": "mine", "last_modified": change.last_modified, "e": "p q"},
    )


async def test_options_reach_the_server(server: ThreadServer, alice: Client) -> None:
    since = alice.put(f"{LIST}/r", {"n": 1}).headers["Cursor"]
    alice.put(f"{LIST}/r", {"n": 2})
    alice.put(f"{LIST}/r", {"n": 3})
    told = follow(
        server.url,
        LIST,
        since=since,
        authorization=ALICE,
        history="all",
        include=["old", "user_id", "permissions"],
    )
    async with aclosing(told):
        second, third, ready = await take(told, 3)
    assert (second.data["n"], second.old["n"], third.data["n"]) == (2, 1, 3)
    assert third.user_id in third.permissions["write"]
    assert ready == Ready(third.cursor, ready.epoch)
    async with aclosing(follow(server.url, LIST, authorization=ALICE, deliver="poke")) as told:
        await anext(told)
        alice.put(f"{LIST}/r", {"n": 4})
        poke = await anext(told)
    assert poke == Poke(alice.get(LIST).etag.strip('"'))


@pytest.mark.parametrize(
    ("authorization", "path", "code", "errno"),
    [
        (None, LIST, 401, 104),
        (("bob", "secret"), LIST, 403, 121),
        ("Basic !", LIST, 401, 105),
        (ALICE, "/buckets/b/collections/none/records", 404, 111),
        (ALICE, "/nothing", 404, 111),
        (ALICE, f"{LIST}?_sort=n", 400, 107),
    ],
)
async def test_follower_who_is_refused_hears_the_error_of_the_table(
    server: ThreadServer, alice: Client, authorization: Any, path: str, code: int, errno: int
) -> None:
    with pytest.raises(Refused) as refused:
        await anext(follow(server.url, path, authorization=authorization))
    assert (refused.value.code, refused.value.errno) == (code, errno)


async def test_deleted_collection_ends_a_follower(server: ThreadServer, alice: Client) -> None:
    told = follow(server.url, LIST, authorization=ALICE)
    await anext(told)
    alice.ask("DELETE", "/buckets/b/collections/c")
    with pytest.raises(Refused) as refused:
        await anext(told)
    assert (refused.value.code, refused.value.errno) == (404, 111)
    with pytest.raises(StopAsyncIteration):
        await anext(told)


async def test_follower_that_waits_is_told_when_it_comes_to_be_again(
    server: ThreadServer, alice: Client
) -> None:
    alice.put(f"{LIST}/r1")
    async with aclosing(follow(server.url, LIST, authorization=ALICE, wait=True)) as told:
        await take(told, 2)
        alice.ask("DELETE", "/buckets/b/collections/c")
        assert await anext(told) == Reset("denied")
        alice.put("/buckets/b/collections/c")
        alice.put(f"{LIST}/r2")
        found = await take(told, 2)
    assert {getattr(one, "id", "ready") for one in found} == {"r2", "ready"}


async def test_cursor_from_before_the_floor_is_a_reset_and_a_snapshot(
    server: ThreadServer, alice: Client
) -> None:
    since = alice.put(f"{LIST}/r1").headers["Cursor"]
    alice.ask("DELETE", "/buckets/b/collections/c")
    alice.put("/buckets/b/collections/c")
    alice.put(f"{LIST}/r2")
    async with aclosing(follow(server.url, LIST, since=since, authorization=ALICE)) as told:
        reset, change, ready = await take(told, 3)
    assert reset == Reset("floor")
    assert (change.action, change.id) == ("snapshot", "r2")
    assert ready.cursor == alice.get(LIST).etag.strip('"')


async def test_unknown_option_and_wrong_address_are_errors_at_once() -> None:
    wrong: dict[str, Any] = {"filter": {}}
    with pytest.raises(TypeError, match="filter"):
        await anext(follow("http://127.0.0.1:1/v1", LIST, **wrong))
    for url in ("127.0.0.1:8888", "ftp://127.0.0.1/v1", "http://"):
        with pytest.raises(ValueError, match="no address"):
            await anext(follow(url, LIST))


# Connections that break.


class Peer(WebSocketHandler):
    """The server's end of a connection, which does what a script says."""

    def initialize(self, script: Callable[["Peer"], Awaitable[None]]) -> None:
        self._script = script
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.task: asyncio.Future[None] | None = None

    def open(self, *arguments: str, **named: str) -> None:
        self.task = asyncio.ensure_future(self._script(self))

    def on_message(self, message: str | bytes) -> None:
        self._heard.put_nowait(json.loads(message))

    def on_close(self) -> None:
        self.ended.set()
        if self.task:
            self.task.cancel()

    async def hear(self) -> Any:
        """What the client asks for."""
        hello = await self._heard.get()
        return hello["subscribe"][0]

    def say(self, kind: str, **members: Any) -> None:
        self.write_message({"type": kind, "sub": "follow", **members})

    def cut(self) -> None:
        """Close the socket without a word."""
        assert self.ws_connection is not None
        assert self.ws_connection.stream is not None
        self.ws_connection.stream.close()

    def welcome(self, mode: str, cursor: str, **members: Any) -> None:
        """Greet, and let in."""
        self.say("welcome", **{"heartbeat": 25, "epoch": "e", **members})
        self.say("subscribed", path=LIST, mode=mode, cursor=cursor)

    def tell(self, prev: str, cursor: str) -> None:
        """A change of the record that is named as its cursor."""
        uri = f"{LIST}/{cursor}"
        members = {"prev": prev, "cursor": cursor, "action": "update"}
        self.say("event", **members, uri=uri, resource_name="record", data={"id": cursor})


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[str]:
    """The root of a server that treats the first connection thus, the next so, and so on."""
    left = iter(scripts)

    async def run(peer: Peer) -> None:
        await next(left)(peer)

    server = HTTPServer(Application([("/v1/live", Peer, {"script": run})]))
    listener, port = bind_unused_port()
    server.add_socket(listener)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.stop()
        await server.close_all_connections()
    assert list(left) == []


def resume(since: str | None, cursor: str) -> Script:
    """Expects a client that goes on from a cursor, and has one change for it."""

    async def script(peer: Peer) -> None:
        asked = await peer.hear()
        assert asked.get("since") == since
        peer.welcome("backfill", cursor)
        peer.tell(since or "", cursor)

    return script


async def test_lost_connection_is_made_again_from_the_last_cursor() -> None:
    async def cut(peer: Peer) -> None:
        await peer.hear()
        peer.welcome("backfill", "8")
        peer.tell("7", "8")
        peer.cut()

    async def stop(peer: Peer) -> None:
        await resume("8", "9")(peer)
        peer.say("goodbye", reason="restart", retry_after=0.1)
        peer.close(1012, "restart")

    async with scripted(cut, stop, resume("9", "10")) as url:
        async with aclosing(follow(url, LIST, since="7")) as told:
            changes = await take(told, 3)
    assert [one.cursor for one in changes] == ["8", "9", "10"]


async def test_client_comes_back_when_good_bye_said_so() -> None:
    times: list[float] = []
    clock = asyncio.get_running_loop().time

    async def stop(peer: Peer) -> None:
        await peer.hear()
        peer.say("goodbye", reason="restart", retry_after=0.3)
        peer.close(1012, "restart")
        times.append(clock())

    async def back(peer: Peer) -> None:
        times.append(clock())
        await resume("7", "8")(peer)

    async with scripted(stop, back) as url, aclosing(follow(url, LIST, since="7")) as told:
        await anext(told)
    assert times[1] - times[0] >= 0.3


async def test_silent_server_is_left() -> None:
    async def silent(peer: Peer) -> None:
        peer.welcome("backfill", "7", heartbeat=0.05)
        await peer.ended.wait()

    async with scripted(silent, resume("7", "8")) as url:
        async with aclosing(follow(url, LIST, since="7")) as told:
            assert await take(told, 1)


async def test_server_that_says_anything_is_not_left() -> None:
    async def chatty(peer: Peer) -> None:
        peer.welcome("backfill", "7", heartbeat=0.2)
        for _ in range(5):
            peer.say("ping")
            await asyncio.sleep(0.1)
        peer.say("progress", prev="7", cursor="8")

    async with scripted(chatty) as url, aclosing(follow(url, LIST, since="7")) as told:
        assert await anext(told) == Progress("8")


async def test_message_out_of_order_is_logged_and_asked_for_again(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("a message follows 8, not 7")

    async def confused(peer: Peer) -> None:
        peer.welcome("backfill", "9")
        peer.tell("8", "9")
        await peer.ended.wait()

    async with scripted(confused, resume("7", "8")) as url:
        async with aclosing(follow(url, LIST, since="7")) as told:
            assert (await take(told, 1))[0].cursor == "8"
    assert len(expected_logs.records) == 1


@pytest.mark.parametrize("noise", ["no json", "[]"])
async def test_noise_is_logged_and_the_connection_made_again(
    expected_logs: ExpectedLogs, noise: str
) -> None:
    expected_logs("no JSON object")

    async def noisy(peer: Peer) -> None:
        await peer.write_message(noise)
        await peer.ended.wait()

    async with scripted(noisy, resume("7", "8")) as url:
        async with aclosing(follow(url, LIST, since="7")) as told:
            assert await take(told, 1)


async def test_another_epoch_drops_what_was_told() -> None:
    async def first(peer: Peer) -> None:
        await resume("7", "8")(peer)
        peer.close(1012, "restart")

    async def other(peer: Peer) -> None:
        peer.welcome("backfill", "8", epoch="f")
        await peer.ended.wait()

    async def fresh(peer: Peer) -> None:
        assert "since" not in await peer.hear()
        peer.welcome("snapshot", "3", epoch="f")
        peer.say("snapshot", prev=None, cursor="3", data=[{"id": "r"}], more=False)

    async with scripted(first, other, fresh) as url:
        async with aclosing(follow(url, LIST, since="7")) as told:
            found = await take(told, 3)
    assert found[1:] == [Reset("epoch"), Change("snapshot", f"{LIST}/r", "record", {"id": "r"})]


@pytest.mark.parametrize("code", [4401, 4403])
async def test_closing_for_good_ends_the_follower(code: int) -> None:
    async def enough(peer: Peer) -> None:
        peer.close(code, "enough")

    async with scripted(enough) as url:
        with pytest.raises(Refused, match="enough") as refused:
            await anext(follow(url, LIST))
    assert refused.value.code == code - 4000


async def test_address_without_websocket_is_refused(expected_logs: ExpectedLogs) -> None:
    expected_logs("404 GET")
    async with scripted() as url:
        with pytest.raises(Refused) as refused:
            await anext(follow(f"{url}/elsewhere", LIST))
    assert (refused.value.code, refused.value.errno) == (404, None)


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw(answer: Answer) -> AsyncIterator[str]:
    """The root of a server that treats each connection thus, and closes it."""

    tasks: list[asyncio.Future[None]] = []

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(run(reader, writer)))

    async with await asyncio.start_server(begin, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    await asyncio.gather(*tasks)


def answering(text: bytes) -> AbstractAsyncContextManager[str]:
    """The root of a server that answers each connection with the same bytes, then ends it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)

    return raw(answer)


async def test_answer_that_is_no_websocket_is_refused() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as url:
        with pytest.raises(Refused, match="is no WebSocket"):
            await anext(follow(url, LIST))


async def test_redirection_is_not_followed_with_credentials() -> None:
    text = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with answering(text) as url:
        with pytest.raises(Refused) as refused:
            await anext(follow(url, LIST, authorization=ALICE))
    assert refused.value.code == 302


async def test_server_that_is_not_there_yet_is_waited_for(server: ThreadServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    told = follow(f"http://127.0.0.1:{port}/v1", LIST, since="7")
    waiting = asyncio.ensure_future(anext(told))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\n{}"
    async with answering(busy) as url:
        other = asyncio.ensure_future(anext(follow(url, LIST)))
        done, _ = await asyncio.wait({other}, timeout=0.1)
        assert not done
        await end(other)
    await end(waiting)


async def end(task: asyncio.Future[Any]) -> None:
    """Cancel a task, which must end at once and thus."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Ends.


async def test_closed_follower_leaves_the_server(server: ThreadServer, alice: Client) -> None:
    left = asyncio.Event()

    async def watch(peer: Peer) -> None:
        peer.welcome("backfill", "8")
        peer.tell("7", "8")
        peer.tell("8", "9")
        try:
            await peer.ended.wait()
        finally:
            assert peer.close_code == 1000
            left.set()

    async with scripted(watch) as url:
        told = follow(url, LIST, since="7")
        await anext(told)
        await told.aclose()
        assert await asyncio.wait_for(left.wait(), PATIENCE)


async def test_cancelled_follower_leaves_the_server() -> None:
    left = asyncio.Event()
    there = asyncio.Event()

    async def watch(peer: Peer) -> None:
        there.set()
        try:
            await peer.ended.wait()
        finally:
            left.set()

    async with scripted(watch) as url:
        waiting = asyncio.ensure_future(anext(follow(url, LIST, since="7")))
        await there.wait()
        await end(waiting)
        assert await asyncio.wait_for(left.wait(), PATIENCE)


def switch_protocols(head: bytes) -> bytes:
    """The answer to a request for a WebSocket."""
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")]
    key = lines[0].split(b":")[1].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = b64encode(hashlib.sha1(key).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
    )


async def test_follower_that_is_cancelled_while_connecting_leaves_nothing_open() -> None:
    closed = asyncio.Event()
    arrived = asyncio.Event()
    release = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        head = await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(switch_protocols(head))
        with suppress(ConnectionError):
            await reader.read()
        closed.set()

    async with raw(answer) as url:
        waiting = asyncio.ensure_future(anext(follow(url, LIST)))
        await arrived.wait()
        await end(waiting)
        release.set()
        assert await asyncio.wait_for(closed.wait(), PATIENCE)


@pytest.mark.parametrize("turns", range(4))
async def test_cancellation_that_comes_with_a_message_is_not_forgotten(turns: int) -> None:
    class Connection:
        """Its message comes when it is told to."""

        message: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def read_message(self) -> asyncio.Future[str]:
            return self.message

    connection: Any = Connection()
    follower = Follower(Wanted(LIST), None, None)
    reading = asyncio.ensure_future(follow_module._Socket(connection).read(follower))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    connection.message.set_result("{}")
    for _ in range(turns):
        await asyncio.sleep(0)
    if reading.cancel():
        with pytest.raises(asyncio.CancelledError):
            await reading
    else:
        assert await reading == {}


async def test_end_does_not_wait_for_a_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow_module, "CLOSE_SECONDS", 0.05)
    released = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(switch_protocols(head))
        text = b'{"type": "reset", "reason": "restarted"}'
        writer.write(b"\x81%c%b" % (len(text), text))
        await released.wait()

    async with raw(answer) as url:
        told = follow(url, LIST)
        assert await anext(told) == Reset("restarted")
        async with asyncio.timeout(2):
            await told.aclose()
        released.set()
