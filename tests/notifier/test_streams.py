import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from notifier.carrier import CarrierLimits
from notifier.live import LiveOptions
from notifier.messages import Options
from notifier.streams import COMMENT, EventStream
from notifier.subscriptions import Request
from notifier.topics import parse_topic
from server.core.commands import Ensure
from server.core.errors import CursorExpired, Forbidden
from server.core.paths import object_path
from server.core.permissions import Actor
from tests.notifier.stages import Stage
from tests.server.storage.scenes import ALICE, BOB, delete, put

pytestmark = pytest.mark.gen_test(timeout=30)

PATIENCE = 10.0
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Socket:
    """A transport that takes what it is given, unless it is told not to.

    Attributes:
        text: all that was taken.
        taking: whether it takes.
        closed: whether the stream ended it.
        aborted: whether it did so at once.
    """

    def __init__(self) -> None:
        self.text = b""
        self.taking = True
        self.closed = False
        self.aborted = False
        self._pending: list[tuple[bytes, Callable[[], None]]] = []
        self._news = asyncio.Event()

    def send(self, data: bytes) -> int:
        if not self.taking:
            return 0
        self._take(data)
        return len(data)

    def finish(self, data: bytes, done: Callable[[], None]) -> None:
        self._pending.append((data, done))
        if self.taking:
            asyncio.get_running_loop().call_soon(self.drain)

    def drain(self) -> None:
        """Take what waits."""
        self.taking = True
        pending, self._pending = self._pending, []
        for data, done in pending:
            self._take(data)
            done()

    def _take(self, data: bytes) -> None:
        self.text += data
        self._news.set()

    def close(self, code: int, reason: str) -> None:
        self.closed = True
        self._news.set()

    def abort(self) -> None:
        self.aborted = True
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def has(self, kind: str) -> dict[str, Any]:
        """Data of the last event of a type, once there is one."""
        start = b"event: " + kind.encode() + b"\n"
        await self.until(lambda: start in self.text)
        last = self.text.rpartition(start)[2]
        data: dict[str, Any] = json.loads(last.partition(b"data: ")[2].partition(b"\n")[0])
        return data


def make(stage: Stage, path: str, actor: Actor = ALICE, **options: Any) -> EventStream:
    return stage.live.stream(parse_topic(path, ()), Options(**options), actor)


async def start(stage: Stage, path: str) -> tuple[EventStream, Socket]:
    """A stream that has told what there is."""
    stream, socket = make(stage, path), Socket()
    await stream.begin(Request(), None)
    stream.open(socket, HEAD)
    stage.live.adopt(stream)
    await socket.has("ready")
    return stream, socket


async def test_nothing_is_said_before_the_way_is_open_and_the_head_comes_first() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        stream, socket = make(stage, records), Socket()
        await stream.begin(Request(), None)
        assert socket.text == b""
        stream.open(socket, HEAD)
        assert (await socket.has("ready"))["cursor"]
        assert socket.text.startswith(HEAD + b"event: subscribed\n")
        stream.closed()
        assert stage.live.hub.count == 0


async def test_refusal_is_known_before_anything_is_said() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        with pytest.raises(Forbidden):
            await make(stage, records, BOB).begin(Request(), None)
        with pytest.raises(CursorExpired):
            await make(stage, records).begin(Request(None, "4398046511103"), None)
        assert stage.live.hub.count == 0


@pytest.mark.parametrize("deliver", ["data", "poke"])
async def test_cursor_that_cannot_be_resumed_restarts_whom_it_shall(deliver: Any) -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        stream, socket = make(stage, records, deliver=deliver), Socket()
        await stream.begin(Request(None, "4398046511103", restarts=True), None)
        stream.open(socket, HEAD)
        await socket.has("ready")
        kinds = {"data": ["reset", "snapshot"], "poke": ["poke"]}[deliver]
        for kind in kinds:
            assert f"event: {kind}\n".encode() in socket.text
        stream.closed()


async def test_what_is_missing_is_made_where_that_is_promised() -> None:
    async with Stage() as stage:
        uri = "/buckets/alices"
        stream = make(stage, f"{uri}/collections")
        await stream.begin(Request(), Ensure(ALICE, object_path(uri)))
        assert await stage.find(uri) is not None
        stream.closed()


async def test_end_is_told_and_then_the_response_ends() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        _, socket = await start(stage, f"{collection}/records")
        await stage.do(delete(collection))
        ended = await socket.has("unsubscribed")
        assert ended == {"code": 404, "errno": 111, "reason": "Not Found", "purge": True}
        await socket.until(lambda: socket.closed)


async def test_end_waits_for_a_socket_that_takes_nothing() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        stream, socket = await start(stage, f"{collection}/records")
        socket.taking = False
        await stage.do(put(f"{collection}/records/a"))
        await stage.do(delete(collection))
        async with asyncio.timeout(PATIENCE):
            while stage.live.hub.count:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert not socket.closed
        socket.drain()
        await socket.has("unsubscribed")
        await socket.until(lambda: socket.closed)
        stream.closed()


async def test_quiet_stream_says_comments_and_pings() -> None:
    limits = CarrierLimits(heartbeat_seconds=40)
    async with Stage(LiveOptions(ping_seconds=20, carrier=limits)) as stage:
        records = await stage.make_collection() + "/records"
        stream, socket = await start(stage, records)
        begun = len(socket.text)
        stage.live.time += 19
        stream.tick()
        assert len(socket.text) == begun
        stage.live.time += 1
        stream.tick()
        assert socket.text[begun:] == COMMENT
        stage.live.time += 20
        stream.tick()
        assert await socket.has("ping") == {}
        stream.closed()


async def test_socket_that_takes_nothing_for_too_long_is_given_up() -> None:
    async with Stage(LiveOptions(carrier=CarrierLimits(stalled_seconds=60))) as stage:
        records = await stage.make_collection() + "/records"
        stream, socket = await start(stage, records)
        socket.taking = False
        stream.goodbye("restart", 1)
        stage.live.time = asyncio.get_running_loop().time() + 59
        stream.tick()
        assert not socket.aborted
        stage.live.time += 2
        stream.tick()
        assert socket.aborted
        stream.closed()


async def test_process_that_stops_says_goodbye_to_streams_old_and_new() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        stream, socket = await start(stage, records)
        await stage.live.stop()
        assert (await socket.has("goodbye"))["reason"] == "restart"
        assert socket.closed
        late, other = make(stage, records), Socket()
        await late.begin(Request(), None)
        late.open(other, HEAD)
        stage.live.adopt(late)
        await other.until(lambda: other.closed)
        assert b"event: goodbye\n" in other.text
        for one in (stream, late):
            one.closed()
            stage.live.forget(one)


async def test_stream_that_was_never_opened_can_be_closed() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        stream = make(stage, records)
        await stream.begin(Request(), None)
        stream.close(1012, "restart")
        stream.closed()
        assert stage.live.hub.count == 0


async def test_listener_whose_credentials_are_over_is_told_so_and_nothing_after_it() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        stream, socket = await start(stage, records)
        assert stream.actor == ALICE
        stream.expel()
        stream.expel()
        told = await socket.has("unsubscribed")
        assert (told["code"], told["errno"], told["purge"]) == (401, 105, False)
        await socket.until(lambda: socket.closed)
        said = socket.text
        await stage.do(put(f"{records}/r"))
        await asyncio.sleep(0.05)
        assert socket.text == said
        assert said.count(b"event: unsubscribed") == 1
        stream.closed()
        stage.live.forget(stream)
