"""Revisions: what became of an object, as its log tells; going back to one, and merging on one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.core.commands import Change, Inquiry, Replace, Target
from server.core.contents import Content, without_assigned
from server.core.errors import CursorExpired, ModifiedMeanwhile, ObjectMissing, SyncError, invalid
from server.core.json_text import dump_json, load_json
from server.core.merges import Held, merge_change
from server.core.objects import Clock, Permissions, StoredObject
from server.core.patches import Patched, apply_patch
from server.core.paths import ObjectPath
from server.core.permissions import Actor, Rules
from server.core.positions import make_position, spell_cursor, spell_etag
from server.core.queries import check_kept
from server.core.revisions import Revision
from server.service.past import (
    CHUNK,
    Standing,
    ask_standing,
    find_beginning,
    find_making,
    read_log,
)
from server.storage.base import LogPage, Snapshot
from server.storage.reader import Reader

PAGE_MAX_BYTES = 4 << 20
"""Of texts, before and after, with which a page of revisions ends."""

BASE_MAX = 100
"""Revisions among which the base of a merge is looked for: the transaction waits for it."""


@dataclass(frozen=True, slots=True)
class RevisionsQuery:
    """Which revisions of an object are wanted.

    Attributes:
        limit: the greatest number.
        since: only those after this position; None for all.
        before: only those before this one.
        walk: where the page before ended; None for the first.
    """

    limit: int
    since: int | None = None
    before: int | None = None
    walk: int | None = None


@dataclass(frozen=True, slots=True)
class RevisionsPage:
    """Revisions, the newest first.

    Attributes:
        entries: of the log.
        more: whether older ones follow.
    """

    entries: Sequence[Revision]
    more: bool


class Revisions:
    """The revisions of one object that its reader may see.

    Who may read the object's list sees all that are kept, those of former objects with
    the same id among them; others see those of the object that is there now.
    """

    def __init__(self, snapshot: Snapshot, path: ObjectPath, standing: Standing) -> None:
        self._snapshot = snapshot
        self._path = path
        self.standing = standing

    async def check_known(self) -> int:
        """Check that the object is, or was; its timestamp, or its tombstone's, in ms.

        Raises:
            ObjectMissing: If it never was, or nothing is known of it any more.
        """
        if self.standing.object is not None:
            return self.standing.object.last_modified
        page = self._page(self.standing.clock.oldest, limit=1)
        for entry in await self._snapshot.log(replace(page, descending=True)):
            return entry.last_modified
        raise ObjectMissing(self._path.id, self._path.kind.name)

    async def find(self, query: RevisionsQuery) -> RevisionsPage:
        """A page of them.

        Raises:
            CursorExpired: If not all since ``since`` are kept, or it is ahead.
        """
        page = replace(await self._range(query), texts=True, limit=query.limit + 1)
        entries = await self._snapshot.log(replace(page, max_bytes=PAGE_MAX_BYTES))
        if len(entries) > query.limit:
            return RevisionsPage(entries[: query.limit], more=True)
        if sum(len(one.json) + len(one.before or b"") for one in entries) <= PAGE_MAX_BYTES:
            return RevisionsPage(entries, more=False)
        rest = replace(page, upto=entries[-1].position - 1, limit=1, texts=False)
        return RevisionsPage(entries, more=bool(await self._snapshot.log(rest)))

    async def count(self, query: RevisionsQuery) -> int:
        """How many there are, whatever the limit; raises as ``find``."""
        total = 0
        async for entries in read_log(self._snapshot, await self._range(query)):
            total += len(entries)
        return total

    async def _range(self, query: RevisionsQuery) -> LogPage:
        clock = self.standing.clock
        after = await find_beginning(self._snapshot, self._path, self.standing)
        if query.since is not None:
            check_kept(query.since, clock)
            after = max(after, query.since)
        ends = [one - 1 for one in (query.before, query.walk) if one is not None]
        upto = min([clock.position, *ends])
        return replace(self._page(after), upto=upto, descending=True)

    def _page(self, after: int, limit: int = CHUNK) -> LogPage:
        path, until = self._path, self.standing.clock.position
        # What the history was told to forget is not shown, though others may need it yet.
        own = LogPage(path.list, after, until, limit, uri=path.uri, texts=False)
        return replace(own, trimmed=False)

    async def get(self, cursor: int) -> Revision:
        """The one at a position.

        Raises:
            CursorExpired: If what was there is not kept.
            ObjectMissing: If there is none, or it is of a former object.
        """
        _check_not_trimmed(cursor, self.standing.clock)
        if cursor > await find_beginning(self._snapshot, self._path, self.standing):
            page = replace(self._page(cursor - 1, limit=1), upto=cursor, texts=True)
            for entry in await self._snapshot.log(page):
                return entry
        raise ObjectMissing(spell_cursor(cursor), "revision")

    async def find_last_acl(self) -> Permissions:
        """The permissions that a deleted object had in the end."""
        page = self._page(self.standing.clock.oldest, limit=1)
        for entry in await self._snapshot.log(replace(page, descending=True)):
            return entry.acl_before
        return {}

    async def find_base(self, timestamp: int) -> Revision | None:
        """The revision of the object that is there now which has a timestamp, if it is kept.

        It is looked for among the ``BASE_MAX`` that follow that time.
        """
        made = await find_making(self._snapshot, self._path, self.standing.clock)
        # No position is below the timestamp that it gives; only what was dated in the past has
        # a later one.
        page = self._page(max(made, make_position(timestamp) - 1), BASE_MAX)
        if page.after >= page.upto:
            return None
        for entry in await self._snapshot.log(page):
            if entry.last_modified == timestamp:
                return await self.get(entry.position)
        return None


def _check_not_trimmed(cursor: int, clock: Clock) -> None:
    if clock.oldest and cursor <= clock.oldest:
        raise CursorExpired("floor", spell_cursor(clock.position), spell_cursor(clock.oldest))


async def open_revisions(reader: Reader, actor: Actor, path: ObjectPath) -> Revisions:
    """The revisions of an object, for who may read it now; or its list, if it is deleted.

    Raises:
        SyncError: If they may not.
    """
    return Revisions(reader.snapshot, path, await ask_standing(reader, actor, path))


class Reversion:
    """A write that gives an object back what it held at a revision.

    Its permissions stay as they are. What is deleted is made again, with the permissions
    that it had in the end, by who may make it and may read its list.
    """

    def __init__(self, rules: Rules, target: Target, cursor: int) -> None:
        self._rules = rules
        self._target = target
        self._cursor = cursor

    def part(self) -> Inquiry:
        """As a part of a command."""
        return Inquiry(self._choose)

    async def _choose(self, snapshot: Snapshot) -> Replace | SyncError:
        try:
            return await self._find(snapshot)
        except SyncError as error:
            return error

    async def _find(self, snapshot: Snapshot) -> Replace:
        reader, target = Reader(snapshot, self._rules), self._target
        revisions = await open_revisions(reader, target.actor, target.path)
        await _check_writable(reader, target)
        await revisions.check_known()
        entry = await revisions.get(self._cursor)
        if entry.action == "delete":
            words = "is of the deletion, which holds nothing: DELETE the object instead"
            raise invalid("path", "cursor", f"Revision {spell_cursor(self._cursor)} {words}")
        acl = None if revisions.standing.is_live else await revisions.find_last_acl()
        fields = without_assigned(load_json(entry.json))
        return Replace(target, Content(fields, dump_json(fields), permissions=acl))


async def _check_writable(reader: Reader, target: Target) -> None:
    actor, path = target.actor, target.path
    await reader.ask((), lambda judge: judge.check_access(actor, path, writes=True))


class Merging:
    """A PATCH of an older state that is merged into the present one, if the two agree.

    Attributes:
        base: timestamp of the state that it was merged on, in ms; None while it was not.
    """

    def __init__(self, rules: Rules, write: Change) -> None:
        self._rules = rules
        self._write = write
        self.base: int | None = None

    def part(self) -> Inquiry:
        """As a part of a command."""
        return Inquiry(self._choose)

    async def _choose(self, snapshot: Snapshot) -> Change | SyncError:
        # The transaction may run again.
        self.base = None
        reader, target = Reader(snapshot, self._rules), self._write.target
        try:
            revisions = await open_revisions(reader, target.actor, target.path)
            await _check_writable(reader, target)
        except SyncError:
            # The decision says what a patch is told that is no merge.
            return self._write
        try:
            return await self._merge(revisions)
        except SyncError as error:
            return error

    async def _merge(self, revisions: Revisions) -> Change:
        write, current = self._write, revisions.standing.object
        old = write.target.precondition.match
        if current is None or current.deleted or old is None or current.last_modified == old:
            return write
        base = await revisions.find_base(old)
        if base is None:
            return write
        patched = _merge_into(current, base, write)
        self.base = old
        precondition = replace(write.target.precondition, match=current.last_modified)
        return replace(
            write, target=replace(write.target, precondition=precondition), patch=patched
        )


def _merge_into(current: StoredObject, base: Revision, write: Change) -> Patched:
    """What a patch of an older state makes of the present one.

    Raises:
        ModifiedMeanwhile: If both changed the same differently.
        SyncError: If the patch cannot be applied to that state.
    """
    old = Held(load_json(base.json), base.acl)
    mine = apply_patch(write.patch, dict(old.data), base.acl)
    patched, conflicts = merge_change(old, mine, Held(current.data, current.acl))
    if conflicts:
        etag = spell_etag(current.last_modified)
        more = {"base": old.data, "conflicts": list(conflicts)}
        raise ModifiedMeanwhile(etag, current.data, more)
    return patched
