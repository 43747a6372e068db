"""What a storage is: the protocol that every backend keeps.

A backend is loaded by name (``server.storage.loader``); the contract suite in
``tests/server/storage/contract.py`` says in code what is promised here.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from server.core.commands import Command, Verdict
from server.core.figures import StorageFigures
from server.core.filters import Condition
from server.core.objects import Listed, StoredObject
from server.core.paths import ListPath
from server.core.permissions import Rules
from server.core.revisions import Action, Revision
from server.core.sorting import SortKey


class StorageError(Exception):
    """The storage cannot be opened; the message says in one sentence what to do."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which objects of a list are wanted.

    Attributes:
        path: the list.
        floor: position at or below which nothing exists.
        conditions: that each must match.
        order: complete, ending in a tie-breaker.
        limit: the greatest number wanted.
        after: the keys of the object after which they begin; None for the first.
        tombstones: whether deleted objects are wanted too.
        readers: if given, only objects whose own ACL names one of these.
        max_bytes: of texts, with which a page ends: it holds the object that goes
            beyond, and none after it. None for no such bound.
        upto: position above which nothing is wanted; None for no such bound.
    """

    path: ListPath
    floor: int
    conditions: tuple[Condition, ...]
    order: tuple[SortKey, ...]
    limit: int
    after: Sequence[Sequence[Any]] | None = None
    tombstones: bool = False
    readers: Collection[str] | None = None
    max_bytes: int | None = None
    upto: int | None = None


@dataclass(frozen=True, slots=True)
class LogPage:
    """Which entries of the log are wanted: those in a range, in their order or from its end.

    Attributes:
        scope: a list, whose order is ``position``; or the id of a bucket, whose
            order is ``seq``.
        after: where the range begins, itself left out.
        upto: where it ends, itself in it.
        limit: the greatest number wanted.
        max_bytes: of texts, with which a page ends: it holds the entry that goes
            beyond, and none after it.
        readers: if given, only entries whose ``readers`` or ``readers_before``
            name one of these.
        uri: if given, only entries of this object.
        texts: whether ``json`` and ``before`` are wanted; else they are
            ``b""``, and ``before`` is None where there was nothing.
        descending: whether the last comes first.
        skip: how many of them are passed over first.
        also: URIs of lists whose entries are wanted too, whoever their readers are.
        plural: if given, only entries of lists that are called so, such as ``records``.
        by: if given, only what this user did.
        action: if given, only entries that did this.
        trimmed: whether entries are wanted that the history has forgotten.
    """

    scope: ListPath | str
    after: int
    upto: int
    limit: int
    max_bytes: int = 4 << 20
    readers: Collection[str] | None = None
    uri: str | None = None
    texts: bool = True
    descending: bool = False
    skip: int = 0
    also: Collection[str] = ()
    plural: str | None = None
    by: str | None = None
    action: Action | None = None
    trimmed: bool = True


@dataclass(frozen=True, slots=True)
class Trimming:
    """Which entries of a bucket's log are taken away; each by its seq.

    The clocks are raised before (see ``server.core.commands.Trim``), so nobody relies on
    them. None of them is shown as a part of the history any more.

    Attributes:
        bucket: id of the bucket.
        removed: of which nothing stays.
        hollowed: which lose their texts, and tell only who could see what.
        hidden: which stay whole, for those who follow a list that is not in the bucket.
    """

    bucket: str
    removed: Collection[int] = ()
    hollowed: Collection[int] = ()
    hidden: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class RightsQuery:
    """Which entries of the log may have changed what somebody may read in a bucket.

    Attributes:
        bucket: id of the bucket.
        uris: of objects in it, whose permissions count.
        principals: whose memberships count (see ``Revision.touched``).
        seq: of the bucket; only later entries are wanted.
        date: of other buckets, whose memberships count too, only entries that are
            dated later are wanted; in ms.
    """

    bucket: str
    uris: tuple[str, ...]
    principals: Collection[str]
    seq: int
    date: int


@dataclass(frozen=True)
class Change:
    """A revision that was committed.

    Attributes:
        at: when: comparable with ``Snapshot.at``, and the same for all that was
            committed together.
        revision: what was done.
    """

    at: int
    revision: Revision

    @property
    def bucket(self) -> str:
        """Id of the bucket that it was done in: known without a look at the rest."""
        return self.revision.bucket


class Gap(Exception):
    """Some changes will never be told: those between the last that were, and ``Feed.at``."""


class Feed(Protocol):
    """Every revision that is committed, in the order in which they were.

    Those of one bucket come by ``seq``, those of one list by position; those of one
    command come together.

    Attributes:
        at: what was committed after this, and not told yet, will be told. A
            snapshot that is taken later shows all that was committed up to it.
    """

    at: int

    async def read(self) -> list[Change]:
        """Wait for the next changes; sometimes there are none.

        Raises:
            Unavailable: If the database cannot be reached; reading again goes on
                where it stopped.
            Gap: If it can go on only from now.
        """

    async def close(self) -> None:
        """Let go of the database; a waiting ``read`` is to be cancelled first."""


class Tally(NamedTuple):
    """How much exists of a kind.

    Attributes:
        live: objects.
        tombstones: of objects that were deleted one by one, in parents that exist.
    """

    live: int
    tombstones: int


class Snapshot(Protocol):
    """The storage as it was at one instant: every answer is of the same one.

    Attributes:
        at: that instant, comparable with ``Change.at``: what was committed at or
            before it is seen, what was committed later is not. Known once
            something was read.
    """

    @property
    def at(self) -> int:
        """See above."""

    async def objects(self, uris: Iterable[str], *, texts: bool = True) -> dict[str, StoredObject]:
        """Objects and tombstones by URI; what was never there is left out.

        Without ``texts`` their ``json`` may be empty.
        """

    async def page(self, page: Page) -> list[Listed]:
        """The objects of a page, in its order."""

    async def count(self, page: Page) -> int:
        """How many live objects match, whatever the limit, the order and ``after``."""

    async def groups_of(self, principals: Collection[str]) -> list[StoredObject]:
        """Groups that have one of these as a member; their parents may be gone."""

    async def log(self, page: LogPage) -> list[Revision]:
        """Entries of the log, as far as they are kept."""

    async def last_entry(self, path: ListPath, upto: int) -> Revision | None:
        """The last entry of a list's log at or below a position, without its texts."""

    async def rights_log(self, query: RightsQuery) -> list[Revision]:
        """Entries that may have changed what somebody may read, without their texts."""

    async def named(self, principals: Collection[str]) -> list[StoredObject]:
        """Objects whose own ACL names one of these; their parents may be gone."""

    async def naming(self, principal: str) -> list[str]:
        """URIs of objects whose own ACL names it, and of groups that have it as a member.

        Their parents may be gone.
        """

    async def tally(self) -> dict[str, Tally]:
        """How much exists of each kind; may take a while."""


