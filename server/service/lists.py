"""Reading and deleting lists."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.core.commands import Command, Inquiry, ListOutcome, Part, RemoveMany
from server.core.errors import CursorExpired, InvalidParameters, SyncError, invalid
from server.core.judge import ListReading
from server.core.objects import Listed, StoredObject
from server.core.permissions import refuse
from server.core.positions import make_position, timestamp_of
from server.core.preconditions import NONE, check_read, not_modified
from server.core.queries import ListQuery, check_cursor, check_dates, check_kept
from server.service.histories import find_history
from server.service.pages import (
    Found,
    ListOptions,
    ListRequest,
    Share,
    has_more_than_etag,
    last_etag,
    make_page,
    next_token,
    nonce_of,
    open_token,
)
from server.service.past import PastList
from server.service.polls import Departure, Poll
from server.service.rights import Viewer, is_settled, since_of
from server.storage.base import Snapshot, Storage
from server.storage.reader import Reader

DELETE_AT_ONCE = 500
"""Objects that one command deletes; others' writes come between two commands."""


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """A page of a list.

    Attributes:
        timestamp: the list's ETag, in ms.
        objects: of the page.
        token: of the next page; None on the last.
        total: how many live objects match, where that was asked for.
        modified: False for a client that has what is there (304).
        reader: that read the list's ancestors.
        position: of the list, for who may see all of it.
    """

    timestamp: int
    objects: Sequence[Listed] = ()
    token: str | None = None
    total: int | None = None
    modified: bool = True
    reader: Reader | None = None
    position: int | None = None


