"""Brings one webhook the changes of every bucket: in the bucket's order, several at once.

What was taken is noted in the storage, bucket by bucket. A delivery that fails is
sent again, with growing pauses, for as long as it takes; what comes after it in
its bucket waits. So a receiver misses nothing, and may be told something twice.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from server.core.errors import Unavailable
from server.core.objects import Clock
from server.core.paths import FEED
from server.core.positions import make_position
from server.core.revisions import Revision
from server.storage.base import LogPage, Storage
from server.tasks import end_tasks
from server.webhooks.hooks import Hook
from server.webhooks.senders import Delivery, Sender, Undelivered

logger = logging.getLogger(__name__)

EVENTS_AT_ONCE = 100
BYTES_AT_ONCE = 1 << 20
BUCKETS_AT_ONCE = 8

PAUSE_SECONDS = (0.5, 300.0)
"""Before a delivery that failed is sent again: at first, and at most."""


_GONE = " gone"
"""Follows a place in a bucket's log where the bucket itself was deleted."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Up to where a bucket's log was told.

    Attributes:
        seq: of the last entry.
        gone: whether that deleted the bucket: what is made again begins beyond it.
    """

    seq: int
    gone: bool = False

    def spell(self) -> str:
        return f"{self.seq}{_GONE if self.gone else ''}"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of a bucket's log.

    Attributes:
        revisions: that the webhook wants.
        end: up to where the log was read.
        more: whether there is more.
        missed: whether something before it is not in the log any more.
    """

    revisions: list[Revision]
    end: _Place
    more: bool
    missed: bool


class Courier:
    """Serves one webhook until it is cancelled."""

    def __init__(
        self,
        storage: Storage,
        hook: Hook,
        *,
        begun: int,
        pause_seconds: tuple[float, float] = PAUSE_SECONDS,
    ) -> None:
        """Begin; nothing is sent before ``run``.

        Args:
            storage: has the log, and keeps what was taken.
            hook: that is served.
            begun: since when, in ms since 1970: what was done before is not told.
            pause_seconds: before a delivery that failed is sent again: at first, and at
                most.
        """
        self._storage = storage
        self._hook = hook
        self.begun = begun
        self._pause_seconds = pause_seconds
        self._sender = Sender(hook)
        self._dirty: dict[str, None] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._told = asyncio.Event()

    def tell(self, bucket: str) -> None:
        """Say that there is something new in a bucket."""
        self._dirty[bucket] = None
        self._told.set()

    async def run(self) -> None:
        """Deliver, until it is cancelled."""
        try:
            while True:
                await self._told.wait()
                self._told.clear()
                for bucket in [one for one in self._dirty if one not in self._busy]:
                    if len(self._busy) >= BUCKETS_AT_ONCE:
                        break
                    del self._dirty[bucket]
                    self._begin(bucket)
        finally:
            await end_tasks(list(self._busy.values()))
            self._sender.close()

    def _begin(self, bucket: str) -> None:
        task = asyncio.ensure_future(self._serve(bucket))
        self._busy[bucket] = task
        task.add_done_callback(lambda _: self._end(bucket))

    def _end(self, bucket: str) -> None:
        del self._busy[bucket]
        self._told.set()

    async def _serve(self, bucket: str) -> None:
        """Deliver all that there is in one bucket."""
        pause = _Pause(self._pause_seconds)
        while True:
            try:
                if not await self._deliver(bucket, pause.reset):
                    return
            except (Undelivered, Unavailable) as error:
                logger.info(
                    "webhook %s, bucket %s: %s; it is tried again", self._hook.name, bucket, error
                )
                await pause.wait(error.retry_after if isinstance(error, Undelivered) else None)
            except Exception:
                # Whatever it is, the other buckets go on, and this one is tried again.
                logger.exception("webhook %s, bucket %s", self._hook.name, bucket)
                await pause.wait(None)

    async def _deliver(self, bucket: str, taken: Callable[[], None]) -> bool:
        """Deliver one piece of a bucket's log; whether there is more."""
        after = await self._place(bucket)
        piece = await self._read(bucket, after)
        if piece is None:
            return False
        if piece.revisions:
            await self._sender.send(Delivery(bucket, piece.revisions, piece.missed))
            taken()
        await self._storage.keep(self._key(bucket), piece.end.spell(), None)
        return piece.more

    def _key(self, bucket: str) -> str:
        return f"webhook:{self._hook.name}:{bucket}"

    async def _place(self, bucket: str) -> _Place:
        kept = await self._storage.kept(self._key(bucket))
        if kept is None:
            return _Place(make_position(self.begun))
        return _Place(int(kept.removesuffix(_GONE)), kept.endswith(_GONE))

    async def _read(self, bucket: str, after: _Place) -> _Piece | None:
        """What comes after a point in a bucket's log; None for nothing."""
        async with self._storage.snapshot() as snapshot:
            uri = f"/buckets/{bucket}"
            stored = (await snapshot.objects([uri], texts=False)).get(uri)
            if stored is None or stored.clocks[FEED].position <= after.seq:
                return None
            clock = stored.clocks[FEED]
            found = await snapshot.log(
                LogPage(bucket, after.seq, clock.position, EVENTS_AT_ONCE, BYTES_AT_ONCE)
            )
        end = _Place(clock.position)
        if found:
            end = _Place(found[-1].seq, found[-1].uri == uri and found[-1].action == "delete")
        # An entry whose text was trimmed tells nothing.
        wanted = [one for one in found if one.json and self._hook.wants(one)]
        missed = self._has_missed(clock, after)
        return _Piece(wanted, end, end.seq < clock.position, missed)

    def _has_missed(self, clock: Clock, after: _Place) -> bool:
        return not after.gone and make_position(self.begun) < after.seq < clock.oldest


class _Pause:
    """Pauses that grow."""

    def __init__(self, seconds: tuple[float, float]) -> None:
        self._first, self._longest = seconds
        self._next = self._first

    def reset(self) -> None:
        """Begin with the shortest again."""
        self._next = self._first

    async def wait(self, wish: float | None) -> None:
        """Wait, for as long as the receiver wishes, or a little longer than the last time."""
        seconds = self._next if wish is None else min(wish, self._longest)
        # Spread, so that many that failed together do not come together.
        await asyncio.sleep(seconds * random.uniform(0.8, 1.2))
        self._next = min(self._next * 2, self._longest)
