"""Finds in the log how somebody's rights on a list have changed since they polled it.

The rights of now are known; each change of them is undone, from the last to
the first, and so each state that they were in comes to light.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from server.core.errors import CursorExpired
from server.core.judge import Judge
from server.core.objects import Clock, StoredObject
from server.core.paths import FEED, ROOT, ObjectPath, object_path
from server.core.permissions import granting
from server.core.positions import last_position, spell_cursor, timestamp_of
from server.core.revisions import Revision
from server.core.sorting import DEFAULT_ORDER
from server.service.rights import SKEW_MS, Beginning, History, Rights, Since, Viewer, first_of
from server.storage.base import LogPage, Page, RightsQuery
from server.storage.reader import Reader


async def find_history(reader: Reader, viewer: Viewer, since: Since) -> History:
    """How what a reader may see of a list has changed since a poll.

    Raises:
        CursorExpired: If the log that tells it is kept no more.
    """
    if not viewer.access.whole:
        check_known(since, viewer.access.clock)
    beginning = await _find_beginning(reader, viewer, since)
    principals = viewer.principals
    if beginning is None:
        now = Rights(viewer.access.whole, principals or frozenset())
        return History(now, now, now)
    if principals is None:
        principals = await reader.principals(viewer.actor)
    events = await _find_events(reader, viewer)
    following = await _find_following(reader, viewer, since)
    # Dates tell little of what was done in different buckets within a millisecond.
    events.sort(key=lambda one: beginning.order(one, following))
    groups = await _find_members(reader, viewer, events)
    states = _replay(reader.judge, replace(viewer, principals=principals), groups, events)
    orders = [beginning.order(one, following) for one in events]
    begin, sure, end = (first_of(order[n] for order in orders) for n in range(3))
    lost_at = _date_loss(states[begin:], events[begin:])
    begin = await _skip_blind(reader, viewer, states, begin, end, beginning.entry)
    always = _all_of(states[begin : end + 1])
    first = max(begin, min(sure, end))
    ever = states[first : end + 1]
    steps = tuple(state.rights for state in ever)
    return History(
        states[-1].rights, _any_of(ever), always, lost_at, steps, tuple(events[first:end])
    )


def check_known(since: Since, clock: Clock) -> None:
    """Check that all is kept that was written in a list since a poll.

    Who may read all of a list, and always could, needs no log: they are not asked.

    Raises:
        CursorExpired: If it is not.
    """
    # Of a list that rests an ETag covers all that shares it: there is no later one.
    rests = timestamp_of(clock.kept) == timestamp_of(clock.position)
    if (since.last if rests else since.first) < clock.kept:
        raise CursorExpired("floor", spell_cursor(clock.position), spell_cursor(clock.oldest))


async def _find_beginning(reader: Reader, viewer: Viewer, since: Since) -> Beginning | None:
    """Where to begin, if rights may have changed since; None for certainly not.

    In a list that runs with its bucket, an entry's seq has a ``t`` that is not
    less than its position's: so what changed after it has a greater one, and
    one find tells that there is nothing. A list that is dated ahead has
    to be asked for its entry first.
    """
    snapshot, path, clock = reader.snapshot, viewer.path, viewer.access.clock
    running = viewer.now
    if path.ancestors:
        feed = reader.judge.state.clock_of(path.ancestors[0].uri, FEED)
        running = timestamp_of(feed.position)
    entry: Revision | None = None
    if since.timestamp <= running:
        query = _query(viewer, last_position(since.timestamp), since.timestamp - SKEW_MS)
        found = await snapshot.rights_log(query)
        if not any(_may_matter(one, query.uris) for one in found):
            return None
    check_known(since, clock)
    entry = await snapshot.last_entry(path, since.first)
    if entry is None or entry.position <= clock.floor:
        # Nothing was there to be seen.
        return None
    return Beginning(entry, since.timestamp)


def _may_matter(event: Revision, parents: tuple[str, ...]) -> bool:
    """Whether an event may have changed rights: a parent's making gave nobody what was there."""
    if event.uri not in parents:
        return True
    return event.before is not None and event.acl != event.acl_before


def _query(viewer: Viewer, seq: int, date: int) -> RightsQuery:
    uris = tuple(step.uri for step in viewer.path.ancestors)
    # Who has no name is no member of anything.
    principals = viewer.actor.principals if viewer.actor.user_id else frozenset[str]()
    return RightsQuery(viewer.path.bucket, uris, principals, seq, date)


async def _find_events(reader: Reader, viewer: Viewer) -> list[Revision]:
    """All that ever changed the rights, in the order of time.

    That of one bucket is certain; between buckets it is that of their servers' clocks.
    """
    found = await reader.snapshot.rights_log(_query(viewer, 0, 0))
    lanes: dict[str, list[Revision]] = {}
    for one in sorted(found, key=lambda one: one.seq):
        lanes.setdefault(one.bucket, []).append(one)
    return [event for _, event in heapq.merge(*map(_dated, lanes.values()), key=lambda e: e[0])]


def _dated(events: Sequence[Revision]) -> Iterator[tuple[int, Revision]]:
    """Events of one bucket, with dates that never go back."""
    date = 0
    for event in events:
        date = max(date, event.date)
        yield date, event


async def _find_members(
    reader: Reader, viewer: Viewer, events: Iterable[Revision]
) -> dict[str, frozenset[str]]:
    """Which of the user's principals the groups of some events have as members now.

    A group of a bucket that is gone, or was made again, is left out: with the
    bucket went the knowledge who had been in it.
    """
    above = {step.uri for step in viewer.path.ancestors}
    groups = [object_path(uri) for uri in {one.uri for one in events} - above]
    uris = {step.uri for group in groups for step in group.chain}
    return await reader.ask(uris, lambda judge: _members(judge, viewer, groups))