class Storage(Protocol):
    """Remembers objects and their log.

    Attributes:
        figures: what it has done in this process.
    """

    figures: StorageFigures

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Read at one instant, which is not before the call.

        Raises:
            Unavailable: If the database cannot be reached.
        """

    async def commit(self, command: Command) -> list[Verdict]:
        """Decide the parts of a command and store their effects, all or none.

        Returns:
            One verdict a part: an outcome, or the error that refuses it.

        Raises:
            Unavailable: If the outcome is not known in time, or nothing could be done.
            Unforeseen: If deciding or storing failed for a reason of ours; nothing was stored.
        """

    async def forget(self, trimming: Trimming) -> None:
        """Take entries out of the log; what is gone already is left alone.

        Raises:
            Unavailable: If the database cannot be reached; some may be gone by then.
        """

    async def purge(self) -> int:
        """Remove what deleted parents have left, which happens in time anyway.

        Returns:
            How many objects and entries of the log went.

        Raises:
            Unavailable: If the database cannot be reached.
        """

    async def feed(self) -> Feed:
        """Everything that is committed from now on.

        Raises:
            Unavailable: If the database cannot be reached.
        """

    async def secret(self, name: str) -> str:
        """A random text of 64 hexadecimal digits: made once, the same for ever."""

    async def claim(self, nonce: str, seconds: int) -> bool:
        """Use up a nonce; False if it was used in the last ``seconds``."""

    async def keep(self, name: str, value: str, seconds: int | None) -> None:
        """Keep a text under a name, for all processes; one kept before is replaced.

        Args:
            name: unlike any nonce.
            value: the text.
            seconds: after which it is forgotten; None for never.

        Raises:
            Unavailable: If the database cannot be reached.
        """

    async def kept(self, name: str) -> str | None:
        """The text that is kept under a name; None without one.

        Raises:
            Unavailable: If the database cannot be reached.
        """

    async def take(self, name: str) -> str | None:
        """The same, and forget it: of two who take it at once one gets it.

        Raises:
            Unavailable: If the database cannot be reached.
        """

    async def check(self) -> bool:
        """Whether it can be read and written, and its clock is right."""

    async def close(self) -> None:
        """Finish what was taken, and let go of everything."""


OpenStorage = Callable[["StorageOptions"], Awaitable[Storage]]
"""What an entry point of the group ``kintoun.storage`` is."""


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """What a backend is opened with.

    Attributes:
        rules: what the operator has set about permissions.
        uri: of the database, for backends that have one.
        database: its name.
        driver: ``pymongo`` or ``motor``.
        write_timeout_seconds: after which a waiting write is answered by 503.
        retry_after_seconds: what that answer says.
    """

    rules: Rules = Rules()
    uri: str = ""
    database: str = "kintoun"
    driver: str = "pymongo"
    write_timeout_seconds: float = 15
    retry_after_seconds: int = 3
