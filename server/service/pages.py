"""Pages of a list: what is asked for, where a page begins and what it shows."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.core.errors import InvalidParameters
from server.core.judge import ListReading
from server.core.objects import Listed
from server.core.pagination import PageToken, make_token, parse_token
from server.core.paths import ListPath
from server.core.permissions import Actor, Rules
from server.core.positions import timestamp_of
from server.core.preconditions import Precondition
from server.core.queries import ListQuery
from server.core.sorting import keys_of
from server.service.polls import START, Departure, Mark, Poll
from server.storage.base import Page


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
        sharee_tombstones: whether a poll tells what left the reader's sight, and
            what came into it though nobody wrote it.
    """

    rules: Rules
    secret: bytes
    page_size: int | None = None
    fetch_max: int = 10000
    token_seconds: int = 600
    sharee_tombstones: bool = True

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
        clamps: whether a state that is still to come means the present one, and one of
            before the list was made shows nothing.
    """

    actor: Actor
    path: ListPath
    query: ListQuery
    precondition: Precondition
    now: int
    count: bool = False
    clamps: bool = False

    @property
    def scope(self) -> str:
        """What a page token is valid for."""
        order = ",".join(f"{'-' * key.descending}{key.field}" for key in self.query.order)
        scope = f"{self.path.uri} {order}"
        return scope if self.query.at is None else f"{scope} at {self.query.at}"


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a list a request is about.

    Attributes:
        access: what the reader may see.
        readers: who must be named in an object's ACL, where not all may be seen.
        walk: the token of the page.
        mark: where the page before ended, if it was among what left the reader's sight.
        poll: what is to be told beside what was written.
    """

    access: ListReading
    readers: frozenset[str] | None
    walk: PageToken | None = None
    mark: Mark | None = None
    poll: Poll | None = None

    @property
    def position(self) -> int:
        """Of the list when its first page was read."""
        return self.access.clock.position if self.walk is None else self.walk.position

    @property
    def timestamp(self) -> int:
        """The ETag of all pages, in ms."""
        return timestamp_of(self.position)


@dataclass(frozen=True, slots=True)
class Found:
    """What a page shows.

    Attributes:
        objects: of the list.
        departures: what left the reader's sight; after the list's last object.
        total: how many objects match, where only that was asked for.
        is_cut: whether more follows.
        follows: whether it is departures that follow.
    """

    objects: list[Listed]
    departures: list[Departure]
    total: int | None = None
    is_cut: bool = False
    follows: bool = False

    @property
    def listed(self) -> Sequence[Listed]:
        """All of the page; nothing where only the number of objects was asked for."""
        if self.total is not None:
            return ()
        return self.objects + [one.listed for one in self.departures]

    @property
    def mark(self) -> Mark:
        """Where the page ends among the departures."""
        return self.departures[-1].mark if self.departures else START

    def stamp(self, walk: PageToken | None) -> int:
        """The last departure of the walk so far, in ms."""
        stamps = [one.listed.last_modified for one in self.departures]
        return max(stamps) if walk is None else max(timestamp_of(walk.position), *stamps)


def last_etag(share: Share, found: Found) -> int:
    """The ETag of who has lost everything: that of the last tombstone, or 0 once a right was lost.

    At the time of the tombstone they may have had that right, and have read by it what was
    there; the date of the loss may yet be that of a write, or beyond it. Who polled with either
    would miss what they come to see again. Who polls with 0 misses nothing.
    """
    assert share.poll is not None
    stamp = found.stamp(share.walk)
    has_lost = share.poll.history.lost_at is not None
    return 0 if has_lost or stamp > timestamp_of(share.access.clock.position) else stamp


def _departed(scope: str) -> str:
    """What a token of a page is valid for that ends among departures."""
    return f"{scope} departed"


def has_more_than_etag(request: ListRequest, share: Share, found: Found) -> bool:
    """Whether a page tells what is news also for a client that has its ETag."""
    is_complete = share.poll is not None and share.poll.is_complete
    is_beyond = is_complete or request.query.cursor is not None
    return bool(found.departures) or (bool(found.objects) and is_beyond)


def make_page(request: ListRequest, share: Share, limit: int) -> Page:
    """The objects of a list that a request is about, from where the page before ended."""
    query, clock = request.query, share.access.clock
    floor, conditions, tombstones = clock.floor, query.conditions, query.wants_tombstones
    if share.poll is not None and share.poll.is_complete:
        conditions = tuple(one for one in conditions if one.parameter != "_since")
        tombstones = False
    elif query.cursor is not None:
        floor = max(floor, query.cursor)
    after = share.walk.last if share.walk else None
    return Page(
        request.path, floor, conditions, query.order, limit, after, tombstones, share.readers
    )


def next_token(
    options: ListOptions, request: ListRequest, found: Found, position: int
) -> str | None:
    """The token of the page that follows; None on the last."""
    if not found.is_cut or request.count:
        return None
    scope = request.scope
    if found.follows:
        scope, keys = _departed(scope), [list(found.mark)]
    else:
        keys = keys_of(request.query.order, found.objects[-1].data)
    token = PageToken(keys, position, secrets.token_urlsafe(9), request.now)
    return make_token(options.secret, scope, token)


def open_token(options: ListOptions, request: ListRequest, share: Share) -> Share:
    """The share with the place where the page before ended.

    Raises:
        InvalidParameters: If the token is none of this list's.
    """
    text = request.query.token
    if text is None:
        return share
    try:
        return replace(share, walk=_parse(options, request, request.scope, text))
    except InvalidParameters:
        walk = _parse(options, request, _departed(request.scope), text)
        return replace(share, walk=walk, mark=walk.last[0])


def _parse(options: ListOptions, request: ListRequest, scope: str, text: str) -> PageToken:
    return parse_token(
        options.secret,
        scope,
        text,
        now=request.now,
        validity_seconds=options.token_seconds,
    )


def nonce_of(options: ListOptions, request: ListRequest) -> str | None:
    """What makes the walk of a request unlike others; None without a token.

    Raises:
        InvalidParameters: If the token is none of this list's objects.
    """
    text = request.query.token
    return None if text is None else _parse(options, request, request.scope, text).nonce