def _members(
    judge: Judge, viewer: Viewer, groups: Iterable[ObjectPath]
) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for group in groups:
        stored = judge.state.get(group.uri)
        if stored is None or judge.state.live(group.ancestors[0]) is None:
            continue
        if stored.position > judge.state.clock(group.list).floor:
            found[group.uri] = viewer.actor.principals.intersection(stored.members or ())
    return found


@dataclass(frozen=True, slots=True)
class _State:
    """Rights at one time.

    Attributes:
        rights: to see.
        creatable: whether there was the right to add to the list, and so to know of it.
    """

    rights: Rights
    creatable: bool


def _replay(
    judge: Judge,
    viewer: Viewer,
    members: Mapping[str, frozenset[str]],
    events: Sequence[Revision],
) -> list[_State]:
    """The state before the first event, and after each: told from the end, which is now."""
    chain = {step.uri: judge.state.live(step) for step in viewer.path.ancestors}
    past = _Past(viewer, judge, {u: s for u, s in chain.items() if s is not None}, dict(members))
    states = [past.state()]
    for event in reversed(events):
        past.undo(event)
        states.append(past.state())
    states.reverse()
    return states


@dataclass(frozen=True, slots=True)
class _Past:
    """The rights as they were, going back from now.

    Attributes:
        viewer: whose they are.
        judge: knows the rules.
        parents: of the list, by URI.
        members: the user's principals in each group that has changed.
    """

    viewer: Viewer
    judge: Judge
    parents: dict[str, StoredObject]
    members: dict[str, frozenset[str]]

    def undo(self, event: Revision) -> None:
        """Go back before an event."""
        if event.uri in self.parents:
            parent = self.parents[event.uri]
            self.parents[event.uri] = replace(parent, acl=event.acl_before)
        elif event.uri in self.members:
            touched = self.viewer.actor.principals.intersection(event.touched)
            self.members[event.uri] ^= touched

    def state(self) -> _State:
        """As they are here."""
        steady = (self.viewer.principals or frozenset()) - self.members.keys()
        principals = steady | {uri for uri, members in self.members.items() if members}
        whole = self._has("read", principals)
        return _State(Rights(whole, principals), self._has("create", principals))

    def _has(self, permission: str, principals: frozenset[str]) -> bool:
        chain = {stored.path.kind.name: stored for stored in self.parents.values()}
        kind = self.viewer.path.kind.name
        return not principals.isdisjoint(granting(self.judge.rules, kind, permission, chain))


async def _find_following(reader: Reader, viewer: Viewer, since: Since) -> Beginning | None:
    """The list's next entry after the poll."""
    clock = viewer.access.clock.position
    if since.last >= clock:
        return None
    page = LogPage(viewer.path, since.last, clock, 1, texts=False)
    found = await reader.snapshot.log(page)
    return Beginning(found[0], timestamp_of(found[0].position)) if found else None


async def _has_forgotten(reader: Reader, viewer: Viewer, entry: Revision) -> bool:
    """Whether a bucket went after an entry, and with it the knowledge who was in its groups.

    Then nobody can say that a user saw nothing by them.
    """
    if not viewer.actor.user_id:
        return False
    query = RightsQuery(viewer.path.bucket, (), (ROOT,), entry.seq, entry.date - SKEW_MS)
    return bool(await reader.snapshot.rights_log(query))


async def _skip_blind(
    reader: Reader,
    viewer: Viewer,
    states: Sequence[_State],
    begin: int,
    end: int,
    entry: Revision,
) -> int:
    """Leave out the states in which nothing was to be seen, nor ever before.

    Nobody has an ETag from then. Without this, who is given a list that rests
    would get all of it at each poll.
    """
    clock = viewer.access.clock
    principals: frozenset[str] = frozenset().union(
        *(state.rights.principals for state in states[:begin])
    )
    asked: frozenset[str] | None = None
    if any(state.rights.whole or state.creatable for state in states[:begin]):
        return begin
    while begin < end and not (states[begin].rights.whole or states[begin].creatable):
        principals |= states[begin].rights.principals
        if principals != asked:
            page = LogPage(
                viewer.path, clock.floor, clock.position, 1, readers=principals, texts=False
            )
            if await reader.snapshot.log(page) or await _names(reader, viewer, principals):
                break
            if asked is None and await _has_forgotten(reader, viewer, entry):
                break
            asked = principals
        begin += 1
    return begin


async def _names(reader: Reader, viewer: Viewer, principals: frozenset[str]) -> bool:
    """Whether a list has something for these that the log may not tell of any more."""
    clock = viewer.access.clock
    if clock.kept <= clock.floor:
        return False
    page = Page(viewer.path, clock.floor, (), DEFAULT_ORDER, 1, tombstones=True, readers=principals)
    return bool(await reader.snapshot.page(page))


def _date_loss(states: Sequence[_State], events: Sequence[Revision]) -> int | None:
    """The date of the last event that took something, in ms."""
    date = None
    for event, before, after in zip(events, states, states[1:], strict=False):
        taken = before.rights.principals - after.rights.principals
        if taken or (before.rights.whole and not after.rights.whole):
            date = event.date
    return date


def _any_of(states: Sequence[_State]) -> Rights:
    principals = frozenset[str]().union(*(state.rights.principals for state in states))
    return Rights(any(state.rights.whole for state in states), principals)


def _all_of(states: Sequence[_State]) -> Rights:
    principals = states[0].rights.principals.intersection(
        *(state.rights.principals for state in states)
    )
    return Rights(all(state.rights.whole for state in states), principals)
