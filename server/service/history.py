"""A bucket's history: its log, as far as its reader may see it, as a list of entries."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from server.core.errors import ModifiedMeanwhile, SyncError, invalid
from server.core.objects import Clock
from server.core.pagination import PageToken, make_token, parse_token
from server.core.paths import ObjectPath
from server.core.permissions import Actor
from server.core.positions import spell_etag, timestamp_of
from server.core.preconditions import NONE, check_read, is_refused, not_modified
from server.core.queries import ListQuery, check_dates
from server.service.history_searches import Excluded, Found, HistoryRequest, Search
from server.service.pages import ListOptions
from server.service.sights import Sight, check_trimmable, find_sight
from server.service.trimming import trim
from server.storage.base import Snapshot, Storage
from server.storage.reader import Reader

DELETE_AT_ONCE: Final = 10_000
"""Entries that are taken out at a time."""


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """A page of a history.

    Attributes:
        timestamp: its ETag, in ms.
        entries: of the page.
        token: of the next page; None on the last.
        total: how many entries match, where that was asked for.
        modified: False for a client that has what is there (304).
    """

    timestamp: int
    entries: Sequence[dict[str, Any]] = ()
    token: str | None = None
    total: int | None = None
    modified: bool = True


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was taken out of a history.

    Attributes:
        timestamp: the history's ETag now, in ms.
        ids: of the entries.
        token: of the next page, where ``_limit`` left some.
    """

    timestamp: int
    ids: Sequence[str] = ()
    token: str | None = None


