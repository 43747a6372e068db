"""Flush: remove every bucket, and begin a new epoch."""

from server.core.commands import Command, Flush
from server.core.errors import SyncError
from server.core.paths import KINDS, ListPath
from server.core.sorting import DEFAULT_ORDER
from server.storage.base import Page, Storage

AT_ONCE = 500
"""Buckets that one command removes."""


async def flush(storage: Storage, epoch: str) -> None:
    """Remove all buckets that exist when the last of them is removed.

    Args:
        storage: what is flushed.
        epoch: a name for what follows, unlike any before.

    Raises:
        SyncError: If the database fails; some buckets may be gone by then.
    """
    kind = KINDS["bucket"]
    path = ListPath(kind, f"/{kind.plural}", ())
    page = Page(path, 0, (), DEFAULT_ORDER, AT_ONCE)
    while True:
        async with storage.snapshot() as snapshot:
            found = await snapshot.page(page)
        # Some may be made meanwhile: the storage tells when none is left.
        command = Flush(tuple(one.uri for one in found), epoch)
        (verdict,) = await storage.commit(Command((command,)))
        if isinstance(verdict, SyncError):
            raise verdict
        if verdict:
            return
