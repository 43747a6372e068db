"""The bounded queue of one connection, and its one way to the socket.

While the socket takes what it is given, nothing waits here. When it does not,
frames wait up to a bound; past that those of live subscriptions are dropped from
memory, and their subscriptions catch up once the socket takes again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from notifier.subscriptions import Subscription

CHUNK_MAX_BYTES = 64 << 10
"""Given to the socket at a time; a longer frame is given whole."""

_FLUSH_FRAMES = 256
"""That wait for the end of a turn at most, while the socket takes."""


class Transport(Protocol):
    """A socket that does not block."""

    def send(self, data: bytes) -> int:
        """How many bytes it took at once; 0 if none.

        Raises:
            OSError: If the connection is gone.
        """

    def finish(self, data: bytes, done: Callable[[], None]) -> None:
        """Take all, and call when it is gone; never, if the connection ends before."""

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was taken."""

    def abort(self) -> None:
        """End the connection at once."""


_Entry: TypeAlias = tuple[bytes, Subscription | None, int]
"""A frame; the subscription that may do without it, if it may; and its cursor before."""


class Outbox:
    """Frames on their way to one socket.

    Attributes:
        blocked_since: when the socket stopped taking, by the loop's clock; None while it takes.
        chunk_bytes: that it did not take then.
    """

    def __init__(
        self,
        transport: Transport,
        max_messages: int,
        max_bytes: int,
        overflowed: Callable[[dict[Subscription, int]], None],
        drained: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            transport: the socket.
            max_messages: that may wait.
            max_bytes: of them.
            overflowed: told which subscriptions lost frames, and their cursors before them.
            drained: called when nothing waits any more.
        """
        self._transport = transport
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._overflowed = overflowed
        self._drained = drained
        self._queue: deque[_Entry] = deque()
        self._bytes = 0
        self._room: asyncio.Future[None] | None = None
        self._closed = False
        self.blocked_since: float | None = None
        self.chunk_bytes = 0

    @property
    def waiting(self) -> int:
        """Frames that wait."""
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of them."""
        return self._bytes

    def push(self, frame: bytes, subscription: Subscription | None = None, prev: int = 0) -> bool:
        """Take a frame.

        Args:
            frame: what is to be sent.
            subscription: that may do without it, and catch up; None if it must be sent.
            prev: its cursor before it.

        Returns:
            Whether ``flush`` has to be called at the end of this turn.
        """
        if self._closed:
            return False
        self._queue.append((frame, subscription, prev))
        self._bytes += len(frame)
        if self.blocked_since is None:
            if len(self._queue) >= _FLUSH_FRAMES or self._bytes >= CHUNK_MAX_BYTES:
                self.flush()
            return True
        if self._is_over():
            self._overflow()
        return False

    def _is_over(self) -> bool:
        return len(self._queue) > self._max_messages or self._bytes > self._max_bytes

    def _overflow(self) -> None:
        """Drop what subscriptions can do without."""
        lost: dict[Subscription, int] = {}
        kept = []
        for entry in self._queue:
            _, subscription, prev = entry
            if subscription is None:
                kept.append(entry)
            else:
                lost.setdefault(subscription, prev)
        self._keep(kept)
        if lost:
            self._overflowed(lost)

    def drop(self, subscription: Subscription) -> int | None:
        """Drop what waits of a subscription; its cursor before that, None if nothing did."""
        mine = [prev for _, whose, prev in self._queue if whose is subscription]
        if not mine:
            return None
        self._keep([entry for entry in self._queue if entry[1] is not subscription])
        return mine[0]

    def _keep(self, entries: Iterable[_Entry]) -> None:
        self._queue = deque(entries)
        self._bytes = sum(len(frame) for frame, _, _ in self._queue)

    def flush(self) -> None:
        """Give the socket what waits, as far as it takes it."""
        while self._queue and self.blocked_since is None and not self._closed:
            self._give(self._take_chunk())

    def _take_chunk(self) -> bytes:
        queue = self._queue
        if len(queue) == 1:
            chunk = queue.popleft()[0]
            self._bytes -= len(chunk)
            return chunk
        frames = [queue.popleft()[0]]
        size = len(frames[0])
        while queue and size + len(queue[0][0]) <= CHUNK_MAX_BYTES:
            frame = queue.popleft()[0]
            frames.append(frame)
            size += len(frame)
        self._bytes -= size
        return b"".join(frames)

    def _give(self, chunk: bytes) -> None:
        try:
            taken = self._transport.send(chunk)
        except OSError:
            self._transport.abort()
            return
        if taken == len(chunk):
            return
        self.blocked_since = asyncio.get_running_loop().time()
        self.chunk_bytes = len(chunk) - taken
        self._transport.finish(chunk[taken:] if taken else chunk, self._unblock)

    def _unblock(self) -> None:
        self.blocked_since = None
        self.flush()
        if self.blocked_since is None:
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
            self._drained()

    async def wait_for_room(self) -> None:
        """Wait until the socket takes again, or everything is over."""
        while self.blocked_since is not None and not self._closed:
            if self._room is None or self._room.done():
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    async def wait_if_full(self) -> None:
        """Wait until the socket takes again, if more waits than may be dropped."""
        if self._is_over():
            await self.wait_for_room()

    def close(self) -> None:
        """Forget everything; what comes is thrown away."""
        self._closed = True
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._queue.clear()
        self._bytes = 0
