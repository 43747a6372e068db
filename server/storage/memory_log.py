"""The log of the memory backend: entries, their indexes, and who is told of new ones."""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from server.core.paths import ListPath
from server.core.revisions import Revision
from server.storage.allowances import of_log
from server.storage.base import Change, LogPage, RightsQuery


class MemoryLog:
    """Every entry, in the order of the commits.

    Attributes:
        revisions: the entries.
        commits: how many commits had entries.
    """

    def __init__(self) -> None:
        self.revisions: list[Revision] = []
        self.commits = 0
        # Where in ``revisions`` the entries of a list, of a bucket and of a principal stand. Those
        # of a list are in the order of their positions, too, and those of a bucket in that of seq.
        self.by_list: defaultdict[str, list[int]] = defaultdict(list)
        self.by_bucket: defaultdict[str, list[int]] = defaultdict(list)
        self.by_touched: defaultdict[str, list[int]] = defaultdict(list)
        self._feeds: set[MemoryFeed] = set()

    def append(self, revisions: Sequence[Revision]) -> None:
        """Add what one commit has done, and tell it."""
        if not revisions:
            return
        self.commits += 1
        for index, revision in enumerate(revisions, len(self.revisions)):
            self.by_list[revision.list].append(index)
            self.by_bucket[revision.bucket].append(index)
            for principal in revision.touched:
                self.by_touched[principal].append(index)
        self.revisions.extend(revisions)
        changes = [Change(self.commits, revision) for revision in revisions]
        for feed in self._feeds:
            feed.tell(changes)

    def view(self, pending: Sequence[Revision] = ()) -> "LogView":
        """The log as it is now.

        Args:
            pending: what is decided, but not committed; it is shown after the rest.
        """
        return LogView(self, self.commits, len(self.revisions), pending)

    def open_feed(self) -> "MemoryFeed":
        """Tell a new feed of everything from now on."""
        feed = MemoryFeed(self)
        self._feeds.add(feed)
        return feed

    def close_feed(self, feed: "MemoryFeed") -> None:
        """Tell it nothing more."""
        self._feeds.discard(feed)


@dataclass(frozen=True, slots=True)
class LogView:
    """The log at one instant; see ``Snapshot``.

    Attributes:
        at: how many commits it shows.
    """

    _log: MemoryLog
    at: int
    _end: int
    _pending: Sequence[Revision]

    def page(self, page: LogPage) -> list[Revision]:
        """Entries of the log."""
        allowance = of_log(page)
        found: list[Revision] = []
        entries: Iterable[Revision] = self._range(page.scope, page.after)
        if page.descending:
            entries = reversed(list(entries))
        for revision in entries:
            if allowance.is_spent:
                break
            if _order(revision, page.scope) > page.upto:
                if page.descending:
                    continue
                break
            if _is_wanted(revision, page):
                found += allowance.take([revision if page.texts else _without_texts(revision)])
        return found

    def last_entry(self, path: ListPath, upto: int) -> Revision | None:
        """The last entry of a list at or below a position."""
        below = [one for one in self._pending if one.list == path.uri and one.position <= upto]
        if below:
            return _without_texts(below[-1])
        indexes = self._indexes(path)
        place = self._place(indexes, path, upto)
        return _without_texts(self._log.revisions[indexes[place - 1]]) if place else None

    def rights(self, query: RightsQuery) -> list[Revision]:
        """Entries that may have changed what somebody may read."""
        uris, principals = set(query.uris), set(query.principals)
        found = [
            one
            for one in self._range(query.bucket, query.seq)
            if one.uri in uris or not principals.isdisjoint(one.touched)
        ]
        elsewhere = [
            one
            for one in self._touching(principals)
            if one.bucket != query.bucket and one.date > query.date
        ]
        found.extend(elsewhere)
        return [_without_texts(one) for one in sorted(found, key=lambda one: (one.date, one.seq))]

    def _touching(self, principals: Collection[str]) -> Iterator[Revision]:
        indexes = {index for one in principals for index in self._log.by_touched.get(one, ())}
        for index in sorted(indexes):
            if index < self._end:
                yield self._log.revisions[index]
        for revision in self._pending:
            if not set(revision.touched).isdisjoint(principals):
                yield revision

    def _range(self, scope: ListPath | str, after: int) -> Iterator[Revision]:
        """Entries of a scope beyond a point, in its order."""
        indexes = self._indexes(scope)
        for place in range(self._place(indexes, scope, after), len(indexes)):
            if indexes[place] >= self._end:
                break
            yield self._log.revisions[indexes[place]]
        for revision in self._pending:
            if _is_in(revision, scope) and _order(revision, scope) > after:
                yield revision

    def _indexes(self, scope: ListPath | str) -> Sequence[int]:
        if isinstance(scope, str):
            return self._log.by_bucket.get(scope, ())
        return self._log.by_list.get(scope.uri, ())

    def _place(self, indexes: Sequence[int], scope: ListPath | str, point: int) -> int:
        """How many of these entries are seen here and stand at or below a point."""
        seen = bisect_right(indexes, self._end - 1)
        revisions = self._log.revisions
        return bisect_right(indexes, point, hi=seen, key=lambda at: _order(revisions[at], scope))


class MemoryFeed:
    """Tells what is committed after it was opened; see ``Feed``."""

    def __init__(self, log: MemoryLog) -> None:
        self.at = log.commits
        self._log = log
        self._waiting: list[Change] = []
        self._told = asyncio.Event()

    def tell(self, changes: Sequence[Change]) -> None:
        """Keep changes until they are read."""
        self._waiting.extend(changes)
        self._told.set()

    async def read(self) -> list[Change]:
        """All that is waiting; see ``Feed``."""
        await self._told.wait()
        self._told.clear()
        changes, self._waiting = self._waiting, []
        return changes

    async def close(self) -> None:
        """Be told nothing more."""
        self._log.close_feed(self)


def _order(revision: Revision, scope: ListPath | str) -> int:
    return revision.seq if isinstance(scope, str) else revision.position


def _is_in(revision: Revision, scope: ListPath | str) -> bool:
    if isinstance(scope, str):
        return revision.bucket == scope
    return revision.list == scope.uri


def _is_wanted(revision: Revision, page: LogPage) -> bool:
    if page.uri is not None and revision.uri != page.uri:
        return False
    if page.readers is None:
        return True
    return not set(page.readers).isdisjoint((*revision.readers, *revision.readers_before))


def _without_texts(revision: Revision) -> Revision:
    before = None if revision.before is None else b""
    return replace(revision, before=before, json=b"")
