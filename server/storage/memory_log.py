"""The log of the memory backend: entries, their indexes, and who is told of new ones."""

import asyncio
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from server.core.paths import ListPath
from server.core.revisions import Revision
from server.storage.allowances import of_log
from server.storage.base import Change, LogPage, RightsQuery, Trimming


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
        # Where those stand of which nothing is left but their place.
        self.removed: set[int] = set()
        self._feeds: set[MemoryFeed] = set()

    @property
    def left(self) -> list[Revision]:
        """The entries that were not removed."""
        if not self.removed:
            return self.revisions
        return [one for index, one in enumerate(self.revisions) if index not in self.removed]

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

    def forget(self, trimming: Trimming, views: Iterable["LogView"]) -> None:
        """Take entries out; views that are open see them still.

        Args:
            trimming: which.
            views: that were opened before.
        """
        seqs = {*trimming.removed, *trimming.hollowed, *trimming.hidden}
        for index in self._find(trimming.bucket, seqs):
            revision = self.revisions[index]
            for view in views:
                view.keep(index, revision)
            hidden = replace(revision, trimmed=True)
            whole = revision.seq in trimming.hidden
            self.revisions[index] = hidden if whole else _without_texts(hidden)
            if revision.seq in trimming.removed:
                self.removed.add(index)

    def _find(self, bucket: str, seqs: Collection[int]) -> list[int]:
        indexes = self.by_bucket.get(bucket, [])
        begin, end = (
            bisect_left(indexes, seq, key=lambda at: self.revisions[at].seq)
            for seq in (min(seqs, default=0), max(seqs, default=-1) + 1)
        )
        return [at for at in indexes[begin:end] if self.revisions[at].seq in seqs]

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
    _kept: dict[int, Revision] = field(default_factory=dict)

    def keep(self, index: int, revision: Revision) -> None:
        """Remember an entry that is about to be taken out."""
        if index not in self._log.removed:
            self._kept.setdefault(index, revision)

    def _at(self, index: int) -> Revision:
        return self._kept.get(index) or self._log.revisions[index]

    def _is_there(self, index: int) -> bool:
        return index in self._kept or index not in self._log.removed

    def page(self, page: LogPage) -> list[Revision]:
        """Entries of the log."""
        allowance = of_log(page)
        found: list[Revision] = []
        for revision in islice(self._wanted(page), page.skip, None):
            if allowance.is_spent:
                break
            found += allowance.take([revision if page.texts else _without_texts(revision)])
        return found

    def _wanted(self, page: LogPage) -> Iterator[Revision]:
        entries: Iterable[Revision] = self._range(page.scope, page.after, page.upto)
        if page.descending:
            entries = reversed(list(entries))
        return (one for one in entries if _is_wanted(one, page))

    def last_entry(self, path: ListPath, upto: int) -> Revision | None:
        """The last entry of a list at or below a position."""
        below = [one for one in self._pending if one.list == path.uri and one.position <= upto]
        if below:
            return _without_texts(below[-1])
        indexes = self._indexes(path)
        place = self._place(indexes, path, upto)
        there = (at for at in reversed(indexes[:place]) if self._is_there(at))
        last = next(there, None)
        return None if last is None else _without_texts(self._at(last))

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
            if index < self._end and self._is_there(index):
                yield self._at(index)
        for revision in self._pending:
            if not set(revision.touched).isdisjoint(principals):
                yield revision

    def _range(
        self, scope: ListPath | str, after: int, upto: int | None = None
    ) -> Iterator[Revision]:
        """Entries of a scope beyond a point, and up to another, in its order."""
        indexes = self._indexes(scope)
        end = len(indexes) if upto is None else self._place(indexes, scope, upto)
        for place in range(self._place(indexes, scope, after), end):
            if indexes[place] >= self._end:
                break
            if self._is_there(indexes[place]):
                yield self._at(indexes[place])
        for revision in self._pending:
            order = _order(revision, scope)
            if _is_in(revision, scope) and order > after and (upto is None or order <= upto):
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
    if page.by is not None and revision.by != page.by:
        return False
    if page.action is not None and revision.action != page.action:
        return False
    if page.plural is not None and not revision.list.endswith(f"/{page.plural}"):
        return False
    if revision.trimmed and not page.trimmed:
        return False
    if page.readers is None or revision.list in page.also:
        return True
    return not set(page.readers).isdisjoint((*revision.readers, *revision.readers_before))


def _without_texts(revision: Revision) -> Revision:
    before = None if revision.before is None else b""
    return replace(revision, before=before, json=b"")
