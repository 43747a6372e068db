"""The table of kinds, and the URIs of lists and objects.

Everything that varies by kind (bucket, collection, group, record; account, API
key) is a row of ``ALL_KINDS``. An object's URI is its key in the storage; a list's URI is its
parent's URI and the kind's plural.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from server.core.errors import EndpointMissing, InvalidParameters, invalid

ROOT = "/"
"""URI of the document that holds the clocks of the root lists; also its bucket."""

FEED = "changes"
"""Plural under which a bucket, and the root, keeps the clock of everything in it."""

ID_MAX_LENGTH = 1024
_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_ACCOUNT_ID = re.compile(r"[a-zA-Z0-9][+.@a-zA-Z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object.

    Attributes:
        name: in the singular, as in ``resource_name``.
        plural: the segment of the URI.
        parent: name of the kind that contains it, None at the root.
        children: plurals of the lists that an object of this kind contains.
        ids: what an id looks like.
    """

    name: str
    plural: str
    parent: str | None
    children: tuple[str, ...]
    ids: re.Pattern[str] = _ID

    @property
    def is_shared(self) -> bool:
        """Whether who makes one owns it, and may share it; else it says itself whose it is."""
        return self.name in KINDS


KINDS = {
    kind.name: kind
    for kind in (
        Kind("bucket", "buckets", None, ("collections", "groups")),
        Kind("collection", "collections", "bucket", ("records",)),
        Kind("group", "groups", "bucket", ()),
        Kind("record", "records", "collection", ()),
    )
}
"""What is stored for its users' sake: buckets, and what lies in them."""

ALL_KINDS = KINDS | {
    kind.name: kind
    for kind in (
        Kind("account", "accounts", None, (), _ACCOUNT_ID),
        Kind("api_key", "api-keys", None, ()),
    )
}
"""Those, and what tells who the users are; it lies in the bucket ``/``."""

ROOT_LISTS = tuple(kind.plural for kind in ALL_KINDS.values() if kind.parent is None)

_BY_PLURAL = {kind.plural: kind for kind in ALL_KINDS.values()}


@dataclass(frozen=True, slots=True)
class ListPath:
    """A list: all objects of one kind in one parent.

    Attributes:
        kind: of the objects in it.
        uri: such as ``/buckets/b/collections``.
        ancestors: the objects it lies in, bucket first; empty for a root list.
        valid: whether all ids in it are well formed.
    """

    kind: Kind
    uri: str
    ancestors: tuple["ObjectPath", ...]
    valid: bool = True

    @property
    def parent_uri(self) -> str:
        """URI of the object whose document holds the list's clock."""
        return self.ancestors[-1].uri if self.ancestors else ROOT

    @property
    def bucket(self) -> str:
        """Id of the bucket that it lies in, ``/`` for a root list."""
        return self.ancestors[0].id if self.ancestors else ROOT

    def object(self, object_id: str) -> "ObjectPath":
        """The path of one object of this list."""
        return ObjectPath(self, object_id, f"{self.uri}/{object_id}")


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """One object: the list it stands in and its id."""

    list: ListPath
    id: str
    uri: str

    @property
    def kind(self) -> Kind:
        """Its kind, which is its list's."""
        return self.list.kind

    @property
    def ancestors(self) -> tuple["ObjectPath", ...]:
        """The objects it lies in, bucket first."""
        return self.list.ancestors

    @property
    def chain(self) -> tuple["ObjectPath", ...]:
        """Its ancestors and itself."""
        return (*self.list.ancestors, self)

    @property
    def bucket(self) -> str:
        """Id of the bucket that it lies in; for a bucket its own, for an account ``/``."""
        top = self.list.ancestors[0] if self.list.ancestors else self
        return top.id if top.kind.name == "bucket" else ROOT

    @property
    def bucket_uri(self) -> str:
        """URI of the document that holds the clock of everything in that bucket."""
        top = self.list.ancestors[0] if self.list.ancestors else self
        return top.uri if top.kind.name == "bucket" else ROOT

    @property
    def valid(self) -> bool:
        """Whether all ids in it are well formed."""
        return self.list.valid and is_valid_id(self.id, self.kind.ids)


def is_valid_id(object_id: str, pattern: re.Pattern[str] = _ID) -> bool:
    """Whether it may name an object.

    Args:
        object_id: as it was sent.
        pattern: of its kind.
    """
    return len(object_id) <= ID_MAX_LENGTH and pattern.fullmatch(object_id) is not None


def invalid_id() -> InvalidParameters:
    """The 400 for an id in the URL that cannot name an object."""
    return invalid("path", "", "Invalid object id")


@lru_cache(maxsize=8192)
def parse_path(uri: str) -> ListPath | ObjectPath:
    """Read a URI, without the prefix of the version and percent-decoded.

    Ids are not checked: who may not see the parent is told so first. See
    ``valid`` of what is returned.

    Raises:
        EndpointMissing: If its shape is of no list or object.
    """
    segments = uri.split("/")
    if len(segments) < 2 or segments[0] or not all(segments[1:]):
        raise EndpointMissing
    names = iter(segments[1:])
    return _walk(names)


def _walk(names: Iterator[str]) -> ListPath | ObjectPath:
    parent: ObjectPath | None = None
    for plural in names:
        kind = _BY_PLURAL.get(plural)
        if kind is None or kind.parent != (parent.kind.name if parent else None):
            raise EndpointMissing
        here = _list_in(parent, kind)
        object_id = next(names, None)
        if object_id is None:
            return here
        parent = here.object(object_id)
    assert parent is not None
    return parent


def _list_in(parent: ObjectPath | None, kind: Kind) -> ListPath:
    if parent is None:
        return ListPath(kind, f"/{kind.plural}", ())
    return ListPath(kind, f"{parent.uri}/{kind.plural}", parent.chain, parent.valid)


@lru_cache(maxsize=8192)
def object_path(uri: str) -> ObjectPath:
    """The path of an object's URI that is known to be one."""
    path = parse_path(uri)
    assert isinstance(path, ObjectPath)
    return path


@lru_cache(maxsize=8192)
def bucket_of(uri: str) -> str:
    """Id of the bucket that an object's URI lies in, ``/`` for the root and what lies there."""
    return uri.split("/", 3)[2] if uri.startswith("/buckets/") else ROOT
