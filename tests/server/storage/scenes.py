"""What storage tests are told in: actors, requests as commands, and a storage to try them on."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from server.core.commands import (
    Change,
    Command,
    Create,
    Outcome,
    Part,
    Remove,
    Replace,
    Target,
    Verdict,
)
from server.core.contents import Content, parse_content
from server.core.envelopes import Envelope
from server.core.errors import SyncError
from server.core.objects import Clock, Listed, StoredObject
from server.core.patches import MergePatch
from server.core.paths import ListPath, ObjectPath, object_path, parse_path
from server.core.permissions import AUTHENTICATED, Actor, Rules, make_actor
from server.core.positions import make_position
from server.core.preconditions import NONE, Precondition
from server.core.queries import parse_query
from server.core.quotas import Quotas
from server.core.revisions import Revision
from server.core.schemas import Schemas
from server.core.sorting import DEFAULT_ORDER, Order
from server.core.state import State
from server.storage.base import Page, Snapshot, Storage

ALICE = make_actor("basicauth:alice")
BOB = make_actor("basicauth:bob")

NOW = 1_700_000_000_000

CROWDED = "/buckets/crowded"
"""URI of a bucket with a quota."""

CROWDED_MAX = 3
"""Records that it may hold."""

RULES = Rules(
    {"bucket:create": frozenset([AUTHENTICATED])},
    quotas=Quotas({"max_items": {"crowded": CROWDED_MAX}}),
    schemas=Schemas(),
)
"""Everybody with a name may make buckets, and owns what is in them."""

Acl = Mapping[str, Sequence[str]]
ReadLog = Callable[[], Awaitable[list[Revision]]]


def make_content(kind: str, data: Mapping[str, Any] | None, acl: Acl | None) -> Content:
    """The content of a body with these members; None leaves one out."""
    rights = None if acl is None else {name: list(who) for name, who in acl.items()}
    members = {"data": data, "permissions": rights}
    return parse_content(kind, {name: one for name, one in members.items() if one is not None})


def put(
    uri: str,
    data: Mapping[str, Any] | None = None,
    *,
    by: Actor = ALICE,
    acl: Acl | None = None,
    only: Precondition = NONE,
) -> Replace:
    """PUT of an object."""
    path = object_path(uri)
    return Replace(Target(by, path, only), make_content(path.kind.name, data, acl))


def post(
    uri: str,
    data: Mapping[str, Any] | None = None,
    *,
    by: Actor = ALICE,
    acl: Acl | None = None,
    new_id: Callable[[], str] | None = None,
) -> Create:
    """POST to the list of an object, with its id in the body."""
    path = object_path(uri)
    return Create(Target(by, path), make_content(path.kind.name, data, acl), new_id)


def patch(uri: str, data: Mapping[str, Any], *, by: Actor = ALICE) -> Change:
    """PATCH of an object by a merge of its fields."""
    return Change(Target(by, object_path(uri)), MergePatch(Envelope(dict(data))))


def delete(
    uri: str, *, by: Actor = ALICE, only: Precondition = NONE, date: int | None = None
) -> Remove:
    """DELETE of an object."""
    return Remove(Target(by, object_path(uri), only), date)


def list_path(uri: str) -> ListPath:
    """The path of a list's URI."""
    path = parse_path(uri)
    assert isinstance(path, ListPath)
    return path


def random_bucket() -> str:
    """The URI of a bucket that nobody else uses."""
    return f"/buckets/b{secrets.token_hex(4)}"


def make_revision(**changed: Any) -> Revision:
    """An update of a group, with some of its fields changed."""
    given = {
        "uri": "/buckets/b/groups/g",
        "list": "/buckets/b/groups",
        "bucket": "b",
        "seq": make_position(NOW),
        "position": make_position(NOW, 1),
        "action": "update",
        "by": "basicauth:alice",
        "date": NOW,
        "last_modified": NOW - 1,
        "before": b'{"id":"g"}',
        "json": b'{"id":"g","x":1}',
        "acl": {"write": ("basicauth:alice",)},
        "acl_before": {"read": ("basicauth:bob",)},
        "readers": ("basicauth:alice",),
        "readers_before": ("basicauth:bob",),
    }
    return Revision(**{**given, **changed})


class Scene:
    """A storage, and what one asks of it in a test.

    Attributes:
        storage: that is tried.
        log: reads all revisions that are stored, in no promised order.
    """

    def __init__(self, storage: Storage, log: ReadLog) -> None:
        self.storage = storage
        self.log = log

    async def commit(self, *parts: Part, size: int = 0) -> list[Verdict]:
        """The verdicts of a command of these parts."""
        return await self.storage.commit(Command(parts, size))

    async def do(self, part: Part) -> Any:
        """The verdict of a command of one part, which is not refused."""
        (verdict,) = await self.commit(part)
        if isinstance(verdict, SyncError):
            raise verdict
        return verdict

    async def write(self, part: Part) -> StoredObject:
        """What a write, which is not refused, made of its object."""
        outcome = await self.do(part)
        assert isinstance(outcome, Outcome)
        return outcome.object

    async def make_collection(self, acl: Acl | None = None) -> str:
        """A new collection of Alice, in a new bucket; its URI."""
        bucket = random_bucket()
        uri = f"{bucket}/collections/c"
        await self.commit(put(bucket), put(uri, acl=acl))
        return uri

    async def fill(self, collection: str, *records: Mapping[str, Any]) -> None:
        """Put records, ``r0``, ``r1`` and so on, in this order."""
        for index, data in enumerate(records):
            await self.do(put(f"{collection}/records/r{index}", data))

    async def find(self, uri: str) -> StoredObject | None:
        """The object if it exists, and its parents do."""
        async with self.storage.snapshot() as snapshot:
            state = await read_state(snapshot, uri)
        found = None
        for step in object_path(uri).chain:
            found = state.live(step)
            if found is None:
                return None
        return found

    async def clock(self, uri: str) -> Clock:
        """The clock of a list; of everything in a bucket for ``/buckets/b/changes``."""
        parent, _, plural = uri.rpartition("/")
        async with self.storage.snapshot() as snapshot:
            found = await snapshot.objects([parent or "/"])
            return found[parent or "/"].clocks[plural]

    async def page(self, uri: str, query: str = "", **options: Any) -> list[Listed]:
        """The objects of a list that match a query string; ``options`` as of ``Page``."""
        async with self.storage.snapshot() as snapshot:
            return await snapshot.page(make_page(uri, query, **options))

    async def ids(self, uri: str, query: str = "", **options: Any) -> list[str]:
        """The ids of the objects of a page."""
        return [one.id for one in await self.page(uri, query, **options)]

    async def living(self, uri: str) -> list[str]:
        """The ids of what exists in a list, in its default order."""
        return await self.ids(uri, floor=(await self.clock(uri)).floor)


async def read_state(snapshot: Snapshot, uri: str) -> State:
    """An object and all above it."""
    path: ObjectPath = object_path(uri)
    uris = ["/", *(step.uri for step in path.chain)]
    found = await snapshot.objects(uris)
    return State({one: found.get(one) for one in uris})


def make_page(
    uri: str, query: str = "", *, order: Order = DEFAULT_ORDER, limit: int = 1000, **options: Any
) -> Page:
    """A page of a list, filtered by a query string; ``options`` as of ``Page``."""
    pairs = [tuple(pair.split("=", 1)) for pair in query.split("&") if pair]
    conditions = parse_query([(name, value) for name, value in pairs]).conditions
    floor = options.pop("floor", 0)
    return Page(list_path(uri), floor, conditions, order, limit, **options)
