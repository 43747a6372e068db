import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from notifier.messages import Options
from notifier.outbox import CHUNK_MAX_BYTES, Outbox
from notifier.subscriptions import Subscription
from notifier.topics import parse_topic
from notifier.wires import WebSocketWire
from server.core.permissions import ANONYMOUS


class Socket:
    """A transport that takes as many bytes as it is told to."""

    def __init__(self, takes: int = 1 << 30) -> None:
        self.takes = takes
        self.sent: list[bytes] = []
        self.finished: list[tuple[bytes, Callable[[], None]]] = []
        self.aborted = False
        self.broken = False

    def send(self, data: bytes) -> int:
        if self.broken:
            raise BrokenPipeError
        taken = min(self.takes, len(data))
        if taken:
            self.sent.append(data[:taken])
        return taken

    def finish(self, data: bytes, done: Callable[[], None]) -> None:
        self.finished.append((data, done))

    def close(self, code: int, reason: str) -> None:
        raise AssertionError

    def abort(self) -> None:
        self.aborted = True

    def drain(self) -> None:
        """Take what it was given, and everything from now on."""
        self.takes = 1 << 30
        data, done = self.finished.pop(0)
        self.sent.append(data)
        done()

    @property
    def bytes(self) -> bytes:
        return b"".join(self.sent)


class Watcher:
    """Hears what an outbox tells."""

    def __init__(self) -> None:
        self.lost: list[dict[Subscription, int]] = []
        self.drained = 0

    def drain(self) -> None:
        self.drained += 1


def make(socket: Socket, *, messages: int = 4, size: int = 1000) -> tuple[Outbox, Watcher]:
    watcher = Watcher()
    return Outbox(socket, messages, size, watcher.lost.append, watcher.drain), watcher


def subscription(name: str = "s") -> Subscription:
    outlet: Any = None
    topic = parse_topic("/buckets", [])
    return Subscription(name, topic, Options(), ANONYMOUS, outlet, WebSocketWire())


def test_what_is_pushed_goes_out_in_order_and_at_once() -> None:
    socket = Socket()
    outbox, _ = make(socket)
    for frame in (b"a", b"b", b"c"):
        assert outbox.push(frame)
    outbox.flush()
    assert socket.sent == [b"abc"]
    assert outbox.waiting == 0


def test_chunks_end_before_they_grow_too_large() -> None:
    socket = Socket()
    outbox, _ = make(socket)
    large = b"x" * (CHUNK_MAX_BYTES - 1)
    for frame in (b"a", b"b", large, b"c", b"d"):
        outbox.push(frame)
    outbox.flush()
    assert socket.sent == [b"ab", large, b"cd"]


def test_many_frames_are_flushed_before_the_turn_ends() -> None:
    socket = Socket()
    outbox, _ = make(socket)
    for _ in range(300):
        outbox.push(b"x")
    assert len(socket.bytes) == 256


def test_large_frames_are_flushed_before_they_grow_to_many() -> None:
    socket = Socket()
    outbox, _ = make(socket)
    large = b"x" * CHUNK_MAX_BYTES
    for _ in range(3):
        outbox.push(large)
    assert socket.sent == [large] * 3


@pytest.mark.gen_test
async def test_rest_of_what_the_socket_took_in_part_comes_first() -> None:
    socket = Socket(takes=2)
    outbox, watcher = make(socket)
    outbox.push(b"abcd")
    outbox.flush()
    assert outbox.blocked_since is not None
    assert outbox.chunk_bytes == 2
    assert not outbox.push(b"ef")
    socket.drain()
    assert socket.bytes == b"abcdef"
    assert outbox.blocked_since is None
    assert watcher.drained == 1


@pytest.mark.gen_test
async def test_nothing_of_a_frame_that_was_not_taken_is_sent_twice() -> None:
    socket = Socket(takes=0)
    outbox, _ = make(socket)
    outbox.push(b"abcd")
    outbox.flush()
    socket.drain()
    assert socket.bytes == b"abcd"


@pytest.mark.gen_test
@pytest.mark.parametrize(("count", "frame"), [(3, b"x"), (2, b"x" * 400)])
async def test_past_the_bound_frames_of_live_subscriptions_are_dropped(
    count: int, frame: bytes
) -> None:
    socket = Socket(takes=0)
    outbox, watcher = make(socket)
    first, second = subscription("a"), subscription("b")
    outbox.push(b"-")
    outbox.flush()
    outbox.push(b"must")
    for index in range(count):
        outbox.push(frame, first if index % 2 else second, index)
    assert watcher.lost == []
    outbox.push(frame, first, 9)
    assert watcher.lost == [{second: 0, first: 1}]
    assert outbox.waiting == 1
    socket.drain()
    assert socket.bytes == b"-must"


@pytest.mark.gen_test
async def test_frames_that_must_not_be_dropped_are_kept_past_the_bound() -> None:
    socket = Socket(takes=0)
    outbox, watcher = make(socket)
    for _ in range(9):
        outbox.push(b"x")
    outbox.flush()
    for _ in range(9):
        outbox.push(b"y")
    assert watcher.lost == []
    assert outbox.waiting == 9


@pytest.mark.gen_test
async def test_what_waits_of_a_subscription_can_be_taken_back() -> None:
    socket = Socket(takes=0)
    outbox, _ = make(socket)
    first, second = subscription("a"), subscription("b")
    outbox.push(b"-")
    outbox.flush()
    assert outbox.drop(first) is None
    outbox.push(b"1", first, 10)
    outbox.push(b"2", second, 20)
    outbox.push(b"3", first, 30)
    assert outbox.drop(first) == 10
    socket.drain()
    assert socket.bytes == b"-2"


@pytest.mark.gen_test
async def test_who_waits_for_room_goes_on_when_the_socket_takes_again() -> None:
    socket = Socket(takes=0)
    outbox, _ = make(socket)
    await outbox.wait_for_room()
    outbox.push(b"x")
    outbox.flush()
    waits = [asyncio.ensure_future(outbox.wait_for_room()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in waits)
    socket.drain()
    await asyncio.gather(*waits)


@pytest.mark.gen_test
async def test_closing_lets_everybody_go_and_takes_nothing_more() -> None:
    socket = Socket(takes=0)
    outbox, _ = make(socket)
    outbox.push(b"x")
    outbox.flush()
    waiting = asyncio.ensure_future(outbox.wait_for_room())
    await asyncio.sleep(0)
    outbox.close()
    await waiting
    assert not outbox.push(b"y")
    assert outbox.waiting == 0


def test_broken_connection_is_cut_off() -> None:
    socket = Socket()
    socket.broken = True
    outbox, _ = make(socket)
    outbox.push(b"x")
    outbox.flush()
    assert socket.aborted
