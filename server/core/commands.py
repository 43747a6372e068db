"""What a write wants: the vocabulary between the service and the ledger.

A command is one request; a batch is one command with many parts. The ledger
decides its parts in order (``server.core.decisions``) on the state that its
transaction read.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from server.core.contents import Content
from server.core.filters import Condition
from server.core.objects import StoredObject
from server.core.patches import Patch
from server.core.paths import ROOT, ListPath, ObjectPath, object_path
from server.core.permissions import Actor
from server.core.preconditions import NONE, Precondition


@dataclass(frozen=True, slots=True)
class Target:
    """What every write of one object has.

    Attributes:
        actor: who writes.
        path: the object.
        precondition: what the client believes of it.
    """

    actor: Actor
    path: ObjectPath
    precondition: Precondition = NONE


@dataclass(frozen=True, slots=True)
class Create:
    """POST of a list: make the object unless it exists.

    Attributes:
        target: the object, with the id of the body or a generated one.
        content: what it holds.
        new_id: makes another id if the generated one is taken; None when the
            client chose it.
    """

    target: Target
    content: Content
    new_id: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class Replace:
    """PUT: make the object or replace what it holds."""

    target: Target
    content: Content


@dataclass(frozen=True, slots=True)
class Change:
    """PATCH: change what the object holds.

    Attributes:
        target: the object.
        patch: what is changed.
        secret: what is stored beside it and never told; None leaves what there is.
    """

    target: Target
    patch: Patch
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """DELETE of an object.

    Attributes:
        target: the object.
        date: the client's date of the deletion, in ms.
    """

    target: Target
    date: int | None = None


@dataclass(frozen=True, slots=True)
class RemoveMany:
    """DELETE of a list, or a part of it.

    Attributes:
        actor: who deletes.
        path: the list.
        ids: of the objects to delete, at most 500; those that are gone, no
            longer match or that the actor may not write are left alone.
        conditions: that each must match still.
        precondition: on the list.
    """

    actor: Actor
    path: ListPath
    ids: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    precondition: Precondition = NONE


@dataclass(frozen=True, slots=True)
class Ensure:
    """Make what a read of the default bucket takes for granted.

    Attributes:
        actor: who reads.
        path: the object to be made if it is missing, with its parents.
    """

    actor: Actor
    path: ObjectPath


@dataclass(frozen=True, slots=True)
class Flush:
    """Remove what lies at the root; begin a new epoch if nothing is left there then.

    Its verdict is whether the new epoch has begun.

    Attributes:
        uris: of buckets, accounts and API keys.
        epoch: the new one: a name unlike any before.
    """

    uris: tuple[str, ...]
    epoch: str


class Loaded(StrEnum):
    """What became of an object that was loaded."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    SAME = "same"
    NEWER = "newer"
    """What is here was changed later, and was left as it is."""


@dataclass(frozen=True, slots=True)
class Load:
    """Make an object what it is elsewhere: data, permissions and date to the letter.

    For the operator: nobody is asked, nobody is named in its ACL, and its parent's new
    lists begin at the beginning of time, so that their ETags become those they had. Its
    verdict is a ``Loaded``.

    Attributes:
        path: the object.
        content: what it holds, its date with it; permissions that are not given stay as
            they are. The server dates what has no date.
        deleted: whether it is a tombstone; then only the date counts.
        overwrite: whether what is here is replaced even if it was changed later.
    """

    path: ObjectPath
    content: Content
    deleted: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Advance:
    """Move a list's clock on, if it stands before a timestamp: the ETag it has elsewhere.

    Attributes:
        path: the list.
        timestamp: in ms.
    """

    path: ListPath
    timestamp: int


@dataclass(frozen=True, slots=True)
class Trim:
    """Give up a part of a bucket's log: from now on it is complete only above it.

    Its verdict is the position of everything in the bucket, which moves; None if the
    bucket is gone.

    Attributes:
        actor: who wants it, and must have the right to write the bucket; None for the
            server itself.
        bucket: whose log it is.
        lists: by URI of a list, the highest position that is given up.
        seq: the highest of the bucket's own that is given up.
        precondition: on the bucket's history.
    """

    actor: Actor | None
    bucket: ObjectPath
    lists: Mapping[str, int]
    seq: int
    precondition: Precondition = NONE


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove what is a principal's alone, and its name from everything else.

    For the operator: permissions are not asked about. What the principal alone may
    write, by the object's own ACL, is removed. The verdict is how many objects changed.

    Attributes:
        actor: who does it.
        principal: that is forgotten.
        uris: of objects that name it, parents before what lies in them.
    """

    actor: Actor
    principal: str
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A read inside the transaction: sees the writes before it.

    Attributes:
        ask: gets a ``Snapshot`` of the storage; gives the answer, or the write
            that is to be decided in its place. It must not raise what belongs
            to the answer.
    """

    ask: Callable[[Any], Awaitable[Any]]


Write = (
    Create
    | Replace
    | Change
    | Remove
    | RemoveMany
    | Ensure
    | Flush
    | Load
    | Advance
    | Forget
    | Trim
)
Part = Write | Inquiry


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object.

    Attributes:
        object: as it is now, or its tombstone.
        created: whether it did not exist before.
        before: as it was, if it did.
        writable: whether its own ACL names the actor as a writer, who so sees it.
        sent: by a PATCH, what ``patches.shape_answer`` compares with.
    """

    object: StoredObject
    created: bool = False
    before: StoredObject | None = None
    writable: bool = True
    sent: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ListOutcome:
    """What became of the objects of a list.

    Attributes:
        tombstones: of those that were deleted.
        position: the list's clock now.
    """

    tombstones: tuple[StoredObject, ...]
    position: int


Verdict = Any
"""Of one part: an outcome, or the error that refuses it; None for those that
answer nothing; of an ``Inquiry``, what it answered."""


@dataclass(frozen=True, slots=True)
class Command:
    """One request's writes, decided and stored together.

    Attributes:
        parts: in order. A refused part leaves the others; an error of ours in
            one undoes all.
        size: about how many bytes it stores.
        fails: tells of each verdict, once it is there, whether it undoes all that
            was decided before it, and lets nothing be decided after it; None for
            parts that do not stand and fall together.
    """

    parts: tuple[Part, ...]
    size: int = 0
    fails: Callable[[Verdict], bool] | None = None

    def uris(self) -> set[str]:
        """The objects that it certainly needs: read ahead, in one find."""
        wanted: set[str] = set()
        for part in self.parts:
            wanted.update(_uris_of(part))
        return wanted


def _uris_of(part: Part) -> list[str]:
    match part:
        case Create(target) | Replace(target) | Change(target) | Remove(target):
            return _chain_uris(target.path)
        case Ensure(_, path) | Load(path):
            return _chain_uris(path)
        case Advance(path):
            return [path.parent_uri, *(step.uri for step in path.ancestors)]
        case RemoveMany(_, path, ids):
            above = [step.uri for step in path.ancestors]
            return [path.parent_uri, *above, *(f"{path.uri}/{one}" for one in ids)]
        case Flush(uris):
            return [ROOT, *uris]
        case Trim(_, bucket, lists):
            return [bucket.uri, *(uri.rpartition("/")[0] for uri in lists)]
        case Forget(_, _, uris):
            return [one for uri in uris for one in _chain_uris(object_path(uri))]
        case _:
            # An inquiry reads for itself.
            return []


def _chain_uris(path: ObjectPath) -> list[str]:
    above = [step.uri for step in path.chain]
    # The root's clocks move with what lies in it, and only with that.
    return [ROOT, *above] if len(above) == 1 else above
