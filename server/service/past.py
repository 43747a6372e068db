"""The past: objects and lists as they were at a position of their list.

What was not written since is in the storage as it was then; of everything else the
log's first later entry holds the state before. So an object costs one find more than
it costs now, and a page of a list costs what the page costs now, and a walk through
all that was written in the list since: about 35 ms for a thousand entries, in chunks
between which others have their turn. Kept in memory are the page and the URIs of what
was written since.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from server.core.errors import ObjectMissing
from server.core.filters import matches
from server.core.json_text import load_json
from server.core.judge import Judge, Reading
from server.core.objects import Clock, Listed, StoredObject
from server.core.paths import ObjectPath
from server.core.permissions import Actor, read_permission, refuse
from server.core.queries import check_kept
from server.core.revisions import Revision
from server.storage.base import LogPage, Page, Snapshot
from server.storage.reader import Reader
from server.storage.selections import Smallest

CHUNK = 200
"""Entries of the log that are read at a time."""


async def read_log(snapshot: Snapshot, page: LogPage) -> AsyncGenerator[list[Revision], None]:
    """All entries of a list's log that a page describes, whatever its limit, chunk by chunk."""
    while page.after < page.upto:
        entries = await snapshot.log(page)
        if not entries:
            return
        yield entries
        # The storage may have had them at hand: let others have their turn.
        await asyncio.sleep(0)
        if len(entries) < page.limit and not page.texts:
            return
        last = entries[-1].position
        page = replace(page, upto=last - 1) if page.descending else replace(page, after=last)


@dataclass(frozen=True, slots=True)
class PastList:
    """A list as it was.

    Who sees only some of its objects sees those that name them now, in their state of
    then; not what had the same id before it was deleted and made anew, which was somebody
    else's perhaps.

    Attributes:
        snapshot: that it is read from.
        page: what is wanted of it.
        at: the position; within what is kept.
        clock: of the list.
    """

    snapshot: Snapshot
    page: Page
    at: int
    clock: Clock

    async def find(self) -> list[Listed]:
        """The objects of the page, in its order.

        Tombstones are among them where the page wants them; that of what was made
        anew since costs a find each.
        """
        page = replace(self.page, upto=self.at)
        best = Smallest(page)
        async with aclosing(self._find_changed()) as changed:
            async for one in changed:
                best.add(one)
        for one in await self.snapshot.page(page):
            best.add(one)
        return best.found()

    async def count(self) -> int:
        """How many objects matched that were not deleted."""
        page = replace(self.page, upto=self.at, tombstones=False)
        if page.readers is None and not page.conditions:
            return await self._count_all()
        total = await self.snapshot.count(page)
        async with aclosing(replace(self, page=page)._find_changed()) as changed:
            async for one in changed:
                total += matches(page.conditions, one.data)
        return total

    async def _count_all(self) -> int:
        """The list knows how many live in it now."""
        total = self.clock.live
        async for entries in self._read_log(texts=False):
            for entry in entries:
                total += (entry.action == "delete") - (entry.action == "create")
        return total

    async def find_position(self) -> int:
        """Of the last write at or before it: whence the ETag of then.

        Where that is not known any more, a later one before which nothing else happened.
        """
        entry = await self.snapshot.last_entry(self.page.path, self.at)
        if entry is not None and entry.position > self.clock.oldest:
            return entry.position
        return self.clock.oldest or self.at

    def _read_log(self, *, texts: bool) -> AsyncGenerator[list[Revision], None]:
        path, until = self.page.path, self.clock.position
        return read_log(self.snapshot, LogPage(path, self.at, until, CHUNK, texts=texts))

    async def _find_changed(self) -> AsyncGenerator[Listed, None]:
        """What was written since, as it was."""
        visible = None if self.page.readers is None else await self._find_visible()
        seen: set[str] = set()
        async for entries in self._read_log(texts=True):
            for entry in entries:
                if entry.uri in seen:
                    continue
                seen.add(entry.uri)
                if visible is None or entry.uri in visible:
                    async for one in self._before(entry):
                        yield one

    async def _find_visible(self) -> set[str]:
        """URIs of what was written since, is there now and names the reader, and was not made."""
        assert self.page.readers is not None
        readers, visible, made = set(self.page.readers), set(), set()
        async for entries in self._read_log(texts=False):
            for entry in entries:
                if entry.action == "create":
                    made.add(entry.uri)
                if readers.isdisjoint(entry.readers):
                    visible.discard(entry.uri)
                else:
                    visible.add(entry.uri)
        return visible - made

    async def _before(self, entry: Revision) -> AsyncIterator[Listed]:
        """The object before an entry, if it was there; or its tombstone, if that is wanted."""
        if entry.before is not None:
            modified = load_json(entry.before)["last_modified"]
            yield Listed(entry.uri, modified, False, entry.before)
        elif self.page.tombstones:
            path, floor = self.page.path, self.page.floor
            page = LogPage(path, floor, self.at, 1, uri=entry.uri, descending=True)
            for last in await self.snapshot.log(page):
                yield Listed(last.uri, last.last_modified, True, last.json)


