"""Compare a source with what is here, object by object, in constant memory."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from server.core.contents import without_assigned
from server.core.json_patch import is_equal
from server.core.loads import is_same_acl
from server.core.objects import StoredObject
from server.core.positions import timestamp_of
from server.storage.base import Storage
from server.transfer.entries import Entry, Item, Problem, Stamp
from server.transfer.files import Files
from server.transfer.here import find_clock, find_here
from server.transfer.sources import Source

AT_ONCE = 500


@dataclass(slots=True)
class Check:
    """One comparison.

    Attributes:
        storage: what is here.
        source: what is elsewhere.
        accounts: whether accounts are compared too.
        tell: gets a line for each difference.
        files: of records, where they are compared too.
        compared: objects so far.
        differences: found so far.
    """

    storage: Storage
    source: Source
    accounts: bool
    tell: Callable[[str], None]
    files: Files | None = None
    compared: int = 0
    differences: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _waiting: list[Entry] = field(default_factory=list)

    async def run(self) -> None:
        """Compare everything.

        Raises:
            SourceError: If the source cannot be read again.
            Unavailable: If the database cannot be reached.
        """
        async with aclosing(self.source.read({})) as items:
            async for item in items:
                await self._take(item)
        await self._compare_waiting()

    async def _take(self, item: Item) -> None:
        if isinstance(item, Problem):
            # It was told when it was to be loaded.
            return
        if item.path.kind.name == "account" and not self.accounts:
            return
        if isinstance(item, Entry):
            self._waiting.append(item)
        if isinstance(item, Stamp) or len(self._waiting) >= AT_ONCE:
            await self._compare_waiting()
        if isinstance(item, Stamp):
            await self._compare_list(item)

    async def _compare_waiting(self) -> None:
        entries, self._waiting = self._waiting, []
        if not entries:
            return
        here = await find_here(self.storage, [entry.path for entry in entries])
        for entry in entries:
            self.compared += 1
            self._counts[entry.path.list.uri] += not entry.deleted
            reason = await self._differ(entry, here)
            if reason:
                self._tell(f"{entry.path.uri}: {reason}")

    async def _differ(self, entry: Entry, here: Mapping[str, StoredObject]) -> str:
        if self.files is None:
            return _differ(entry, here)
        return _differ(self.files.rewrite(entry), here) or await self.files.differ(entry)

    async def _compare_list(self, stamp: Stamp) -> None:
        count = self._counts.pop(stamp.path.uri, 0)
        clock = await find_clock(self.storage, stamp.path)
        if clock is None:
            self._tell(f"{stamp.path.uri}: there is no such list here")
            return
        if stamp.path.ancestors and clock.live != count:
            self._tell(f"{stamp.path.uri}: {clock.live:,} objects here, {count:,} at the source")
        if timestamp_of(clock.position) < stamp.timestamp:
            self._tell(f"{stamp.path.uri}: its timestamp is behind the source's")

    def _tell(self, line: str) -> None:
        self.differences += 1
        self.tell(line)


def _differ(entry: Entry, here: Mapping[str, StoredObject]) -> str:
    """In what an object differs; empty if in nothing."""
    current = here.get(entry.path.uri)
    content = entry.content
    if entry.deleted:
        is_gone = current is None or current.deleted
        return "" if is_gone else "exists here, and was deleted at the source"
    if current is None or current.deleted:
        return "is not here"
    found = []
    if not is_equal(without_assigned(current.data), dict(content.fields or {})):
        found.append("its data")
    if content.permissions is not None and not is_same_acl(content.permissions, current.acl):
        found.append("its permissions")
    if content.date not in (None, current.last_modified):
        found.append(f"its date ({current.last_modified} here, {content.date} at the source)")
    if content.secret not in (None, current.secret):
        found.append("its password")
    return f"other than at the source: {', '.join(found)}" if found else ""
