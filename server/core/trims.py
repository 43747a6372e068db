"""Give up a part of the log: what is left of it is told by the clocks.

Pure. What is given up is taken away later, outside the transaction: by then
every reader is told that it is not there.
"""

from dataclasses import replace

from server.core.commands import Trim
from server.core.errors import ModifiedMeanwhile
from server.core.judge import Judge
from server.core.objects import Clock
from server.core.paths import FEED, ListPath, ObjectPath, parse_path
from server.core.permissions import Actor, refuse
from server.core.positions import Position, next_position, spell_etag, timestamp_of
from server.core.preconditions import Precondition, is_refused


def trim(judge: Judge, write: Trim, now: int) -> Position | None:
    """Decide a ``Trim`` on the state that the transaction read.

    The bucket's own clock moves, as it would for a write: its history is another one.

    Args:
        judge: of that state.
        write: what is wanted.
        now: the server's time, in ms.

    Raises:
        SyncError: If the actor may not.
        Unread: If something it depends on was not read.
    """
    state, bucket = judge.state, write.bucket
    state.require((bucket.uri,))
    if write.actor is not None:
        check_writable(judge, write.actor, bucket)
    if state.live(bucket) is None:
        return None
    _check(judge, bucket, write.precondition)
    for uri, position in write.lists.items():
        path = parse_path(uri)
        if isinstance(path, ListPath) and _exists(judge, path):
            _raise(judge, path.parent_uri, path.kind.plural, position)
    feed = _raise(judge, bucket.uri, FEED, write.seq)
    seq = next_position(feed.position, now)
    state.set_clock(bucket.uri, FEED, replace(feed, position=seq))
    return seq


def check_writable(judge: Judge, actor: Actor, bucket: ObjectPath) -> None:
    """Check that somebody may trim a bucket's history: its writers may.

    Raises:
        SyncError: If not.
    """
    chain = judge.chain(actor, lists_in(bucket))
    granted = judge.rules.grants.get("history:write", frozenset())
    if actor.principals.isdisjoint(granted) and not judge.may(actor, bucket, "write", chain):
        raise refuse(actor)


def lists_in(bucket: ObjectPath) -> ListPath:
    """A list that lies in a bucket, for those who ask whether the bucket is there."""
    path = parse_path(f"{bucket.uri}/collections")
    assert isinstance(path, ListPath)
    return path


def _check(judge: Judge, bucket: ObjectPath, precondition: Precondition) -> None:
    stamp = timestamp_of(judge.state.clock_of(bucket.uri, FEED).position)
    if is_refused(precondition, stamp):
        raise ModifiedMeanwhile(spell_etag(stamp))


def _exists(judge: Judge, path: ListPath) -> bool:
    judge.state.require(step.uri for step in path.ancestors)
    return all(judge.state.live(step) is not None for step in path.ancestors)


def _raise(judge: Judge, uri: str, plural: str, position: int) -> Clock:
    """Raise how far back a clock's log is complete, unless its list has begun anew since."""
    clock = judge.state.clock_of(uri, plural)
    if clock.oldest < position <= clock.position:
        clock = replace(clock, kept=position)
        judge.state.set_clock(uri, plural, clock)
    return clock
