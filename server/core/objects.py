"""Objects as they are stored, and the clocks of the lists they contain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from server.core.json_text import load_json
from server.core.paths import ALL_KINDS, FEED, ROOT, ROOT_LISTS, ObjectPath, object_path
from server.core.positions import make_position, timestamp_of

Permissions = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Clock:
    """Where a list's commit order stands.

    Attributes:
        position: of the last change in the list.
        floor: what stands at or below it does not exist.
        live: how many objects exist, tombstones left out; of everything in a
            bucket, how many records.
        size: bytes of the texts of those objects; of everything in a bucket, of all.
        kept: the log is complete only above it: retention has taken what was below.
    """

    position: int
    floor: int = 0
    live: int = 0
    size: int = 0
    kept: int = 0

    @property
    def oldest(self) -> int:
        """Position below which nothing can be resumed from, or read as it was."""
        return max(self.floor, self.kept)

    def moved(self, position: int, live: int = 0, size: int = 0) -> "Clock":
        """The same, at another position, with so many objects and bytes more."""
        # Not ``replace``, which every write would wait for: it takes five times as long.
        return Clock(position, self.floor, self.live + live, self.size + size, self.kept)

    def counted(self, live: int, size: int) -> "Clock":
        """The same, with so many objects and bytes more."""
        return self.moved(self.position, live, size)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, or the tombstone of one.

    Attributes:
        uri: its key.
        last_modified: in ms.
        position: in its list's commit order.
        deleted: whether it is a tombstone.
        json: the exact text that is served, ``id`` and ``last_modified`` in it.
        acl: permission to principals, as stored on this object; a tombstone's is empty.
        readers: principals that this object's own ACL lets see it; a
            tombstone keeps those of the object it was.
        members: of a group.
        clocks: of the lists it contains, by plural; a tombstone keeps them. A bucket's
            ``changes`` is the clock of everything in it.
        epoch: of the root: changes when everything is flushed.
        secret: what only the server knows of it, such as the hash of a password:
            in no text, and in no log.
        fields: ``json``, parsed, where whoever made the object had it at hand.
    """

    uri: str
    last_modified: int
    position: int
    json: bytes
    deleted: bool = False
    acl: Permissions = field(default_factory=dict)
    readers: tuple[str, ...] = ()
    members: tuple[str, ...] | None = None
    clocks: Mapping[str, Clock] = field(default_factory=dict)
    epoch: str = ""
    secret: str = field(default="", repr=False)
    fields: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def path(self) -> ObjectPath:
        """Its path; the root has none."""
        return object_path(self.uri)

    @property
    def data(self) -> Mapping[str, Any]:
        """Its JSON, parsed. Not to be changed."""
        return load_json(self.json) if self.fields is None else self.fields


class Listed(NamedTuple):
    """What of an object its list shows.

    Attributes:
        uri: its key.
        last_modified: in ms.
        deleted: whether it is a tombstone.
        json: the exact text that is served.
    """

    uri: str
    last_modified: int
    deleted: bool
    json: bytes

    @property
    def id(self) -> str:
        """The last segment of its URI."""
        return self.uri.rpartition("/")[2]

    @property
    def data(self) -> Mapping[str, Any]:
        """Its JSON, parsed."""
        parsed: Mapping[str, Any] = load_json(self.json)
        return parsed


def make_json(object_id: str, last_modified: int, rest: bytes) -> bytes:
    """The text of an object.

    Args:
        object_id: a valid id.
        last_modified: in ms.
        rest: JSON text of an object that has neither ``id`` nor ``last_modified``.
    """
    head = b'{"id":"%s","last_modified":%d' % (object_id.encode(), last_modified)
    return head + (b"," + rest[1:] if len(rest) > 2 else b"}")


def make_tombstone_json(object_id: str, last_modified: int) -> bytes:
    """The text of a tombstone."""
    return make_json(object_id, last_modified, b'{"deleted":true}')


def make_root(now: int, epoch: str) -> StoredObject:
    """The root document of a new database."""
    position = make_position(now)
    clocks = {plural: Clock(position) for plural in (*ROOT_LISTS, FEED)}
    return StoredObject(ROOT, now, position, b"{}", clocks=clocks, epoch=epoch)


def make_clocks(kind_name: str, now: int, old: StoredObject | None) -> Mapping[str, Clock]:
    """The clocks of an object that is made now, or again.

    Time never goes back: a former object's clocks go on, and all that its
    lists held, log included, is left below the floor. The new start lies above
    the old clock, so that a reader of the old list notices.
    """
    plurals = ALL_KINDS[kind_name].children + ((FEED,) if kind_name == "bucket" else ())
    former = old.clocks if old else {}
    return {plural: _restart(former.get(plural), now) for plural in plurals}


def _restart(former: Clock | None, now: int) -> Clock:
    if former is None:
        return Clock(make_position(now))
    start = make_position(max(now, timestamp_of(former.position) + 1))
    return Clock(start, floor=start)
