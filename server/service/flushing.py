"""Flush: remove every bucket, account and API key, and begin a new epoch."""

from server.core.commands import Command, Flush
from server.core.errors import SyncError
from server.core.paths import ALL_KINDS, ListPath
from server.core.sorting import DEFAULT_ORDER
from server.storage.base import Page, Storage

AT_ONCE = 500
"""Objects that one command removes."""


async def flush(storage: Storage, epoch: str) -> None:
    """Remove all that exists when the last of them is removed.

    Args:
        storage: what is flushed.
        epoch: a name for what follows, unlike any before.

    Raises:
        SyncError: If the database fails; some of it may be gone by then.
    """
    kinds = [kind for kind in ALL_KINDS.values() if kind.parent is None]
    pages = [
        Page(ListPath(kind, f"/{kind.plural}", ()), 0, (), DEFAULT_ORDER, AT_ONCE) for kind in kinds
    ]
    while True:
        async with storage.snapshot() as snapshot:
            found = [one for page in pages for one in await snapshot.page(page)][:AT_ONCE]
        # Some may be made meanwhile: the storage tells when none is left.
        command = Flush(tuple(one.uri for one in found), epoch)
        (verdict,) = await storage.commit(Command((command,)))
        if isinstance(verdict, SyncError):
            raise verdict
        if verdict:
            return