class Lists:
    """Reads lists on snapshots, and deletes them in parts."""

    def __init__(self, storage: Storage, options: ListOptions) -> None:
        self._storage = storage
        self.options = options

    async def read(self, snapshot: Snapshot, request: ListRequest) -> ListAnswer:
        """A page of a list, as its reader may see it.

        Raises:
            SyncError: If the list cannot be read, or not like this.
        """
        reader = Reader(snapshot, self.options.rules)
        access = await _access(reader, request, "read")
        share = await self._share(reader, request, access)
        check_dates(request.query, timestamp_of(access.clock.position), request.now)
        if request.query.at is not None:
            answer = await self._past(snapshot, request, share, request.query.at)
            return replace(answer, reader=reader) if answer.modified else answer
        if access.whole:
            check_cursor(request.query, access.clock)
        poll = await self._find_poll(reader, request, share)
        if poll is not None:
            share = replace(share, poll=poll)
        answer = await (self._whole if access.whole else self._part)(snapshot, request, share)
        return replace(answer, reader=reader) if answer.modified else answer

    async def _whole(self, snapshot: Snapshot, request: ListRequest, share: Share) -> ListAnswer:
        """The answer to who may see all of the list."""
        stamp, position = share.timestamp, share.position
        check_read(request.precondition, stamp)
        # A write that is dated in the past leaves the ETag, and so does the gain of a right.
        cursor = request.query.cursor
        is_known = share.poll is None and (cursor is None or cursor == position)
        if is_known and not_modified(request.precondition, stamp):
            return ListAnswer(stamp, modified=False)
        found = await self._find(snapshot, request, share)
        token = next_token(self.options, request, found, position)
        return ListAnswer(stamp, found.listed, token, found.total, position=position)

    async def _part(self, snapshot: Snapshot, request: ListRequest, share: Share) -> ListAnswer:
        """The answer to who may see some objects of the list."""
        found = await self._find(snapshot, request, share)
        stamp, position = share.timestamp, share.position
        if found.departures:
            if not await self._sees_something(snapshot, request, share):
                # The list's own ETag would tell of others.
                stamp = last_etag(share, found)
                position = make_position(stamp)
        elif not found.objects and share.mark is None:
            if not found.total and not await self._sees_something(snapshot, request, share):
                raise refuse(request.actor)
            if share.walk is None and not found.total:
                stamp = _since(request.query, stamp)
        check_cursor(request.query, share.access.clock)
        check_read(request.precondition, stamp)
        is_known = not has_more_than_etag(request, share, found)
        if is_known and not_modified(request.precondition, stamp):
            return ListAnswer(stamp, modified=False)
        token = next_token(self.options, request, found, position)
        return ListAnswer(stamp, found.listed, token, found.total)

    async def _past(
        self, snapshot: Snapshot, request: ListRequest, share: Share, at: int
    ) -> ListAnswer:
        """The answer to who asks for the list as it was."""
        access, clock = share.access, share.access.clock
        if not access.whole and not await self._sees_something(snapshot, request, share):
            raise refuse(request.actor)
        if share.walk is not None:
            at = share.walk.position
        elif request.clamps:
            at = min(at, clock.position)
            if at < clock.floor:
                return ListAnswer(timestamp_of(at), total=0 if request.count else None)
        check_kept(at, clock)
        return await self._show_past(snapshot, request, share, at)

    async def _show_past(
        self, snapshot: Snapshot, request: ListRequest, share: Share, at: int
    ) -> ListAnswer:
        access, limit = share.access, self.options.page_length(request.query.limit)
        past = PastList(snapshot, make_page(request, share, limit + 1), at, access.clock)
        # The time of the last write could be that of a stranger's.
        stamp = timestamp_of(await past.find_position() if access.whole else at)
        check_read(request.precondition, stamp)
        # A right that is gained or lost shows other objects, with the same ETag.
        if access.whole and not_modified(request.precondition, stamp):
            return ListAnswer(stamp, modified=False)
        position = at if access.whole else None
        if request.count:
            return ListAnswer(stamp, total=await past.count(), position=position)
        objects = await past.find()
        found = Found(objects[:limit], [], is_cut=len(objects) > limit)
        token = next_token(self.options, request, found, at)
        return ListAnswer(stamp, found.listed, token, position=position)

    async def _find_poll(self, reader: Reader, request: ListRequest, share: Share) -> Poll | None:
        """What a poll has to tell beside what was written; None for what is no such poll."""
        access = share.access
        since = since_of(request.query, access.clock.floor)
        if not self.options.sharee_tombstones or since is None or not since.timestamp:
            # Who has nothing has lost nothing, and is told all there is.
            return None
        viewer = Viewer(request.actor, request.path, access, share.readers, request.now)
        if access.whole and is_settled(reader.judge, viewer, since):
            return None
        try:
            history = await find_history(reader, viewer, since)
        except CursorExpired:
            # That something was kept once is told to who may know of the list.
            if access.whole or await self._sees_something(reader.snapshot, request, share):
                raise
            raise refuse(request.actor) from None
        if access.whole and not history.gained:
            return None
        return Poll(request.path, access.clock, since, history)

    async def _share(self, reader: Reader, request: ListRequest, access: ListReading) -> Share:
        """What the request is about; a bad token is told to who may know of the list."""
        readers = None if access.whole else await reader.principals(request.actor)
        share = Share(access, readers)
        try:
            return open_token(self.options, request, share)
        except InvalidParameters:
            if not access.whole and not await self._sees_something(reader.snapshot, request, share):
                raise refuse(request.actor) from None
            raise

    async def _find(self, snapshot: Snapshot, request: ListRequest, share: Share) -> Found:
        """A page: what the list shows, then what left the reader's sight."""
        page = make_page(request, share, 0)
        limit = self.options.page_length(request.query.limit)
        total: int | None = None
        objects: list[Listed] = []
        if request.count:
            # The list knows how many live in it.
            is_all = share.readers is None and not page.conditions and request.query.cursor is None
            total = share.access.clock.live if is_all else await snapshot.count(page)
        elif share.mark is None:
            objects = await snapshot.page(replace(page, limit=limit + 1))
        room = limit + 1 - len(objects)
        departures: list[Departure] = []
        if share.poll is not None and room > 0 and not total:
            departures = await share.poll.departures(
                snapshot, request.query.conditions, share.mark, room
            )
        if len(objects) + len(departures) <= limit:
            return Found(objects, departures, total)
        follows = bool(departures)
        (departures if follows else objects).pop()
        return Found(objects, departures, total, is_cut=True, follows=follows)

    async def _sees_something(self, snapshot: Snapshot, request: ListRequest, share: Share) -> bool:
        """Whether somebody sees anything of a list, whatever the filters, or may add to it."""
        if share.access.creatable:
            return True
        everything = replace(request, query=ListQuery())
        page = make_page(everything, Share(share.access, share.readers), 1)
        return bool(await snapshot.page(page))

    async def delete(
        self, request: ListRequest, before: Sequence[Part] = ()
    ) -> tuple[ListOutcome, str | None]:
        """Delete what matches, in commands of at most ``DELETE_AT_ONCE`` objects.

        Args:
            request: what is to be deleted; its precondition is on the list.
            before: parts that come before the first command's own.

        Returns:
            The tombstones, in the order in which they were deleted, and the token of the
            next page if ``_limit`` left some.

        Raises:
            SyncError: If the first command is refused, or the database fails.
        """
        limit = request.query.limit or None
        claimed = False
        tombstones: list[StoredObject] = []
        done: ListOutcome | None = None
        while True:
            left = DELETE_AT_ONCE if limit is None else limit - len(tombstones)
            removal = Removal(self, request, min(DELETE_AT_ONCE, left), claimed=claimed)
            *_, verdict = await self._storage.commit(Command((*before, removal.part())))
            if isinstance(verdict, SyncError):
                if done is None:
                    raise verdict
                # The right was taken meanwhile; what was deleted before that is told.
                return done, None
            tombstones += verdict.tombstones
            done = ListOutcome(tuple(tombstones), verdict.position)
            if removal.token is None or (limit is not None and len(tombstones) >= limit):
                return done, removal.token
            # What follows is others' business by now: the client's belief was checked, and the
            # token is our own.
            claimed = True
            query = replace(request.query, token=removal.token)
            request = replace(request, precondition=NONE, query=query)

    async def claim(self, request: ListRequest) -> None:
        """Use up the nonce of a token: a deletion that is sent twice deletes once."""
        nonce = nonce_of(self.options, request)
        if nonce is None:
            return
        if not await self._storage.claim(nonce, self.options.token_seconds):
            raise invalid("querystring", "_token", "_token was already used or has expired.")

    async def candidates(
        self, snapshot: Snapshot, request: ListRequest, size: int
    ) -> tuple[list[Listed], str | None]:
        """The next objects that a deletion is about, and the token of what follows.

        Raises:
            SyncError: If the actor may delete nothing here.
        """
        reader = Reader(snapshot, self.options.rules)
        access = await _access(reader, request, "write")
        share = await self._share(reader, request, access)
        check_dates(request.query, timestamp_of(access.clock.position), request.now)
        page = make_page(request, share, size + 1)
        objects = await snapshot.page(replace(page, tombstones=False))
        if not objects and not access.whole:
            if not await self._sees_something(snapshot, request, share):
                raise refuse(request.actor)
        check_cursor(request.query, access.clock)
        found = Found(objects[:size], [], is_cut=len(objects) > size)
        return found.objects, next_token(self.options, request, found, access.clock.position)


