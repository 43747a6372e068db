"""How much is stored, counted by indexes: nothing is read but the clocks of the parents.

The clock of a list knows how many live in it. What stands in its index beyond those
are its tombstones.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any

from server.core.objects import Clock
from server.core.paths import ALL_KINDS, ROOT, ListPath, object_path
from server.storage.base import Tally
from server.storage.mongo.documents import Document, decode_object
from server.storage.mongo.schema import OBJECTS

AT_ONCE = 500
"""Lists that one command asks for."""

Documents = Callable[[Document], Coroutine[Any, Any, AsyncGenerator[list[Document], None]]]
"""The batches of a command's cursor, at the instant of a snapshot."""

Lists = dict[str, tuple[ListPath, Clock]]
"""Lists that exist, by URI."""

_CLOCKS = {"clocks": 1, "pos": 1, "last_modified": 1, "deleted": 1}


async def tally(documents: Documents) -> dict[str, Tally]:
    """How many objects and tombstones there are, by kind."""
    roots = await _lists_in(documents, {"_id": ROOT}, {})
    inner = await _lists_of(documents, roots)
    innermost = await _lists_of(documents, inner)
    lists = roots | inner | innermost
    stored = await _count(documents, lists)
    found = {name: Tally(0, 0) for name in ALL_KINDS}
    for uri, (path, clock) in lists.items():
        live, tombstones = found[path.kind.name]
        dead = max(0, stored.get(uri, 0) - clock.live)
        found[path.kind.name] = Tally(live + clock.live, tombstones + dead)
    return found


async def _lists_of(documents: Documents, above: Lists) -> Lists:
    """The lists in the objects of lists."""
    uris = [uri for uri, (path, _) in above.items() if path.kind.children]
    found: Lists = {}
    for part in _parts(uris):
        selector: Document = {"list": {"$in": part}, "deleted": False}
        if above[part[0]][0].ancestors:
            selector["bucket"] = {"$in": sorted({above[uri][0].bucket for uri in part})}
        found |= await _lists_in(documents, selector, above)
    return found


async def _lists_in(documents: Documents, selector: Document, above: Lists) -> Lists:
    found: Lists = {}
    async for batch in await documents({"filter": selector, "projection": _CLOCKS}):
        for one in map(decode_object, batch):
            list_uri = one.uri.rpartition("/")[0]
            # What is below the floor of its list does not exist.
            if one.uri == ROOT or one.position > above[list_uri][1].floor:
                found |= _own_lists(one.uri, one.clocks)
    return found


def _own_lists(uri: str, clocks: Any) -> Lists:
    lists: Lists = {}
    for kind in ALL_KINDS.values():
        if kind.plural not in clocks:
            continue
        if uri == ROOT:
            path = ListPath(kind, f"/{kind.plural}", ())
        else:
            path = ListPath(kind, f"{uri}/{kind.plural}", object_path(uri).chain)
        lists[path.uri] = path, clocks[kind.plural]
    return lists


async def _count(documents: Documents, lists: Lists) -> dict[str, int]:
    """How many objects and tombstones stand in the index of each list, above its floor."""
    counted: dict[str, int] = {}
    everything: list[Document] = [
        {"$match": {"bucket": {"$gt": ""}}},
        {"$group": {"_id": "$list", "count": {"$sum": 1}}},
    ]
    async for batch in await documents(_aggregation(everything)):
        counted |= {one["_id"]: one["count"] for one in batch if one["_id"] in lists}
    # Where a parent was made again, what its lists held before may be there still.
    made_again = [uri for uri, (_, clock) in lists.items() if clock.floor]
    for uri in made_again:
        path, clock = lists[uri]
        counted[uri] = 0
        own: Document = {"list": uri, "pos": {"$gt": clock.floor}}
        if path.ancestors:
            own["bucket"] = path.bucket
        counting: list[Document] = [{"$match": own}, {"$count": "count"}]
        pipeline = _aggregation(counting) if path.ancestors else _aggregation(counting, hint=None)
        async for batch in await documents(pipeline):
            counted[uri] = sum(one["count"] for one in batch)
    return counted


def _aggregation(pipeline: list[Document], hint: str | None = "list_pos") -> Document:
    command: Document = {"aggregate": OBJECTS, "pipeline": pipeline, "cursor": {}}
    return command if hint is None else command | {"hint": hint}


def _parts(uris: list[str]) -> Iterable[list[str]]:
    for start in range(0, len(uris), AT_ONCE):
        yield uris[start : start + AT_ONCE]
