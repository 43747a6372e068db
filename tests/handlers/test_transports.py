import asyncio
import socket

import pytest
from tornado.iostream import IOStream

from handlers.transports import StreamTransport

pytestmark = pytest.mark.gen_test


class Pair:
    """A stream of ours, and the other end of its socket."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        for one in (ours, self.theirs):
            one.setblocking(False)
        self.stream = IOStream(ours)
        self.closed: list[tuple[int, str]] = []
        self.transport = StreamTransport(self.stream, lambda *end: self.closed.append(end))

    async def read(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            received += await asyncio.get_running_loop().sock_recv(self.theirs, 1 << 20)
        return received

    def close(self) -> None:
        self.stream.close()
        self.theirs.close()


async def test_socket_takes_what_there_is_room_for_and_the_stream_the_rest() -> None:
    pair = Pair()
    data = bytes(range(256)) * 40_000
    taken = pair.transport.send(data)
    assert 0 < taken < len(data)
    assert pair.transport.send(b"more") == 0
    done = asyncio.Event()
    pair.transport.finish(data[taken:], done.set)
    # What waits in the stream is not to be overtaken.
    assert pair.transport.send(b"later") == 0
    assert await pair.read(len(data)) == data
    await asyncio.wait_for(done.wait(), 5)
    assert pair.transport.send(b"later") == 5
    assert await pair.read(5) == b"later"
    pair.close()


async def test_connection_that_is_gone_is_told_and_never_called_back() -> None:
    pair = Pair()
    pair.transport.close(4400, "bad")
    assert pair.closed == [(4400, "bad")]
    data = b"x" * (8 << 20)
    taken = pair.transport.send(data)
    called: list[None] = []
    pair.transport.finish(data[taken:], lambda: called.append(None))
    pair.transport.abort()
    await asyncio.sleep(0)
    with pytest.raises(ConnectionResetError):
        pair.transport.send(b"x")
    pair.transport.finish(b"x", lambda: called.append(None))
    pair.transport.close(4400, "again")
    assert called == []
    assert len(pair.closed) == 1
    pair.close()
