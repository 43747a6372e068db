"""Reading and deleting lists."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from server.core.commands import Command, Inquiry, ListOutcome, Part, RemoveMany
from server.core.errors import InvalidParameters, SyncError, invalid
from server.core.judge import ListReading
from server.core.objects import Listed, StoredObject
from server.core.pagination import PageToken, make_token, parse_token
from server.core.paths import ListPath
from server.core.permissions import Actor, Rules, refuse
from server.core.positions import timestamp_of
from server.core.preconditions import NONE, Precondition, check_read, not_modified
from server.core.queries import ListQuery, check_dates
from server.core.sorting import keys_of
from server.service.reader import Reader
from server.storage.base import Page, Snapshot, Storage

DELETE_AT_ONCE = 500
"""Objects that one command deletes; others' writes come between two commands."""


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What the operator has set about lists.

    Attributes:
        rules: about permissions.
        secret: that signs page tokens.
        page_size: objects of a page unless a smaller number is asked for; None
            for as many as are fetched at most.
        fetch_max: objects that are read for one answer at most.
        token_seconds: how long a page token is valid.
    """

    rules: Rules
    secret: bytes
    page_size: int | None = None
    fetch_max: int = 10000
    token_seconds: int = 600

    def page_length(self, asked: int | None) -> int:
        """Objects of a page.

        Args:
            asked: by the client; 0 for as many as are fetched at most, None
                where nothing is asked.
        """
        if asked == 0:
            return self.fetch_max
        return min(bound for bound in (asked, self.page_size, self.fetch_max) if bound)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What is asked of a list.

    Attributes:
        actor: who asks.
        path: the list.
        query: the query string.
        precondition: what the client has.
        now: the server's time, in ms.
        count: whether the number of objects is wanted instead of them.
    """

    actor: Actor
    path: ListPath
    query: ListQuery
    precondition: Precondition
    now: int
    count: bool = False

    @property
    def scope(self) -> str:
        """What a page token is valid for."""
        order = ",".join(f"{'-' * key.descending}{key.field}" for key in self.query.order)
        return f"{self.path.uri} {order}"


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
    """

    timestamp: int
    objects: Sequence[Listed] = ()
    token: str | None = None
    total: int | None = None
    modified: bool = True
    reader: Reader | None = None


class Lists:
    """Reads lists on snapshots, and deletes them in parts."""

    def __init__(self, storage: Storage, options: ListOptions) -> None:
        self._storage = storage
        self._options = options

    async def read(self, snapshot: Snapshot, request: ListRequest) -> ListAnswer:
        """A page of a list, as its reader may see it.

        Raises:
            SyncError: If the list cannot be read, or not like this.
        """
        reader = Reader(snapshot, self._options.rules)
        access = await _access(reader, request, "read")
        share = await self._share(reader, request, access)
        clock = access.clock.position if share.walk is None else share.walk.position
        stamp: int = timestamp_of(clock)
        check_dates(request.query, stamp, request.now)
        if access.whole:
            check_read(request.precondition, stamp)
            if not_modified(request.precondition, stamp):
                return ListAnswer(stamp, modified=False)
            answer = await self._answer(snapshot, request, share)
            return replace(answer, reader=reader)
        answer = await self._answer(snapshot, request, share)
        if not answer.objects:
            await self._check_shared(snapshot, request, share)
            if share.walk is None and not answer.total:
                answer = replace(answer, timestamp=_since(request.query, stamp))
        check_read(request.precondition, answer.timestamp)
        if not_modified(request.precondition, answer.timestamp):
            return ListAnswer(answer.timestamp, modified=False)
        return replace(answer, reader=reader)

    async def _share(self, reader: Reader, request: ListRequest, access: ListReading) -> "_Share":
        """What the request is about; a bad token is told to who may know of the list."""
        readers = None if access.whole else await reader.principals(request.actor)
        share = _Share(access, readers, None)
        try:
            return replace(share, walk=self._open_token(request))
        except InvalidParameters:
            if not access.whole:
                await self._check_shared(reader.snapshot, request, share)
            raise

    async def _answer(
        self, snapshot: Snapshot, request: ListRequest, share: "_Share"
    ) -> ListAnswer:
        position = share.walk.position if share.walk else share.access.clock.position
        stamp: int = timestamp_of(position)
        page = _make_page(request, share, 0)
        if request.count:
            if share.readers is None and not request.query.conditions:
                return ListAnswer(stamp, total=share.access.clock.live)
            return ListAnswer(stamp, total=await snapshot.count(page))
        limit = self._limit(request.query)
        found = await snapshot.page(replace(page, limit=limit + 1))
        token = None
        if len(found) > limit:
            found = found[:limit]
            token = self._token(request, found[-1], position)
        return ListAnswer(stamp, found, token)

    def _limit(self, query: ListQuery) -> int:
        return self._options.page_length(query.limit)

    def _token(self, request: ListRequest, last: Listed, position: int) -> str:
        keys = keys_of(request.query.order, last.data)
        token = PageToken(keys, position, secrets.token_urlsafe(9), request.now)
        return make_token(self._options.secret, request.scope, token)

    def _open_token(self, request: ListRequest) -> PageToken | None:
        if request.query.token is None:
            return None
        return parse_token(
            self._options.secret,
            request.scope,
            request.query.token,
            now=request.now,
            validity_seconds=self._options.token_seconds,
        )

    async def _check_shared(
        self, snapshot: Snapshot, request: ListRequest, share: "_Share"
    ) -> None:
        """Refuse who sees nothing of a list, whatever the filters, and may not add to it."""
        if share.access.creatable:
            return
        everything = replace(request, query=ListQuery())
        if not await snapshot.page(_make_page(everything, replace(share, walk=None), 1)):
            raise refuse(request.actor)

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
        token = self._open_token(request)
        if token is not None and not await self._storage.claim(
            token.nonce, self._options.token_seconds
        ):
            raise invalid("querystring", "_token", "_token was already used or has expired.")

    async def candidates(
        self, snapshot: Snapshot, request: ListRequest, size: int
    ) -> tuple[list[Listed], str | None]:
        """The next objects that a deletion is about, and the token of what follows.

        Raises:
            SyncError: If the actor may delete nothing here.
        """
        reader = Reader(snapshot, self._options.rules)
        access = await _access(reader, request, "write")
        share = await self._share(reader, request, access)
        check_dates(request.query, timestamp_of(access.clock.position), request.now)
        found = await snapshot.page(_make_page(request, share, size + 1, tombstones=False))
        if not found and not access.whole:
            await self._check_shared(snapshot, request, share)
        token = None
        if len(found) > size:
            found = found[:size]
            token = self._token(request, found[-1], access.clock.position)
        return found, token


@dataclass(frozen=True, slots=True)
class _Share:
    """How much of a list a request is about.

    Attributes:
        access: what the reader may see.
        readers: who must be named in an object's ACL, where not all may be seen.
        walk: the token of the page.
    """

    access: ListReading
    readers: Collection[str] | None
    walk: PageToken | None


def _make_page(
    request: ListRequest, share: _Share, limit: int, *, tombstones: bool | None = None
) -> Page:
    query = request.query
    return Page(
        request.path,
        share.access.clock.floor,
        query.conditions,
        query.order,
        limit,
        share.walk.last if share.walk else None,
        query.wants_tombstones if tombstones is None else tombstones,
        share.readers,
    )


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
    for condition in query.conditions:
        if condition.parameter == "_since" and isinstance(condition.value, int):
            return condition.value
    return stamp


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
