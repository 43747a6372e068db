"""Load what a source gives into the storage: in commands of many objects, resumably."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from server.core.commands import Advance, Command, Load, Loaded, Part, Verdict
from server.core.errors import ParentMissing, SyncError, Unavailable
from server.core.loads import compare
from server.core.objects import StoredObject
from server.core.paths import ROOT
from server.storage.base import Storage
from server.transfer.entries import Entry, Item, Problem, Stamp, spell_error
from server.transfer.files import BadFile, Files
from server.transfer.here import find_here
from server.transfer.sources import Source
from server.transfer.tallies import Tally

BATCH_OBJECTS = 500
BATCH_BYTES = 4 << 20
"""Of one command: half of what the ledger takes at once, so two fit in a transaction."""

ATTEMPTS = 20
"""Of a command that the database does not take, before the import ends."""

KEEP_SECONDS = 30 * 24 * 3600
"""How long it is remembered how far an import came."""

SAVE_SECONDS = 2.0
FILES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Loading:
    """How objects are loaded.

    Attributes:
        overwrite: whether what was changed later here is replaced.
        dry_run: whether it is only found out what would be done.
        accounts: whether accounts are loaded too.
        tell: gets a line for each problem.
        files: of records; None leaves them where they are.
    """

    overwrite: bool = False
    dry_run: bool = False
    accounts: bool = False
    tell: Callable[[str], None] = print
    files: Files | None = None


@dataclass(slots=True)
class _Batch:
    items: list[Entry | Stamp] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.items) >= BATCH_OBJECTS or self.size >= BATCH_BYTES

    def add(self, item: Entry | Stamp) -> None:
        self.items.append(item)
        self.size += item.size if isinstance(item, Entry) else 0


class Writer:
    """One import.

    Attributes:
        tally: what became of what was read so far.
    """

    def __init__(self, storage: Storage, source: Source, loading: Loading) -> None:
        self.tally = Tally()
        self._storage = storage
        self._source = source
        self._loading = loading
        self._marks: dict[str, int] = {}
        self._name = f"import:{source.key}"
        self._saved = time.monotonic()
        self._made: set[str] = set()
        self._running: asyncio.Task[None] | None = None

    async def resume(self) -> bool:
        """Go on where an import of this source was broken off; False if there is none."""
        if self._loading.dry_run or not self._source.key:
            return False
        kept = await self._storage.kept(self._name)
        if kept is None:
            return False
        state = json.loads(kept)
        # What was loaded before a flush is not here any more.
        if state["epoch"] != await self._epoch():
            return False
        self._marks, self.tally.failed = state["marks"], state["failed"]
        return True

    async def forget(self) -> None:
        """Begin anew."""
        if self._source.key and not self._loading.dry_run:
            await self._storage.take(self._name)

    async def run(self) -> None:
        """Load everything.

        Raises:
            SourceError: If the source cannot be read any further.
            Unavailable: If the database does not come back. After either, ``resume`` goes on.
        """
        batch = _Batch()
        try:
            async with aclosing(self._items()) as items:
                async for item in items:
                    batch.add(item)
                    if batch.is_full:
                        await self._submit(batch)
                        batch = _Batch()
            await self._submit(batch)
            await self._settle()
        finally:
            if self._running is not None:
                await asyncio.gather(self._running, return_exceptions=True)
            await self._save()
        await self.forget()

    async def _items(self) -> AsyncGenerator[Entry | Stamp, None]:
        async with aclosing(self._source.read(dict(self._marks))) as items:
            async for item in items:
                if isinstance(item, Problem):
                    self._refuse(item.place, item.reason)
                elif self._is_wanted(item):
                    yield item

    def _is_wanted(self, item: Item) -> bool:
        if isinstance(item, Problem) or item.path.kind.name != "account" or self._loading.accounts:
            return True
        self.tally.left_out += isinstance(item, Entry)
        return False

    async def _submit(self, batch: _Batch) -> None:
        """Begin to commit; the source is read on meanwhile."""
        await self._settle()
        if batch.items:
            self._running = asyncio.create_task(self._commit(batch))

    async def _settle(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            await running

    async def _commit(self, batch: _Batch) -> None:
        await self._bring_files(batch)
        verdicts = await self._decide(batch)
        for item, verdict in zip(batch.items, verdicts, strict=True):
            if isinstance(item, Entry):
                self._count(item, verdict)
            self._marks[item.mark[0]] = item.mark[1]
        if time.monotonic() - self._saved > SAVE_SECONDS:
            await self._save()

    async def _bring_files(self, batch: _Batch) -> None:
        """Before the records that name them, which then name them where they are."""
        files = self._loading.files
        if files is None:
            return
        room = asyncio.Semaphore(FILES_AT_ONCE)

        async def bring(entry: Entry) -> None:
            try:
                async with room:
                    self.tally.files += await files.bring(entry)
            except BadFile as error:
                self._refuse(entry.place, str(error))

        entries = [item for item in batch.items if isinstance(item, Entry)]
        if not self._loading.dry_run:
            await asyncio.gather(*map(bring, entries))
        batch.items = [
            files.rewrite(item) if isinstance(item, Entry) else item for item in batch.items
        ]

    def _count(self, entry: Entry, verdict: Verdict) -> None:
        if isinstance(verdict, SyncError):
            place = (
                entry.place if entry.place == entry.path.uri else f"{entry.place}, {entry.path.uri}"
            )
            self._refuse(place, spell_error(verdict))
            return
        self.tally.outcomes[verdict] += 1
        self.tally.hidden += entry.content.permissions is None and not entry.deleted

    def _refuse(self, place: str, reason: str) -> None:
        self.tally.failed += 1
        self._loading.tell(f"{place}: {reason}")

    async def _decide(self, batch: _Batch) -> Sequence[Verdict]:
        if self._loading.dry_run:
            return await self._weigh(batch.items)
        command = Command(tuple(map(self._part, batch.items)), batch.size)
        for attempt in range(ATTEMPTS):
            try:
                return await self._storage.commit(command)
            except Unavailable as error:
                # What is loaded twice is the same the second time.
                if attempt == ATTEMPTS - 1:
                    raise
                self._loading.tell(f"{error.message} Trying again.")
                await asyncio.sleep(min(2**attempt, 15))
        raise AssertionError("unreachable")

    def _part(self, item: Entry | Stamp) -> Part:
        if isinstance(item, Stamp):
            return Advance(item.path, item.timestamp)
        return self._load(item)

    def _load(self, entry: Entry) -> Load:
        return entry.load(overwrite=self._loading.overwrite)

    async def _weigh(self, items: Sequence[Entry | Stamp]) -> list[Verdict]:
        """What loading would come to."""
        entries = [item for item in items if isinstance(item, Entry)]
        here = await find_here(self._storage, [entry.path for entry in entries])
        return [self._weigh_one(item, here) if isinstance(item, Entry) else None for item in items]

    def _weigh_one(self, entry: Entry, here: Mapping[str, StoredObject]) -> Verdict:
        path = entry.path
        for step in path.ancestors:
            found = here.get(step.uri)
            if step.uri not in self._made and (found is None or found.deleted):
                return ParentMissing(step.id, step.kind.name)
        verdict = compare(self._load(entry), here.get(path.uri))
        if path.kind.children and verdict is not Loaded.DELETED:
            self._made.add(path.uri)
        return verdict

    async def _save(self) -> None:
        """Remember how far it came."""
        if self._loading.dry_run or not self._source.key or not self._marks:
            return
        self._saved = time.monotonic()
        state = {"epoch": await self._epoch(), "marks": self._marks, "failed": self.tally.failed}
        await self._storage.keep(self._name, json.dumps(state), KEEP_SECONDS)

    async def _epoch(self) -> str:
        async with self._storage.snapshot() as snapshot:
            return (await snapshot.objects([ROOT]))[ROOT].epoch
