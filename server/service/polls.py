"""What left a reader's sight since a poll: tombstones of objects that exist, but no more for them.

Those of objects that changed are found in the log, those of objects that did
not, where a right on more than one of them was taken, in the list itself.
A walk shows them after everything else, so each page knows where it begins.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from server.core.filters import Condition, Operator, matches
from server.core.objects import Clock, Listed, make_tombstone_json
from server.core.paths import ListPath
from server.core.positions import timestamp_of
from server.core.revisions import Revision
from server.core.sorting import DEFAULT_ORDER
from server.service.rights import History, Since
from server.storage.base import LogPage, Page, Snapshot

LOG_PAGE: Final = 1000
"""Entries of the log that are read at once, without their texts."""

CHUNK: Final = 200
"""Objects that are looked at at once."""

Mark = Sequence[Any]
"""Where in what is told of departures a page ends: JSON, for a token.

Its first member is the stage, ``FROM_LOG`` or ``FROM_LIST``; the others are what is
sorted by in it."""

FROM_LOG: Final = 1
FROM_LIST: Final = 2

START: Final[Mark] = (FROM_LOG, 0, "")
"""Before the first departure."""


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll of a list that has to tell more than what was written.

    Attributes:
        path: the list.
        clock: of the list.
        since: where the poll begins.
        history: of what the reader may see.
    """

    path: ListPath
    clock: Clock
    since: Since
    history: History

    @property
    def is_complete(self) -> bool:
        """Whether all live objects are told, not only those that changed.

        Then the tombstones come from the log: those in the list may be of objects
        that the reader never saw.
        """
        return self.history.gained

    async def departures(
        self, snapshot: Snapshot, conditions: Sequence[Condition], mark: Mark | None, limit: int
    ) -> list["Departure"]:
        """Tombstones of what the reader had and must not keep.

        Args:
            snapshot: that the rest of the answer is read from.
            conditions: that a tombstone must match, as any tombstone must.
            mark: where the page before ended; None for the first.
            limit: the greatest number wanted.
        """
        found: list[Departure] = []
        async with aclosing(self._walk(snapshot, mark or START)) as walk:
            async for departure in walk:
                if matches(conditions, departure.listed.data):
                    found.append(departure)
                if len(found) >= limit:
                    break
        return found

    async def _walk(self, snapshot: Snapshot, mark: Mark) -> AsyncGenerator["Departure", None]:
        stage, *rest = mark
        if stage == FROM_LOG:
            begin = tuple(rest)
            for stamp, uri in sorted(await self._find_changed(snapshot)):
                if (stamp, uri) > begin:
                    yield _make_departure(uri, stamp, (FROM_LOG, stamp, uri))
        if self.history.lost:
            after = rest if stage == FROM_LIST else None
            async with aclosing(self._find_hidden(snapshot, after)) as hidden:
                async for departure in hidden:
                    yield departure

    async def _find_changed(self, snapshot: Snapshot) -> list[tuple[int, str]]:
        """What was written since, was in sight at the poll and is not now: stamps and URIs."""
        fates: dict[str, _Fate] = {}
        async for revision in self._read_log(snapshot):
            fate = fates.get(revision.uri)
            if fate is None:
                fate = fates[revision.uri] = _Fate()
            self._note(fate, revision)
        await self._check_listed(snapshot, fates)
        last = len(self.history.steps)
        for fate in fates.values():
            if fate.is_open and fate.readers is not None:
                fate.seen |= self.history.shows(fate.readers, fate.step, last)
        return [
            (self._stamp(fate.hidden_at), uri)
            for uri, fate in fates.items()
            if fate.seen and not fate.visible and (self.is_complete or not fate.listed)
        ]

    async def _check_listed(self, snapshot: Snapshot, fates: dict[str, "_Fate"]) -> None:
        """See which tombstones are still there: the log that was read leaves out what others made.

        An object that was deleted may have been made anew for others.
        """
        uris = [uri for uri, fate in fates.items() if fate.listed]
        for start in range(0, len(uris), CHUNK):
            stored = await snapshot.objects(uris[start : start + CHUNK])
            for uri, one in stored.items():
                fates[uri].listed = one.deleted and self.history.now.shows(one.readers)

    def _note(self, fate: "_Fate", revision: Revision) -> None:
        history, alive = self.history, revision.action != "delete"
        if fate.is_open:
            # Until this, the object was as before; the client may have asked then.
            until, step = history.steps_at(revision) if history.events else (0, 0)
            if revision.before is not None and not fate.seen:
                fate.seen = history.shows(revision.readers_before, fate.step, until)
            fate.step, fate.readers = step, revision.readers if alive else None
            fate.is_open = revision.position <= self.since.last
        was_visible = revision.before is not None and history.now.shows(revision.readers_before)
        fate.visible = alive and history.now.shows(revision.readers)
        # Its own tombstone is in the list, for whom its last ACL named.
        fate.listed = not alive and was_visible
        if was_visible and not fate.visible:
            fate.hidden_at = timestamp_of(revision.position)

    async def _read_log(self, snapshot: Snapshot) -> AsyncIterator[Revision]:
        """The entries since the poll that may matter to the reader."""
        history, after = self.history, int(self.since.first)
        whole = history.ever.whole or history.now.whole
        readers = None if whole else history.ever.principals | history.now.principals
        while after < self.clock.position:
            page = LogPage(
                self.path, after, self.clock.position, LOG_PAGE, readers=readers, texts=False
            )
            revisions = await snapshot.log(page)
            for revision in revisions:
                yield revision
            if len(revisions) < LOG_PAGE:
                return
            after = revisions[-1].position

    async def _find_hidden(
        self, snapshot: Snapshot, after: Sequence[Any] | None
    ) -> AsyncGenerator["Departure", None]:
        """What was not written since, and is hidden by the loss of a right."""
        history = self.history
        readers = None if history.ever.whole else history.ever.principals - history.now.principals
        old = Condition("last_modified", Operator.MAX, self.since.timestamp)
        stamp = self._stamp(None)
        while True:
            page = Page(
                self.path, self.clock.floor, (old,), DEFAULT_ORDER, CHUNK, after, readers=readers
            )
            found = await snapshot.page(page)
            hidden = await self._hidden_among(snapshot, [one.uri for one in found])
            for one in found:
                after = [[one.last_modified], [one.id]]
                if one.uri in hidden:
                    yield _make_departure(one.uri, stamp, (FROM_LIST, *after))
            if len(found) < CHUNK:
                return

    async def _hidden_among(self, snapshot: Snapshot, uris: Iterable[str]) -> set[str]:
        stored = await snapshot.objects(uris)
        return {
            uri
            for uri, one in stored.items()
            if one.position <= self.since.first and not self.history.now.shows(one.readers)
        }

    def _stamp(self, hidden_at: int | None) -> int:
        """When something left the reader's sight: always later than what the client has.

        Args:
            hidden_at: by a write of the object, in ms; None for the loss of a right.
        """
        stamp = hidden_at if hidden_at is not None else self.history.lost_at
        return max(stamp or 0, self.since.timestamp + 1)


@dataclass(slots=True)
class _Fate:
    """What became of an object since a poll.

    Attributes:
        seen: whether the client may have it.
        is_open: whether the client may have asked after the last write that was noted.
        step: of the history, in which that write was made.
        readers: after it; None if that deleted the object.
        visible: whether the reader sees it now.
        listed: whether the list shows the reader its tombstone.
        hidden_at: when a write hid it last from what rights the reader has now, in ms.
    """

    seen: bool = False
    is_open: bool = True
    step: int = 0
    readers: tuple[str, ...] | None = None
    visible: bool = False
    listed: bool = False
    hidden_at: int | None = None


@dataclass(frozen=True, slots=True)
class Departure:
    """That an object is gone for a reader.

    Attributes:
        mark: where a page that ends with it ends.
        listed: the tombstone.
    """

    mark: Mark
    listed: Listed


def _make_departure(uri: str, stamp: int, mark: Mark) -> Departure:
    json = make_tombstone_json(uri.rpartition("/")[2], stamp)
    return Departure(mark, Listed(uri, stamp, True, json))
