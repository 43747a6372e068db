"""What a group of commands has read, and what it has decided so far.

The ledger fills it with what its transaction read; each command sees the
effects of those before it. A command that needs something that was not read
is told so by ``Unread``: the ledger reads it and asks again.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

from server.core.objects import Clock, StoredObject
from server.core.paths import ROOT, ROOT_LISTS, ListPath, ObjectPath, bucket_of
from server.core.revisions import Revision


class Unread(Exception):
    """The decision needs objects that were not read.

    Attributes:
        uris: of those objects.
    """

    def __init__(self, uris: Iterable[str]) -> None:
        self.uris = tuple(uris)
        super().__init__(*self.uris)


_ABSENT: Any = object()


class State:
    """Stored objects under their URIs, overlaid by the effects decided so far.

    Attributes:
        written: objects and tombstones to be stored.
        clocks: clocks that moved, by URI of the parent and plural.
        revisions: entries of the log, in order.
        locked: ids of the buckets from which an effective decision read.
    """

    def __init__(self, objects: Mapping[str, StoredObject | None]) -> None:
        self._read = dict(objects)
        self._touched: set[str] = set()
        self._spares: dict[str, str] = {}
        self._journal: list[tuple[MutableMapping[Any, Any], Any, Any]] = []
        self.written: dict[str, StoredObject] = {}
        self.clocks: dict[tuple[str, str], Clock] = {}
        self.revisions: list[Revision] = []
        self.locked: set[str] = set()

    @property
    def effects(self) -> int:
        """How many effects there are; grows with each."""
        return len(self._journal)

    def add_read(self, objects: Mapping[str, StoredObject | None]) -> None:
        """Add what the transaction has read since."""
        self._read.update(objects)

    def require(self, uris: Iterable[str]) -> None:
        """Make sure that all these were read.

        Raises:
            Unread: If some were not.
        """
        missing = [uri for uri in uris if uri not in self._read]
        if missing:
            raise Unread(missing)

    def get(self, uri: str) -> StoredObject | None:
        """The object or tombstone under a URI, existing or not.

        Raises:
            Unread: If it was not read.
        """
        self._touched.add(bucket_of(uri))
        found = self.written.get(uri)
        if found is not None:
            return found
        self.require((uri,))
        return self._read[uri]

    def live(self, path: ObjectPath) -> StoredObject | None:
        """The object if it exists; its ancestors must."""
        found = self.get(path.uri)
        if found is None or found.deleted:
            return None
        if path.ancestors and found.position <= self.clock(path.list).floor:
            return None
        return found

    def spare_id(self, uri: str, make: Callable[[], str]) -> str:
        """The id to try in place of that of a taken URI.

        The same each time it is asked: a decision that met ``Unread`` on the
        way is made again, and would else never come to an end.
        """
        if uri not in self._spares:
            self._spares[uri] = make()
        return self._spares[uri]

    def clock(self, path: ListPath) -> Clock:
        """The clock of a list whose parent is stored."""
        return self.clock_of(path.parent_uri, path.kind.plural)

    def clock_of(self, uri: str, plural: str) -> Clock:
        """A clock of the object under a URI, which is stored."""
        moved = self.clocks.get((uri, plural))
        if moved is not None:
            return moved
        parent = self.get(uri)
        assert parent is not None, uri
        return parent.clocks[plural]

    def set_clock(self, uri: str, plural: str, clock: Clock) -> None:
        """Move a clock of the object under a URI."""
        self._set(self.clocks, (uri, plural), clock)

    def append(self, revision: Revision) -> None:
        """Add an entry to the log."""
        self.revisions.append(revision)

    def put(self, stored: StoredObject) -> None:
        """Store an object or tombstone."""
        self._set(self.written, stored.uri, stored)

    def _set(self, mapping: MutableMapping[Any, Any], key: Any, value: Any) -> None:
        self._journal.append((mapping, key, mapping.get(key, _ABSENT)))
        mapping[key] = value

    def renew(self, epoch: str) -> None:
        """Begin a new epoch: nothing in the root lists exists any more."""
        root = self.get(ROOT)
        assert root is not None
        self.put(replace(root, epoch=epoch))
        for plural in ROOT_LISTS:
            clock = self.clock_of(ROOT, plural)
            self.set_clock(ROOT, plural, replace(clock, floor=clock.position))

    def mark(self) -> tuple[int, int]:
        """Begin a command: what it reads is noted; its effects can be undone."""
        self._touched = set()
        return len(self._journal), len(self.revisions)

    def undo(self, mark: tuple[int, int]) -> None:
        """Take back every effect since a mark."""
        while len(self._journal) > mark[0]:
            mapping, key, before = self._journal.pop()
            if before is _ABSENT:
                del mapping[key]
            else:
                mapping[key] = before
        del self.revisions[mark[1] :]

    def keep(self, mark: tuple[int, int]) -> None:
        """End a command: if it has effects, what it read must not change until the commit."""
        if len(self._journal) > mark[0]:
            self.locked |= self._touched

    def finished(self) -> dict[str, StoredObject]:
        """The objects to be stored, with their clocks as they are now.

        Includes objects of which nothing but a clock moved; ``written`` tells
        them apart.
        """
        stored = dict(self.written)
        for (uri, plural), clock in self.clocks.items():
            found = stored[uri] if uri in stored else self._read[uri]
            assert found is not None
            stored[uri] = replace(found, clocks={**found.clocks, plural: clock})
        return stored

    def parents_with_leftovers(self) -> list[str]:
        """URIs of written parents whose lists may hold what does not exist any more."""
        return [
            uri
            for uri, stored in self.written.items()
            if stored.clocks and (stored.deleted or any(c.floor for c in stored.clocks.values()))
        ]
