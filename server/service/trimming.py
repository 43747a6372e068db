"""Take entries out of a bucket's log: the clocks are raised first, then the entries go.

So nobody is ever told that all is there while something is not. Who is interrupted in
between has raised the clocks too early; whoever trims again finishes it.
"""

from collections.abc import Iterable, Sequence

from server.core.commands import Command, Trim
from server.core.errors import SyncError
from server.core.paths import ObjectPath
from server.core.permissions import Actor
from server.core.preconditions import NONE, Precondition
from server.core.revisions import Revision
from server.storage.base import Storage, Trimming

_BUCKETS = "/buckets"


async def trim(
    storage: Storage,
    bucket: ObjectPath,
    entries: Sequence[Revision],
    actor: Actor | None = None,
    precondition: Precondition = NONE,
) -> int | None:
    """Take entries out of the log.

    Args:
        storage: that has it.
        bucket: in which they all lie.
        entries: at least one.
        actor: who wants it; None for the server itself.
        precondition: on the bucket's history.

    Returns:
        The position of everything in the bucket; None if that is gone.

    Raises:
        SyncError: If the actor may not, or the database fails.
    """
    tops = find_tops(entries)
    lists = {uri: position for uri, position in tops.items() if uri != _BUCKETS}
    part = Trim(actor, bucket, lists, max(one.seq for one in entries), precondition)
    (verdict,) = await storage.commit(Command((part,)))
    if isinstance(verdict, SyncError):
        raise verdict
    if verdict is not None:
        await storage.forget(sort_out(bucket.id, entries, tops))
    position: int | None = verdict
    return position


def find_tops(entries: Iterable[Revision]) -> dict[str, int]:
    """The highest position in each list, by its URI."""
    tops: dict[str, int] = {}
    for one in entries:
        tops[one.list] = max(one.position, tops.get(one.list, 0))
    return tops


def sort_out(bucket: str, entries: Iterable[Revision], tops: dict[str, int]) -> Trimming:
    """What becomes of each entry.

    Those of records go, but for the highest of a list: it tells those who go on from there
    when that was. Those of groups and collections tell who could see what. A bucket's own
    stand in a list that belongs to everybody, whose log its owner must not cut off: they
    stay, and only the history shows them no more.
    """
    removed, hollowed, hidden = [], [], []
    for one in entries:
        if one.list == _BUCKETS:
            hidden.append(one.seq)
        elif one.list.endswith("/records") and one.position < tops[one.list]:
            removed.append(one.seq)
        else:
            hollowed.append(one.seq)
    return Trimming(bucket, removed, hollowed, hidden)
