"""Looks for entries in a bucket's history.

The newest come first, which is the order of the log from its end: a page reads little
more than it shows. Another order has to look at all that the filters leave, in chunks
between which others have their turn, and keeps no more than the page.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from server.core.filters import matches
from server.core.history_entries import (
    OLDEST_FIRST,
    Span,
    find_span,
    is_in_order,
    make_entry,
    make_target,
    matches_head,
    needs_target,
    split_conditions,
)
from server.core.objects import Clock
from server.core.pagination import PageToken
from server.core.paths import ObjectPath
from server.core.permissions import Actor, refuse
from server.core.positions import make_position
from server.core.preconditions import Precondition
from server.core.queries import ListQuery
from server.core.revisions import Revision
from server.core.sorting import Order, is_after, keys_of, sort_key
from server.service.sights import Sight
from server.storage.base import LogPage, Snapshot

CHUNKS: Final = (200, 4000)
"""Entries of the log that are read at a time: at first, and at most."""

_TURN: Final = 100
"""Entries after which others have their turn."""

_SPARE: Final = 500
"""Entries beyond twice the page that are kept before the rest is thrown away."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """What no history shows.

    Attributes:
        resources: URIs of objects, with all that lies in them.
        users: ids of users.
    """

    resources: Collection[str] = ()
    users: Collection[str] = ()

    def holds(self, revision: Revision) -> bool:
        """Whether an entry is left out."""
        if revision.by and revision.by in self.users:
            return True
        return any(
            revision.uri == uri or revision.uri.startswith(f"{uri}/") for uri in self.resources
        )


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What is asked of a history.

    Attributes:
        actor: who asks.
        bucket: whose history it is.
        query: the query string.
        precondition: what the client has.
        now: the server's time, in ms.
        count: whether the number of entries is wanted instead of them.
    """

    actor: Actor
    bucket: ObjectPath
    query: ListQuery
    precondition: Precondition
    now: int
    count: bool = False

    @property
    def scope(self) -> str:
        """What a page token is valid for."""
        order = ",".join(f"{'-' * key.descending}{key.field}" for key in self.query.order)
        return f"{self.bucket.uri}/history {order}"


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that matches.

    Attributes:
        revision: that it was made of.
        shown: the entry.
        keys: what it is sorted by, where what is shown does not tell.
    """

    revision: Revision
    shown: dict[str, Any]
    keys: list[list[Any]] | None = None

    def keys_in(self, order: Order) -> list[list[Any]]:
        """What it is sorted by."""
        return keys_of(order, self.shown) if self.keys is None else self.keys


class Search:
    """Looks for entries in one history.

    Attributes:
        sight: of the reader.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        request: HistoryRequest,
        sight: Sight,
        clock: Clock,
        excluded: Excluded,
        walk: PageToken | None = None,
    ) -> None:
        self.sight = sight
        self._snapshot = snapshot
        self._request = request
        self._excluded = excluded
        self._walk = walk
        self._all = Span(clock.floor, clock.position)
        self._conditions, self._of_target = split_conditions(request.query.conditions)
        self._with_target = bool(self._of_target) or needs_target(request.query)

    async def check_sight(self) -> None:
        """Refuse who sees nothing, whatever the filters.

        Raises:
            SyncError: If there is nothing that the reader may see, and never was.
        """
        if self.sight.something:
            return
        page = self._log_page(self._all, 1)
        async with aclosing(self._read(page)) as entries:
            async for revision in entries:
                if self._may_show(revision):
                    return
        raise refuse(self._request.actor)

    async def count(self) -> int:
        """How many entries match."""
        page = replace(self._log_page(self._span(), CHUNKS[1]), texts=bool(self._of_target))
        total = 0
        async with aclosing(self._read(page)) as entries:
            async for revision in entries:
                total += self._matches(revision)
        return total

    async def page(self, limit: int, *, light: bool = False) -> list[Found]:
        """The first entries that match, in their order.

        Args:
            limit: the greatest number wanted.
            light: whether their objects are not wanted.
        """
        query = self._request.query
        if light:
            fields = tuple(key.field for key in query.sort) or ("id",)
            self._with_target = bool(self._of_target) or needs_target(replace(query, fields=fields))
        if is_in_order(query):
            return await self._ordered_page(limit, light=light)
        return await self._sorted_page(limit, light=light)

    async def _ordered_page(self, limit: int, *, light: bool) -> list[Found]:
        """A page in the order of the log, or against it."""
        span, walk, order = self._span(), self._walk, self._request.query.order
        backwards = order != OLDEST_FIRST
        if walk is not None:
            ((stamp,), _) = walk.last
            if backwards:
                span = replace(span, upto=min(span.upto, make_position(stamp) - 1))
            else:
                span = replace(span, after=max(span.after, make_position(stamp)))
        found: list[Found] = []
        chunk = CHUNKS[0] if self._request.query.conditions else min(limit, CHUNKS[1])
        async with aclosing(self._find(span, backwards=backwards, chunk=chunk)) as entries:
            async for one in entries:
                found.append(_lighten(one, order) if light else one)
                if len(found) >= limit:
                    break
        return found

    async def _sorted_page(self, limit: int, *, light: bool) -> list[Found]:
        """A page in an order that only the evaluator knows: all that matches is looked at."""
        order, walk = self._request.query.order, self._walk
        kept: list[tuple[Any, Found]] = []
        async with aclosing(self._find(self._span())) as entries:
            async for one in entries:
                if walk is not None and not is_after(order, one.shown, walk.last):
                    continue
                kept.append((sort_key(order, one.shown), _lighten(one, order) if light else one))
                if len(kept) >= 2 * limit + _SPARE:
                    kept = heapq.nsmallest(limit, kept, key=lambda pair: pair[0])
        best = heapq.nsmallest(limit, kept, key=lambda pair: pair[0])
        return [one for _, one in best]

    def _span(self) -> Span:
        return find_span(self._request.query, self._request.bucket, self._all)

    async def _find(
        self, span: Span, *, backwards: bool = True, chunk: int = CHUNKS[0]
    ) -> AsyncGenerator[Found, None]:
        page = replace(self._log_page(span, chunk), descending=backwards, texts=self._with_target)
        async with aclosing(self._read(page)) as entries:
            async for revision in entries:
                if self._matches(revision):
                    shown = make_entry(revision)
                    if self._with_target:
                        shown["target"] = self._target(revision)
                    yield Found(revision, shown)

    def _matches(self, revision: Revision) -> bool:
        """Whether an entry is seen, and wanted."""
        if not self._may_show(revision) or not matches_head(self._conditions, revision):
            return False
        # Only now: its text has to be parsed.
        return not self._of_target or matches(self._of_target, {"target": self._target(revision)})

    def _target(self, revision: Revision) -> dict[str, Any]:
        return make_target(revision, self.sight.shown_acl(revision))

    def _may_show(self, revision: Revision) -> bool:
        return self.sight.shows(revision) and not self._excluded.holds(revision)

    def _log_page(self, span: Span, limit: int) -> LogPage:
        sight = self.sight
        page = LogPage(
            self._request.bucket.id, span.after, span.upto, limit, uri=span.uri, trimmed=False
        )
        page = replace(page, plural=span.plural, by=span.by, texts=False)
        if sight.needs_all:
            return page
        return replace(page, readers=sight.principals, also=sight.lists)

    async def _read(self, page: LogPage) -> AsyncGenerator[Revision, None]:
        """All entries that a page describes, whatever its limit, in growing chunks."""
        while page.after < page.upto:
            entries = await self._snapshot.log(page)
            for number, one in enumerate(entries, 1):
                yield one
                if not number % _TURN:
                    await asyncio.sleep(0)
            if not entries or (len(entries) < page.limit and not page.texts):
                return
            last = entries[-1].seq
            page = replace(page, upto=last - 1) if page.descending else replace(page, after=last)
            page = replace(page, limit=min(4 * max(page.limit, CHUNKS[0]), CHUNKS[1]))
            # The storage may have had them at hand: let others have their turn.
            await asyncio.sleep(0)


def _lighten(one: Found, order: Order) -> Found:
    """Without the object, which may be large."""
    keys = keys_of(order, one.shown)
    return Found(replace(one.revision, json=b"", before=None), {"id": one.shown["id"]}, keys)
