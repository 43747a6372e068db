"""A storage in this process's memory: for tests, demonstrations, and trying things out."""

import asyncio
import heapq
import logging
import math
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from server.core.commands import Command, Inquiry, Verdict
from server.core.decisions import Decider
from server.core.errors import Unforeseen
from server.core.figures import StorageFigures
from server.core.filters import matches
from server.core.judge import Judge
from server.core.objects import Listed, StoredObject, make_root
from server.core.paths import ALL_KINDS, ROOT, ListPath
from server.core.permissions import Rules
from server.core.revisions import Revision
from server.core.sorting import is_after, sort_key
from server.core.state import State
from server.storage.allowances import of_page
from server.storage.base import LogPage, Page, RightsQuery, StorageOptions, Tally, Trimming
from server.storage.files.memory import MemoryFiles
from server.storage.memory_log import LogView, MemoryFeed, MemoryLog
from server.storage.settling import settle

logger = logging.getLogger(__name__)

Overlay = dict[str, StoredObject | None]


async def open_memory(options: StorageOptions) -> "MemoryStorage":
    """An empty storage."""
    return MemoryStorage(options.rules)


class _Tables:
    """The objects, and the indexes of their URIs."""

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}
        self.by_list: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.by_principal: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.by_member: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def put(self, stored: StoredObject) -> None:
        before = self.objects.get(stored.uri)
        if before is not None:
            for index, name in self._entries(before):
                index[name].pop(before.uri, None)
        self.objects[stored.uri] = stored
        for index, name in self._entries(stored):
            index[name][stored.uri] = None

    def _entries(self, stored: StoredObject) -> list[tuple[dict[str, dict[str, None]], str]]:
        entries: list[tuple[dict[str, dict[str, None]], str]] = []
        if stored.uri != ROOT:
            entries.append((self.by_list, stored.path.list.uri))
        named = {one for principals in stored.acl.values() for one in principals}
        entries.extend((self.by_principal, one) for one in named)
        entries.extend((self.by_member, one) for one in set(stored.members or ()))
        return entries