@dataclass(frozen=True, slots=True)
class Standing:
    """How somebody stands to an object and its past.

    Attributes:
        object: as it is now; its tombstone, or None for what was never there or is forgotten.
        clock: of its list.
        whole: whether they may read the whole list, what was deleted among it; else they
            see the object that is there now, from when it was made.
        writable: whether they see its permissions.
    """

    object: StoredObject | None
    clock: Clock
    whole: bool
    writable: bool

    @property
    def is_live(self) -> bool:
        """Whether the object is there now."""
        return self.object is not None and not self.object.deleted


def find_standing(judge: Judge, actor: Actor, path: ObjectPath) -> Standing:
    """How somebody stands to an object, if they may read it; or its list, if it is gone.

    Raises:
        SyncError: If they may not.
    """
    chain = judge.chain(actor, path.list)
    clock = judge.state.clock(path.list)
    whole = judge.may(actor, path, "read", chain)
    stored = judge.state.live(path)
    if stored is None:
        if not whole:
            raise refuse(actor)
        tombstone = judge.state.get(path.uri)
        if tombstone is not None and tombstone.position <= clock.floor:
            tombstone = None
        return Standing(tombstone, clock, whole, writable=False)
    chain[path.kind.name] = stored
    if not judge.may(actor, path, read_permission(path.kind.name), chain):
        raise refuse(actor)
    return Standing(stored, clock, whole, judge.is_named_writer(actor, stored))


async def ask_standing(reader: Reader, actor: Actor, path: ObjectPath) -> Standing:
    """The same on what a snapshot holds."""
    uris = [step.uri for step in path.chain]
    if not path.ancestors:
        uris.append(path.list.parent_uri)
    return await reader.ask(uris, lambda judge: find_standing(judge, actor, path))


async def find_beginning(snapshot: Snapshot, path: ObjectPath, standing: Standing) -> int:
    """Position above which somebody may see what became of an object."""
    clock = standing.clock
    if standing.whole:
        return clock.oldest
    return await find_making(snapshot, path, clock)


async def find_making(snapshot: Snapshot, path: ObjectPath, clock: Clock) -> int:
    """Position above which all that is told of an object is of the one that is there now."""
    page = LogPage(path.list, clock.oldest, clock.position, 1, uri=path.uri, texts=False)
    for entry in await snapshot.log(replace(page, descending=True, action="create")):
        return entry.position - 1
    return clock.oldest


async def read_past_object(reader: Reader, actor: Actor, path: ObjectPath, at: int) -> Reading:
    """An object as it was at a position of its list, for who may read it now.

    Raises:
        ObjectMissing: If it was not there then.
        CursorExpired: If that is not known any more, or not yet.
        SyncError: As for reading it now; who may read its list is told also of what is gone.
    """
    standing = await ask_standing(reader, actor, path)
    clock, stored = standing.clock, standing.object
    check_kept(at, clock)
    if stored is not None and stored.position <= at:
        if stored.deleted:
            raise ObjectMissing(path.id, path.kind.name)
        return Reading(stored, standing.writable)
    if await find_beginning(reader.snapshot, path, standing) > at:
        raise ObjectMissing(path.id, path.kind.name)
    page = LogPage(path.list, at, clock.position, 1, uri=path.uri)
    for entry in await reader.snapshot.log(page):
        if entry.before is not None:
            modified = load_json(entry.before)["last_modified"]
            then = StoredObject(path.uri, modified, at, entry.before, acl=entry.acl_before)
            return Reading(then, standing.writable)
    raise ObjectMissing(path.id, path.kind.name)