class Histories:
    """Reads histories on snapshots, and trims them."""

    def __init__(self, storage: Storage, options: ListOptions, excluded: Excluded) -> None:
        self._storage = storage
        self._options = options
        self._excluded = excluded

    async def read(self, snapshot: Snapshot, request: HistoryRequest) -> HistoryAnswer:
        """A page of a history, as its reader may see it.

        Raises:
            SyncError: If nothing of it may be seen, or it cannot be read like this.
        """
        reader = Reader(snapshot, self._options.rules)
        sight = await self._check_sight(reader, request)
        walk = self._open_token(request)
        clock = sight.clock if walk is None else replace(sight.clock, position=walk.position)
        check_dates(request.query, timestamp_of(clock.position), request.now)
        search = Search(snapshot, request, sight, clock, self._excluded, walk)
        if not sight.whole:
            return await self._part(request, search, clock)
        stamp = timestamp_of(clock.position)
        check_read(request.precondition, stamp)
        if not_modified(request.precondition, stamp):
            return HistoryAnswer(stamp, modified=False)
        return replace(await self._answer(request, search, clock), timestamp=stamp)

    async def _part(self, request: HistoryRequest, search: Search, clock: Clock) -> HistoryAnswer:
        """The answer to who may see some entries: its ETag is of those, and there is no 304.

        What they may see changes without an entry, and what others did is not to be told.
        """
        answer = await self._answer(request, search, clock)
        stamps = [one["last_modified"] for one in answer.entries]
        # Never that of the whole, with which who comes to see all would be told of nothing new.
        stamp = min(max(stamps, default=request.query.since or 0), timestamp_of(clock.position) - 1)
        check_read(request.precondition, stamp)
        return replace(answer, timestamp=stamp)

    async def _answer(self, request: HistoryRequest, search: Search, clock: Clock) -> HistoryAnswer:
        if request.count:
            return HistoryAnswer(0, total=await search.count())
        limit = self._options.page_length(request.query.limit)
        found = await search.page(limit + 1)
        token = self._next_token(request, found, limit, clock)
        return HistoryAnswer(0, [one.shown for one in found[:limit]], token)

    async def check_readable(
        self, snapshot: Snapshot, actor: Actor, bucket: ObjectPath, *, writes: bool
    ) -> None:
        """Refuse who may not, whatever else is wrong with the request.

        Raises:
            SyncError: As for a request with nothing wrong.
        """
        reader = Reader(snapshot, self._options.rules)
        if writes:
            await check_trimmable(reader, actor, bucket)
            return
        await self._check_sight(reader, HistoryRequest(actor, bucket, ListQuery(), NONE, 0))

    async def _check_sight(self, reader: Reader, request: HistoryRequest) -> Sight:
        """What may be seen; refuses who sees nothing, whatever they ask."""
        sight = await find_sight(reader, request.actor, request.bucket)
        if not sight.whole:
            every = replace(request, query=ListQuery())
            search = Search(reader.snapshot, every, sight, sight.clock, self._excluded)
            await search.check_sight()
        return sight

    def _open_token(self, request: HistoryRequest) -> PageToken | None:
        text = request.query.token
        if text is None:
            return None
        options = self._options
        return parse_token(
            options.secret,
            request.scope,
            text,
            now=request.now,
            validity_seconds=options.token_seconds,
        )

    def _next_token(
        self, request: HistoryRequest, found: Sequence[Found], limit: int, clock: Clock
    ) -> str | None:
        if len(found) <= limit:
            return None
        keys = found[limit - 1].keys_in(request.query.order)
        token = PageToken(keys, clock.position, secrets.token_urlsafe(9), request.now)
        return make_token(self._options.secret, request.scope, token)

    async def delete(self, request: HistoryRequest) -> Cleared:
        """Take out what matches; what is found while it lasts, too.

        Entries never change, so they are looked for outside the transaction that takes
        them out.

        Raises:
            SyncError: If the actor may not, the precondition fails, or the database does.
        """
        limit = request.query.limit or None
        cleared = await self._clear(request, limit, claims=True)
        while cleared.token is not None and len(cleared.ids) != limit:
            left = None if limit is None else limit - len(cleared.ids)
            # The belief was checked, and the token is our own.
            query = replace(request.query, token=cleared.token)
            following = replace(request, precondition=NONE, query=query)
            try:
                more = await self._clear(following, left)
            except SyncError:
                # The right was taken meanwhile; what went before that is told.
                return cleared
            cleared = replace(more, ids=[*cleared.ids, *more.ids])
        return cleared

    async def _clear(
        self, request: HistoryRequest, limit: int | None, *, claims: bool = False
    ) -> Cleared:
        """Take out the next entries; ``claims`` if the token, if any, is the client's."""
        found, token, stamp = await self._find_deletable(request, limit)
        if claims:
            await self._claim(request)
        if not found:
            return Cleared(stamp)
        entries = [one.revision for one in found]
        position = await trim(
            self._storage, request.bucket, entries, request.actor, request.precondition
        )
        stamp = stamp if position is None else timestamp_of(position)
        return Cleared(stamp, [one.shown["id"] for one in found], token)

    async def _find_deletable(
        self, request: HistoryRequest, left: int | None
    ) -> tuple[list[Found], str | None, int]:
        """The next entries to be taken out, the token of what follows, and the ETag."""
        size = DELETE_AT_ONCE if left is None else min(left, DELETE_AT_ONCE)
        async with self._storage.snapshot() as snapshot:
            reader = Reader(snapshot, self._options.rules)
            clock = await check_trimmable(reader, request.actor, request.bucket)
            stamp = timestamp_of(clock.position)
            check_dates(request.query, stamp, request.now)
            if is_refused(request.precondition, stamp):
                raise ModifiedMeanwhile(spell_etag(stamp))
            walk = self._open_token(request)
            sight = Sight(clock, whole=True)
            search = Search(snapshot, request, sight, clock, self._excluded, walk)
            found = await search.page(size + 1, light=True)
            token = self._next_token(request, found, size, clock)
            return found[:size], token, stamp

    async def _claim(self, request: HistoryRequest) -> None:
        """Use up the nonce of a token: a deletion that is sent twice deletes once."""
        walk = self._open_token(request)
        if walk is None:
            return
        if not await self._storage.claim(walk.nonce, self._options.token_seconds):
            raise invalid("querystring", "_token", "_token was already used or has expired.")
