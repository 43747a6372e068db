"""What somebody may see of a list, and how that has changed since they polled it.

When exactly a client asked is not known: at some time after the last entry of
the list that its ETag covers, and before the next one. So each state of the
rights in that time counts: what was given in any of them may be in the client's
copy, and only what was given in all of them is certainly there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from server.core.judge import Judge, ListReading
from server.core.paths import FEED, ListPath, ObjectPath
from server.core.permissions import Actor, find_groups, granting
from server.core.positions import (
    CLOCKS_APART_MS,
    Position,
    last_position,
    make_position,
    timestamp_of,
)
from server.core.queries import ListQuery
from server.core.revisions import Revision
from server.core.state import Unread

SKEW_MS = CLOCKS_APART_MS
"""By which a list's clock may run ahead of the time, too."""


@dataclass(frozen=True, slots=True)
class Since:
    """Where a poll begins.

    Attributes:
        timestamp: in ms; the ETag of what the client has.
        first: position up to which it has certainly seen everything.
        last: beyond which it has certainly seen nothing: an ETag leaves open
            how many writes of the same ``t`` it covers, and a cursor may have
            been made of one.
    """

    timestamp: int
    first: Position
    last: Position


def since_of(query: ListQuery, floor: int) -> Since | None:
    """Where a poll begins; None for a query that is none.

    Args:
        query: of the list.
        floor: of the list; nothing is left of what was before it.
    """
    sent = query.since if query.cursor is None else timestamp_of(query.cursor)
    if sent is None:
        return None
    first = make_position(sent) if query.cursor is None else query.cursor
    return Since(sent, Position(max(first, floor)), Position(max(last_position(sent), floor)))


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a list.

    Attributes:
        actor: the user.
        path: the list.
        access: what of it they may see now.
        principals: theirs, groups among them; None where nobody has asked yet.
        now: the server's time, in ms.
    """

    actor: Actor
    path: ListPath
    access: ListReading
    principals: frozenset[str] | None
    now: int


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may see of a list.

    Attributes:
        whole: whether all of it.
        principals: else what these are named on.
    """

    whole: bool
    principals: frozenset[str]

    def shows(self, readers: Iterable[str]) -> bool:
        """Whether an object is seen whose own ACL names these."""
        return self.whole or not self.principals.isdisjoint(readers)


def first_of(tests: Iterable[bool]) -> int:
    """The index of the first that holds; their number if none does."""
    count = 0
    for holds in tests:
        if holds:
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Beginning:
    """Which changes of rights come after a poll.

    Attributes:
        entry: the last of the list that the poll covers.
        timestamp: where the poll begins, in ms.
    """

    entry: Revision
    timestamp: int

    def is_later(self, event: Revision) -> bool:
        """Whether it may have come after it."""
        return self._comes_after(event, SKEW_MS)

    def is_surely_later(self, event: Revision) -> bool:
        """Whether it comes after it if all clocks agree."""
        return self._comes_after(event, 0)

    def is_after(self, event: Revision) -> bool:
        """The same, or of another bucket and the same millisecond: no right to what was before."""
        return self._comes_after(event, 1)

    def order(self, event: Revision, following: "Beginning | None") -> tuple[bool, ...]:
        """Sorts events by how they stand to this entry and the one that follows."""
        surely = self.is_surely_later(event)
        is_beyond = surely and following is not None and following.is_after(event)
        return (self.is_later(event), surely, is_beyond)

    def _comes_after(self, event: Revision, skew: int) -> bool:
        if timestamp_of(self.entry.position) != self.timestamp:
            # No ETag of this list, but the client's own.
            return event.date > self.timestamp
        if event.bucket == self.entry.bucket:
            return event.seq > self.entry.seq
        return event.date > self.entry.date - skew


@dataclass(frozen=True, slots=True)
class History:
    """How what somebody may see has changed since a poll.

    Attributes:
        now: what they may see.
        ever: what they may have been shown by then.
        always: what they were certainly shown by then.
        lost_at: how the last loss of a right is dated, in ms; None without one.
        steps: the rights, one after the other, in the time in which the client asked.
        events: what led from each of them to the next.
    """

    now: Rights
    ever: Rights
    always: Rights
    lost_at: int | None = None
    steps: tuple[Rights, ...] = ()
    events: tuple[Revision, ...] = ()

    def steps_at(self, revision: Revision) -> tuple[int, int]:
        """In which of the steps an entry of the list was made: at the earliest, and at the latest.

        They differ where something was done in another bucket in the same millisecond.
        """
        entry = Beginning(revision, timestamp_of(revision.position))
        return (
            first_of(entry.is_after(one) for one in self.events),
            first_of(entry.is_surely_later(one) for one in self.events),
        )

    def shows(self, readers: Iterable[str], first: int, last: int) -> bool:
        """Whether an object that named these from one step to another may have been shown."""
        if not self.events:
            return self.ever.shows(readers)
        return any(step.shows(readers) for step in self.steps[first : last + 1])

    @property
    def gained(self) -> bool:
        """Whether they may see what they were not shown though it was there."""
        if self.now.whole or self.always.whole:
            return not self.always.whole
        return not self.now.principals <= self.always.principals

    @property
    def lost(self) -> bool:
        """Whether something is hidden now by more than its own ACL."""
        if self.now.whole or self.ever.whole:
            return not self.now.whole
        return not self.ever.principals <= self.now.principals


def is_settled(judge: Judge, viewer: Viewer, since: Since) -> bool:
    """Whether a reader of the whole list certainly was one at the poll; costs no find.

    That is so if one of the objects that give the right is older than the poll.
    A position tells when an object was changed, but only nearly: a list that is
    written faster than once a millisecond runs ahead of the time, hence the
    margin. A list that is dated ahead of its bucket is never settled. Where
    the list's last write is the bucket's last, too, nothing can have changed.
    """
    path = viewer.path
    kind, actor = path.kind.name, viewer.actor
    if not actor.principals.isdisjoint(judge.rules.everywhere(kind, "read")):
        return True
    if not path.ancestors:
        return False
    bucket = timestamp_of(judge.state.clock_of(path.ancestors[0].uri, FEED).position)
    if since.timestamp > bucket:
        return False
    still = since.timestamp == bucket == timestamp_of(viewer.access.clock.position)
    try:
        for chain in _granting_chains(judge, viewer):
            if still and all(step.bucket == path.bucket for step in chain):
                return True
            if all(_is_older(judge, step, since) for step in chain):
                return True
    except Unread:
        # A group that nobody needed to read: not worth a find of its own.
        return False
    return False


def _is_older(judge: Judge, step: ObjectPath, since: Since) -> bool:
    stored = judge.state.get(step.uri)
    assert stored is not None
    return timestamp_of(stored.position) + SKEW_MS < since.timestamp


def _granting_chains(judge: Judge, viewer: Viewer) -> Iterator[Sequence[ObjectPath]]:
    """For each way in which the right on the list is given, the objects that it hangs on."""
    kind, actor = viewer.path.kind.name, viewer.actor
    for step in viewer.path.ancestors:
        stored = judge.state.live(step)
        assert stored is not None
        principals = granting(judge.rules, kind, "read", {step.kind.name: stored})
        if not actor.principals.isdisjoint(principals):
            yield (step,)
            continue
        for group in find_groups(actor, principals):
            if judge.grants(actor, group):
                yield (step, *group.chain)
