"""Topics: what a subscription is about. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from server.core.errors import invalid
from server.core.filters import Condition
from server.core.paths import FEED, ListPath, ObjectPath, invalid_id, parse_path
from server.core.queries import parse_fields, parse_query
from server.core.targets import PREFIX, decode_path, parse_arguments

STEERING = ("_sort", "_limit", "_token", "_before", "_to", "_at", "_since")
"""Parameters of a list that mean nothing to a stream of changes."""

_FEED = re.compile(rf"(/buckets/[^/]+)/{FEED}")


@dataclass(frozen=True)
class Topic:
    """A list, an object, or everything in a bucket; and which part of it is wanted.

    Attributes:
        path: the list or object; of a feed, the bucket.
        feed: whether everything in the bucket is meant.
        conditions: that an object's data must match.
        fields: of an object that are wanted; None for all.
        query: the canonical query string, without its question mark.
    """

    path: ListPath | ObjectPath
    feed: bool = False
    conditions: tuple[Condition, ...] = ()
    fields: tuple[str, ...] | None = None
    query: str = ""

    @cached_property
    def uri(self) -> str:
        """The canonical path, with its query."""
        path = f"{self.path.uri}/{FEED}" if self.feed else self.path.uri
        return f"{path}?{self.query}" if self.query else path

    @cached_property
    def list(self) -> ListPath:
        """The list whose clock is the cursor, unless it is a feed."""
        return self.path if isinstance(self.path, ListPath) else self.path.list

    @cached_property
    def bucket(self) -> str:
        """Id of the bucket it lies in; ``/`` for the list of buckets."""
        return self.path.bucket

    @cached_property
    def parents(self) -> tuple[ObjectPath, ...]:
        """The objects without which it does not exist, and whose permissions count."""
        if self.feed:
            return (_as_object(self.path),)
        return self.path.ancestors

    @cached_property
    def scope(self) -> ListPath | str:
        """In whose order its cursor counts; see ``LogPage``."""
        return self.bucket if self.feed else self.list

    @property
    def object(self) -> ObjectPath | None:
        """The object, if it is about one."""
        return None if self.feed or isinstance(self.path, ListPath) else self.path

    @cached_property
    def clock(self) -> tuple[str, str]:
        """URI and plural of the clock that is the cursor."""
        if self.feed:
            return self.path.uri, FEED
        return self.list.parent_uri, self.list.kind.plural


def _as_object(path: ListPath | ObjectPath) -> ObjectPath:
    assert isinstance(path, ObjectPath)
    return path


def split_target(target: str) -> tuple[str, list[tuple[str, str]], str]:
    """The decoded path of a target, its arguments, and its query as it was sent.

    The prefix of the version may be there or not.

    Raises:
        InvalidParameters: If it is not percent-encoded UTF-8.
    """
    path, _, query = target.partition("?")
    if path.startswith(PREFIX + "/"):
        path = path[len(PREFIX) :]
    return decode_path(path), parse_arguments(query), query


def parse_topic(path: str, arguments: Sequence[tuple[str, str]], query: str = "") -> Topic:
    """The topic of a path and a query string.

    Args:
        path: decoded, with a bucket's own id in place of ``default``.
        arguments: the query string's pairs.
        query: the query string as it was sent.

    Raises:
        EndpointMissing: If the path is of no list, object or feed.
        InvalidParameters: If the query cannot be understood, or an id is malformed.
    """
    for name, _ in arguments:
        if name.strip() in STEERING:
            raise invalid("querystring", name, "has no meaning for a subscription")
    feed = _FEED.fullmatch(path)
    found = parse_path(feed[1] if feed else path)
    if not found.valid:
        raise invalid_id()
    if isinstance(found, ObjectPath) and not feed:
        return Topic(found, fields=parse_fields(arguments), query=query)
    parsed = parse_query(arguments)
    return Topic(found, bool(feed), parsed.conditions, parsed.fields, query)


def is_feed(path: str) -> bool:
    """Whether a path is of a bucket's feed."""
    return _FEED.fullmatch(path) is not None
