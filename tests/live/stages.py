"""Servers for the oracle: in threads of the test's process, on storages that take their time."""

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from handlers.connections import ApiServer
from server.app import Server, make_app, open_storage
from server.config import load_settings
from server.core.commands import Command, Verdict
from server.core.objects import Listed, StoredObject
from server.core.paths import ListPath
from server.core.revisions import Revision
from server.storage.base import (
    Change,
    Feed,
    LogPage,
    Page,
    RightsQuery,
    Snapshot,
    Storage,
    Tally,
)
from server.storage.memory import MemoryStorage

T = TypeVar("T")


class Dawdler:
    """Pauses of a length that a seed decides; most are none at all."""

    def __init__(self, rng: random.Random, longest: float) -> None:
        self._rng = rng
        self._longest = longest

    async def pause(self) -> None:
        """Let others run, sometimes for a while."""
        choice = self._rng.random()
        if choice > 0.9:
            await asyncio.sleep(self._rng.random() * self._longest)
        elif choice > 0.5:
            await asyncio.sleep(0)


class SlowStorage:
    """A storage that does everything right, but answers when it likes; see ``Storage``."""

    def __init__(self, storage: Storage, dawdler: Dawdler) -> None:
        self._storage = storage
        self._dawdler = dawdler
        self.secret = storage.secret
        self.claim = storage.claim
        self.keep = storage.keep
        self.kept = storage.kept
        self.take = storage.take
        self.forget = storage.forget
        self.purge = storage.purge
        self.figures = storage.figures
        self.check = storage.check
        self.close = storage.close

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        return self._snapshot()

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Snapshot]:
        await self._dawdler.pause()
        async with self._storage.snapshot() as snapshot:
            yield SlowSnapshot(snapshot, self._dawdler)

    async def commit(self, command: Command) -> list[Verdict]:
        await self._dawdler.pause()
        return await self._storage.commit(command)

    async def feed(self) -> Feed:
        return SlowFeed(await self._storage.feed(), self._dawdler)


class SlowFeed:
    """A feed that tells late, and not all at once; see ``Feed``."""

    def __init__(self, feed: Feed, dawdler: Dawdler) -> None:
        self._feed = feed
        self._dawdler = dawdler
        self._left: list[Change] = []
        self.at = feed.at
        self.close = feed.close

    async def read(self) -> list[Change]:
        await self._dawdler.pause()
        if not self._left:
            self._left = list(await self._feed.read())
        await self._dawdler.pause()
        told, self._left = self._left[:3], self._left[3:]
        while self._left and self._left[0].at == told[-1].at:
            # What was committed together comes together.
            told.append(self._left.pop(0))
        return told


class SlowSnapshot:
    """A snapshot each of whose answers takes its time; see ``Snapshot``."""

    def __init__(self, snapshot: Snapshot, dawdler: Dawdler) -> None:
        self._snapshot = snapshot
        self._dawdler = dawdler

    @property
    def at(self) -> int:
        return self._snapshot.at

    async def _late(self, answer: Coroutine[Any, Any, T]) -> T:
        found = await answer
        await self._dawdler.pause()
        return found

    async def objects(self, uris: Iterable[str], *, texts: bool = True) -> dict[str, StoredObject]:
        return await self._late(self._snapshot.objects(uris, texts=texts))

    async def page(self, page: Page) -> list[Listed]:
        return await self._late(self._snapshot.page(page))

    async def count(self, page: Page) -> int:
        return await self._late(self._snapshot.count(page))

    async def groups_of(self, principals: Collection[str]) -> list[StoredObject]:
        return await self._late(self._snapshot.groups_of(principals))

    async def named(self, principals: Collection[str]) -> list[StoredObject]:
        return await self._late(self._snapshot.named(principals))

    async def naming(self, principal: str) -> list[str]:
        return await self._late(self._snapshot.naming(principal))

    async def tally(self) -> dict[str, Tally]:
        return await self._late(self._snapshot.tally())

    async def log(self, page: LogPage) -> list[Revision]:
        return await self._late(self._snapshot.log(page))

    async def last_entry(self, path: ListPath, upto: int) -> Revision | None:
        return await self._late(self._snapshot.last_entry(path, upto))

    async def rights_log(self, query: RightsQuery) -> list[Revision]:
        return await self._late(self._snapshot.rights_log(query))


class Stage:
    """A server in a thread, until it is stopped.

    Attributes:
        url: root of the API, without a slash at its end.
        storage: of the server, without its slowness.
    """

    def __init__(self, settings: Mapping[str, Any], *, seed: int = 0, slowness: float = 0) -> None:
        """Start, and wait until it listens.

        Args:
            settings: by our names, such as ``live_outbox_max_messages``.
            seed: of the pauses.
            slowness: the longest pause, in seconds; 0 for none.
        """
        given = {f"KINTO_{name.upper()}": str(value) for name, value in settings.items()}
        self._settings = load_settings(given, port=0)
        self._dawdler = Dawdler(random.Random(seed), slowness) if slowness else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Server = self.call(self._open())
        self.url = self._server.url.rstrip("/")

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _open(self) -> Server:
        self.storage = await open_storage(self._settings)
        used: Storage = self.storage
        if self._dawdler is not None:
            used = SlowStorage(used, self._dawdler)
        parts = await make_app(self._settings, used)
        http = ApiServer(parts.app)
        listener = socket.socket()
        # Accepted sockets inherit it: a reader that stops is felt soon.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        listener.setblocking(False)
        await parts.live.start()
        http.add_sockets([listener])
        return Server(http, parts, used, ("127.0.0.1", listener.getsockname()[1]))

    def revisions(self) -> list[Revision]:
        """The whole log of a memory backend, in the order of the commits."""
        assert isinstance(self.storage, MemoryStorage)
        return list(self.storage.revisions)

    def stop(self) -> None:
        """Stop as the command line does."""
        self.call(self._server.stop())
        self.call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()
