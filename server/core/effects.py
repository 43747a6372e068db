"""What a decided write does to the state: positions, clocks, the log.

The only place where a position is allocated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from server.core.objects import (
    Clock,
    Permissions,
    StoredObject,
    make_clocks,
    make_json,
    make_tombstone_json,
)
from server.core.paths import FEED, ROOT, ObjectPath
from server.core.permissions import readers_of
from server.core.positions import (
    Position,
    Timestamp,
    dated_position,
    exact_position,
    next_position,
    timestamp_of,
)
from server.core.revisions import Action, Revision
from server.core.state import State


@dataclass(frozen=True, slots=True)
class Body:
    """What an object shall hold.

    Attributes:
        fields: its data without ``id`` and ``last_modified``.
        rest: the JSON text of ``fields``.
        acl: its permissions.
        date: the client's ``last_modified`` in ms, None for the server's.
        secret: see ``StoredObject``; None leaves what there is.
    """

    fields: Mapping[str, Any]
    rest: bytes
    acl: Permissions
    date: int | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """Applies effects to a state.

    Attributes:
        state: what they are applied to.
        by: user id of who writes.
        now: the server's time, in ms.
        is_exact: whether clients' dates are kept whatever there is, and the lists of what
            is made begin at the beginning of time: for what is loaded.
    """

    state: State
    by: str
    now: int
    is_exact: bool = False

    def make(self, path: ObjectPath, body: Body) -> StoredObject:
        """Make an object that does not exist; a tombstone is replaced."""
        position, modified = self._place(path, body.date)
        made = self._build(path, body, position, modified)
        if path.kind.children:
            made = replace(made, clocks=self._make_clocks(path))
        self.state.put(made)
        self._advance(path, position, 1, len(made.json))
        self._log(path, "create", None, made)
        return made

    def change(self, path: ObjectPath, current: StoredObject, body: Body) -> StoredObject:
        """Replace what an object holds."""
        position, modified = self._place(path, self._effective(body.date, current))
        made = self._build(path, body, position, modified)
        if current.clocks or current.secret:
            secret = current.secret if body.secret is None else body.secret
            made = replace(made, clocks=current.clocks, secret=secret)
        self.state.put(made)
        self._advance(path, position, 0, len(made.json) - len(current.json))
        self._log(path, "update", current, made)
        return made

    def remove(
        self, path: ObjectPath, current: StoredObject, date: int | None = None
    ) -> StoredObject:
        """Replace an object by its tombstone."""
        took = self._take_along(path)
        position, modified = self._place(path, self._effective(date, current))
        tombstone = StoredObject(
            path.uri,
            modified,
            position,
            make_tombstone_json(path.id, modified),
            deleted=True,
            readers=current.readers,
            clocks=current.clocks,
        )
        self.state.put(tombstone)
        self._advance(path, position, -1, -len(current.json))
        self._log(path, "delete", current, tombstone, took)
        return tombstone

    def bury(self, path: ObjectPath, date: int | None) -> StoredObject:
        """Put the tombstone of an object that was never here: nothing is undone, or told."""
        position, modified = self._place(path, date)
        old = self.state.get(path.uri)
        clocks = old.clocks if old else {}
        if path.kind.children and not clocks:
            clocks = self._make_clocks(path)
        text = make_tombstone_json(path.id, modified)
        buried = StoredObject(path.uri, modified, position, text, deleted=True, clocks=clocks)
        self.state.put(buried)
        self._advance(path, position, 0, 0)
        return buried

    def _effective(self, date: int | None, current: StoredObject) -> int | None:
        """A client's date counts for an existing object only if it is later than its own."""
        if date is None or self.is_exact:
            return date
        return date if date > current.last_modified else None

    def _take_along(self, path: ObjectPath) -> int:
        """Count what lies in an object no more among what lies in its bucket."""
        if path.kind.name == "bucket":
            # Nothing is left of it; its clocks begin anew.
            feed = self.state.clock_of(path.uri, FEED)
            self.state.set_clock(path.uri, FEED, replace(feed, live=0, size=0))
            return sum(self.state.clock_of(path.uri, one).live for one in path.kind.children)
        if not path.kind.children:
            return 0
        records = self.state.clock_of(path.uri, path.kind.children[0])
        feed = self.state.clock_of(path.bucket_uri, FEED)
        self.state.set_clock(path.bucket_uri, FEED, feed.counted(-records.live, -records.size))
        return records.live

    def _build(
        self, path: ObjectPath, body: Body, position: Position, modified: int
    ) -> StoredObject:
        members = body.fields.get("members") if path.kind.name == "group" else None
        return StoredObject(
            path.uri,
            modified,
            position,
            make_json(path.id, modified, body.rest),
            acl=body.acl,
            readers=readers_of(path.kind.name, body.acl),
            members=None if members is None else tuple(members),
            secret=body.secret or "",
            fields={"id": path.id, "last_modified": modified, **body.fields},
        )

    def _place(self, path: ObjectPath, date: int | None) -> tuple[Position, int]:
        """The position and ``last_modified`` of the write."""
        clock = self.state.clock(path.list)
        if date is None:
            position = next_position(clock.position, self.now)
            return position, timestamp_of(position)
        if self.is_exact:
            return exact_position(clock.position, date), Timestamp(date)
        return dated_position(clock.position, date, self.now)

    def _advance(self, path: ObjectPath, position: Position, live: int, size: int) -> None:
        """Move the clock of the list, and count there what became more or less."""
        clock = self.state.clock(path.list).moved(position, live, size)
        self.state.set_clock(path.list.parent_uri, path.kind.plural, clock)

    def _make_clocks(self, path: ObjectPath) -> Mapping[str, Clock]:
        """Start the clocks of a parent, above those it had before."""
        old = self.state.get(path.uri)
        if old is not None and old.clocks:
            former = {plural: self.state.clock_of(path.uri, plural) for plural in old.clocks}
            old = replace(old, clocks=former)
        begin = 0 if self.is_exact else self.now
        clocks = make_clocks(path.kind.name, begin, old)
        for plural, clock in clocks.items():
            self.state.set_clock(path.uri, plural, clock)
        return clocks

    def _log(
        self,
        path: ObjectPath,
        action: Action,
        before: StoredObject | None,
        after: StoredObject,
        took: int = 0,
    ) -> None:
        feed = self.state.clock_of(path.bucket_uri, FEED)
        seq = next_position(feed.position, self.now)
        live, size = _counted(path, before, after)
        self.state.set_clock(path.bucket_uri, FEED, feed.moved(seq, live, size))
        self.state.append(
            Revision(
                uri=path.uri,
                list=path.list.uri,
                bucket=path.bucket,
                seq=seq,
                position=after.position,
                action=action,
                by=self.by,
                date=self.now,
                last_modified=after.last_modified,
                before=before.json if before else None,
                json=after.json,
                acl=after.acl,
                acl_before=before.acl if before else {},
                readers=() if after.deleted else after.readers,
                readers_before=before.readers if before else (),
                touched=_touched(path, before, after),
                took=took,
            )
        )


def _counted(path: ObjectPath, before: StoredObject | None, after: StoredObject) -> tuple[int, int]:
    """Records and bytes that an effect adds to its bucket, whose own text does not count."""
    if path.kind.name == "bucket":
        return 0, 0
    live = (not after.deleted) - (before is not None)
    size = (0 if after.deleted else len(after.json)) - (len(before.json) if before else 0)
    return live if path.kind.name == "record" else 0, size


def _touched(path: ObjectPath, before: StoredObject | None, after: StoredObject) -> tuple[str, ...]:
    """Principals whose memberships an effect changed."""
    if path.kind.name == "bucket" and after.deleted:
        return (ROOT,)
    if not path.kind.is_shared:
        # Neither has members.
        is_other = before is not None and before.secret != after.secret
        return (path.uri,) if is_other else ()
    former = set(before.members or ()) if before else set()
    return tuple(sorted(former ^ set(after.members or ())))
