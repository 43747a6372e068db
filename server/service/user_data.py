"""Forget a user: remove what is theirs alone, and their name from everything else."""

from collections.abc import Iterable

from server.core.commands import Command, Forget
from server.core.errors import SyncError
from server.core.permissions import Actor
from server.storage.base import Storage

AT_ONCE = 100
"""Objects of one command; others' writes come between two commands."""


async def forget_user(storage: Storage, actor: Actor, principal: str) -> None:
    """Forget a principal in all that exists when this ends.

    Args:
        storage: where.
        actor: who does it.
        principal: such as ``account:alice``.

    Raises:
        SyncError: If the database fails; some of it may be done by then.
    """
    changed = 1
    while changed:
        # Something may name them anew meanwhile: it ends when nothing does.
        async with storage.snapshot() as snapshot:
            # In this order parents come before what lies in them, and goes with them.
            uris = sorted(await snapshot.naming(principal))
        changed = 0
        for part in _parts(uris):
            (verdict,) = await storage.commit(Command((Forget(actor, principal, part),)))
            if isinstance(verdict, SyncError):
                raise verdict
            changed += verdict


def _parts(uris: list[str]) -> Iterable[tuple[str, ...]]:
    for start in range(0, len(uris), AT_ONCE):
        yield tuple(uris[start : start + AT_ONCE])