class MemoryStorage:
    """Everything in dictionaries; each command is decided alone."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._tables = _Tables()
        self._tables.put(make_root(_now(), secrets.token_hex(8)))
        self._open: set[MemorySnapshot] = set()
        self._lock = asyncio.Lock()
        self._secrets: dict[str, str] = {}
        self._nonces: dict[str, float] = {}
        self._notes: dict[str, tuple[str, float]] = {}
        self._log = MemoryLog()
        self.figures = StorageFigures()
        self._files = MemoryFiles()

    @property
    def revisions(self) -> list[Revision]:
        """The log, in order."""
        return self._log.left

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["MemorySnapshot"]:
        """Read at this instant; see ``Storage``."""
        self.figures.snapshots += 1
        snapshot = MemorySnapshot(self._tables, {}, self._log.view())
        self._open.add(snapshot)
        try:
            yield snapshot
        finally:
            self._open.discard(snapshot)

    async def commit(self, command: Command) -> list[Verdict]:
        """Decide and store; see ``Storage``."""

        async def ask(inquiry: Inquiry) -> Any:
            log = self._log.view(state.revisions)
            return await inquiry.ask(MemorySnapshot(self._tables, dict(state.finished()), log))

        async with self._lock:
            began = time.monotonic()
            state = State({})
            decider = Decider(Judge(state, self._rules), _now())
            try:
                verdicts = await settle(command, decider, self._load, ask)
            except Exception as error:
                # The state is thrown away with everything that was decided.
                logger.exception("a command could not be decided")
                raise Unforeseen from error
            self._store(state)
            self.figures.committed(1, time.monotonic() - began)
            return verdicts

    async def _load(self, uris: Iterable[str]) -> Mapping[str, StoredObject | None]:
        return {uri: self._tables.objects.get(uri) for uri in uris}

    def _store(self, state: State) -> None:
        for stored in state.finished().values():
            for snapshot in self._open:
                snapshot.keep(stored.uri)
            self._tables.put(stored)
        self._log.append(state.revisions)

    async def forget(self, trimming: Trimming) -> None:
        """Take entries out of the log; see ``Storage``."""
        self._log.forget(trimming, [snapshot.log_view for snapshot in self._open])

    async def purge(self) -> int:
        """Nothing: what was ends with the process."""
        return 0

    async def feed(self) -> MemoryFeed:
        """Everything that is committed from now on; see ``Storage``."""
        return self._log.open_feed()

    async def secret(self, name: str) -> str:
        """Made once for as long as the process lives; see ``Storage``."""
        return self._secrets.setdefault(name, secrets.token_hex(32))

    async def claim(self, nonce: str, seconds: int) -> bool:
        """Use up a nonce; see ``Storage``."""
        now = time.monotonic()
        self._nonces = {one: until for one, until in self._nonces.items() if until > now}
        if nonce in self._nonces:
            return False
        self._nonces[nonce] = now + seconds
        return True

    async def keep(self, name: str, value: str, seconds: int | None) -> None:
        """Keep a text; see ``Storage``."""
        until = math.inf if seconds is None else time.monotonic() + seconds
        self._notes[name] = value, until

    async def kept(self, name: str) -> str | None:
        """The text that is kept; see ``Storage``."""
        value, until = self._notes.get(name, ("", 0.0))
        if until > time.monotonic():
            return value
        self._notes.pop(name, None)
        return None

    async def take(self, name: str) -> str | None:
        """The same, and forget it; see ``Storage``."""
        value = await self.kept(name)
        self._notes.pop(name, None)
        return value

    async def files(self) -> MemoryFiles:
        """The files that lie beside the objects; see ``KeepsFiles``."""
        return self._files

    async def check(self) -> bool:
        """Always true: it is this process."""
        return True

    async def close(self) -> None:
        """Nothing to let go of."""


class MemorySnapshot:
    """The tables at one instant: what was overwritten since is kept aside."""

    def __init__(self, tables: _Tables, overlay: Overlay, log: LogView) -> None:
        self._tables = tables
        self._overlay = overlay
        self._log = log

    @property
    def at(self) -> int:
        """See ``Snapshot``."""
        return self._log.at

    @property
    def log_view(self) -> LogView:
        """The log as it shows it."""
        return self._log

    def keep(self, uri: str) -> None:
        """Remember an object that is about to be overwritten."""
        self._overlay.setdefault(uri, self._tables.objects.get(uri))

    def _get(self, uri: str) -> StoredObject | None:
        if uri in self._overlay:
            return self._overlay[uri]
        return self._tables.objects.get(uri)

    def _among(self, uris: Iterable[str]) -> list[StoredObject]:
        """Those under the URIs of an index, and those kept aside, which may not be in it."""
        found = (self._get(uri) for uri in dict.fromkeys((*uris, *self._overlay)))
        return [stored for stored in found if stored is not None and stored.uri != ROOT]

    async def objects(self, uris: Iterable[str], *, texts: bool = True) -> dict[str, StoredObject]:
        """See ``Snapshot``."""
        found = ((uri, self._get(uri)) for uri in uris)
        return {uri: stored for uri, stored in found if stored is not None}

    def _matching(self, page: Page) -> list[StoredObject]:
        listed = self._among(self._tables.by_list.get(page.path.uri, ()))
        return [stored for stored in listed if _belongs(page, stored)]

    async def page(self, page: Page) -> list[Listed]:
        """See ``Snapshot``."""
        found = self._matching(page)
        if page.after is not None:
            found = [one for one in found if is_after(page.order, one.data, page.after)]
        best = heapq.nsmallest(page.limit, found, key=lambda one: sort_key(page.order, one.data))
        listed = [Listed(one.uri, one.last_modified, one.deleted, one.json) for one in best]
        return of_page(page).take(listed)

    async def count(self, page: Page) -> int:
        """See ``Snapshot``."""
        return sum(not one.deleted for one in self._matching(page))

    async def groups_of(self, principals: Collection[str]) -> list[StoredObject]:
        """See ``Snapshot``."""
        indexed = [uri for one in principals for uri in self._tables.by_member.get(one, ())]
        members = set(principals)
        found = self._among(indexed)
        return [one for one in found if not members.isdisjoint(one.members or ())]

    async def named(self, principals: Collection[str]) -> list[StoredObject]:
        """See ``Snapshot``."""
        indexed = [uri for one in principals for uri in self._tables.by_principal.get(one, ())]
        wanted = set(principals)
        found = self._among(indexed)
        return [one for one in found if any(not wanted.isdisjoint(who) for who in one.acl.values())]

    async def naming(self, principal: str) -> list[str]:
        """See ``Snapshot``."""
        named, groups = await self.named([principal]), await self.groups_of([principal])
        return list(dict.fromkeys(one.uri for one in (*named, *groups)))

    async def tally(self) -> dict[str, Tally]:
        """See ``Snapshot``."""
        found = {name: Tally(0, 0) for name in ALL_KINDS}
        for stored in self._among(self._tables.objects):
            if self._exists(stored) and all(
                self._is_alive(one.uri) for one in stored.path.ancestors
            ):
                live, tombstones = found[stored.path.kind.name]
                dead = int(stored.deleted)
                found[stored.path.kind.name] = Tally(live + 1 - dead, tombstones + dead)
        return found

    def _exists(self, stored: StoredObject) -> bool:
        """Whether an object or tombstone stands above the floor of its list."""
        parent = self._get(stored.path.list.parent_uri)
        assert parent is not None
        return stored.position > parent.clocks[stored.path.kind.plural].floor

    def _is_alive(self, uri: str) -> bool:
        """Whether an object exists, its parents aside."""
        stored = self._get(uri)
        return stored is not None and not stored.deleted and self._exists(stored)

    async def log(self, page: LogPage) -> list[Revision]:
        """See ``Snapshot``."""
        return self._log.page(page)

    async def last_entry(self, path: ListPath, upto: int) -> Revision | None:
        """See ``Snapshot``."""
        return self._log.last_entry(path, upto)

    async def rights_log(self, query: RightsQuery) -> list[Revision]:
        """See ``Snapshot``."""
        return self._log.rights(query)


def _belongs(page: Page, stored: StoredObject) -> bool:
    if stored.path.list.uri != page.path.uri or stored.position <= page.floor:
        return False
    if page.upto is not None and stored.position > page.upto:
        return False
    if stored.deleted and not page.tombstones:
        return False
    if page.readers is not None and set(page.readers).isdisjoint(stored.readers):
        return False
    return matches(page.conditions, stored.data)


def _now() -> int:
    return time.time_ns() // 1_000_000
