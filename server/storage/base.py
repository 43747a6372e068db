"""What a storage is: the protocol that every backend keeps.

A backend is loaded by name (``server.storage.loader``); the contract suite in
``tests/server/storage/contract.py`` says in code what is promised here.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from server.core.commands import Command, Verdict
from server.core.filters import Condition
from server.core.objects import Listed, StoredObject
from server.core.paths import ListPath
from server.core.permissions import Rules
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
    """

    path: ListPath
    floor: int
    conditions: tuple[Condition, ...]
    order: tuple[SortKey, ...]
    limit: int
    after: Sequence[Sequence[Any]] | None = None
    tombstones: bool = False
    readers: Collection[str] | None = None


class Snapshot(Protocol):
    """The storage as it was at one instant: every answer is of the same one."""

    async def objects(self, uris: Iterable[str]) -> dict[str, StoredObject]:
        """Objects and tombstones by URI; what was never there is left out."""

    async def page(self, page: Page) -> list[Listed]:
        """The objects of a page, in its order."""

    async def count(self, page: Page) -> int:
        """How many live objects match, whatever the limit, the order and ``after``."""

    async def groups_of(self, principals: Collection[str]) -> list[StoredObject]:
        """Groups that have one of these as a member; their parents may be gone."""

    async def named(self, principals: Collection[str]) -> list[StoredObject]:
        """Objects whose own ACL names one of these; their parents may be gone."""


class Storage(Protocol):
    """Remembers objects and their log."""

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

    async def secret(self, name: str) -> str:
        """A random text of 64 hexadecimal digits: made once, the same for ever."""

    async def claim(self, nonce: str, seconds: int) -> bool:
        """Use up a nonce; False if it was used in the last ``seconds``."""

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