async def _access(reader: Reader, request: ListRequest, permission: str) -> ListReading:
    path, actor = request.path, request.actor
    uris = [path.parent_uri, *(step.uri for step in path.ancestors[:-1])]
    return await reader.ask(uris, lambda judge: judge.read_list(actor, path, permission))


def _since(query: ListQuery, stamp: int) -> int:
    """The ETag of a part of a list in which nothing has changed.

    It is what the client has: strangers' activity must not show, and an ETag
    that moves without a change to show makes kinto.js believe the server was
    flushed.
    """
    if query.cursor is not None:
        return timestamp_of(query.cursor)
    return stamp if query.since is None else query.since


class Removal:
    """One command of a list's deletion: chooses inside the transaction what it deletes.

    Attributes:
        token: of what follows; None if nothing does.
    """

    def __init__(
        self, lists: Lists, request: ListRequest, size: int, *, claimed: bool = False
    ) -> None:
        self._lists = lists
        self._request = request
        self._size = size
        self._claimed = claimed
        self.token: str | None = None

    def part(self) -> Inquiry:
        """As a part of a command."""
        return Inquiry(self._choose)

    async def _choose(self, snapshot: Snapshot) -> RemoveMany | SyncError:
        request = self._request
        try:
            if not self._claimed:
                await self._lists.claim(request)
                # The transaction may run again; the client has sent it once.
                self._claimed = True
            found, self.token = await self._lists.candidates(snapshot, request, self._size)
        except SyncError as error:
            return error
        ids = tuple(one.id for one in found)
        conditions = request.query.conditions
        return RemoveMany(request.actor, request.path, ids, conditions, request.precondition)
