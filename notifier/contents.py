"""What a topic holds at one instant, as its reader gets it: the pages of a snapshot."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from notifier.grounds import shared_objects
from notifier.hub import Ground
from notifier.views import Look
from server.core.filters import Condition
from server.core.json_text import dump_json
from server.core.objects import Listed
from server.core.paths import KINDS, ListPath, ObjectPath, object_path
from server.core.sorting import DEFAULT_ORDER, keys_of
from server.core.state import State
from server.storage.base import Page, Snapshot

PAGE_MAX_OBJECTS = 500
PAGE_MAX_BYTES = 256 << 10
"""Of one message of a snapshot; an object that is larger has one of its own."""

_READ_MAX_BYTES = 1 << 20


Mark: TypeAlias = Sequence[Sequence[Any]]
"""The sort keys of the object of a list after which what follows begins."""


class Portion(NamedTuple):
    """A page of a snapshot.

    Attributes:
        texts: its objects, as JSON.
        more: whether there is another after it.
        mark: where that begins; None where it can be read only from the beginning.
    """

    texts: list[bytes]
    more: bool
    mark: Mark | None


async def read_pages(
    snapshot: Snapshot, look: Look, ground: Ground, after: Mark | None = None
) -> AsyncGenerator[Portion, None]:
    """All that a look shows.

    Who may stop before the end closes it: nobody else would.

    Args:
        snapshot: on which the ground was read too.
        look: of the subscription.
        ground: on which it stands.
        after: of a list, where it begins.
    """
    page: list[bytes] = []
    size = 0
    last: Listed | None = None
    async with aclosing(_read_texts(snapshot, look, ground, after)) as texts:
        async for text, listed in texts:
            if page and (size + len(text) > PAGE_MAX_BYTES or len(page) >= PAGE_MAX_OBJECTS):
                yield Portion(page, True, _mark(last))
                page, size = [], 0
            page.append(text)
            size += len(text)
            last = listed
    yield Portion(page, False, _mark(last))


def _mark(last: Listed | None) -> Mark | None:
    return None if last is None else keys_of(DEFAULT_ORDER, last.data)


async def _read_texts(
    snapshot: Snapshot, look: Look, ground: Ground, after: Mark | None
) -> AsyncGenerator[tuple[bytes, Listed | None], None]:
    topic = look.topic
    if topic.feed:
        async with aclosing(_read_feed(snapshot, look)) as entries:
            async for path, text in entries:
                if look.matches(text):
                    yield _entry(path, look.show(text)), None
    elif topic.object is not None:
        found = await snapshot.objects([topic.object.uri])
        stored = found.get(topic.object.uri)
        if stored is not None and not stored.deleted and stored.position > ground.clock.floor:
            yield look.show(stored.json), None
    else:
        readers = None if look.rights.whole else look.rights.principals
        wanted = _page_of(topic.list, ground.clock.floor, topic.conditions)
        wanted = replace(wanted, readers=readers, after=after)
        async with aclosing(_read_list(snapshot, wanted)) as members:
            async for listed in members:
                yield look.show(listed.json), listed


def _entry(path: ObjectPath, text: bytes) -> bytes:
    head = dump_json({"uri": path.uri, "resource_name": path.kind.name})
    return b'%b,"data":%b}' % (head[:-1], text)


def _page_of(path: ListPath, floor: int, conditions: tuple[Condition, ...] = ()) -> Page:
    return Page(path, floor, conditions, DEFAULT_ORDER, PAGE_MAX_OBJECTS, max_bytes=_READ_MAX_BYTES)


async def _read_list(snapshot: Snapshot, page: Page) -> AsyncGenerator[Listed, None]:
    while True:
        found = await snapshot.page(page)
        for listed in found:
            yield listed
        size = sum(len(one.json) for one in found)
        if not found or (len(found) < PAGE_MAX_OBJECTS and size < _READ_MAX_BYTES):
            return
        page = replace(page, after=keys_of(DEFAULT_ORDER, found[-1].data))


async def _read_feed(
    snapshot: Snapshot, look: Look
) -> AsyncGenerator[tuple[ObjectPath, bytes], None]:
    """Everything in a bucket that may be seen: parents first, and each object once."""
    topic, rights = look.topic, look.rights
    seen: set[str] = set()
    lists = [] if not rights.whole else ["group", "collection"]
    lists = lists or [kind for kind in ("group", "collection") if kind in rights.kinds]
    if not rights.whole:
        state = State({})
        for stored in await shared_objects(snapshot, topic, rights, state):
            seen.add(stored.uri)
            yield stored.path, stored.json
    bucket = (await snapshot.objects([topic.path.uri]))[topic.path.uri]
    if bucket.uri not in seen and look.sees(bucket.path, ()):
        yield bucket.path, bucket.json
    for kind in lists:
        path = _list_in(bucket.path, kind)
        floor = bucket.clocks[path.kind.plural].floor
        async with aclosing(_read_list(snapshot, _page_of(path, floor))) as members:
            async for listed in members:
                if listed.uri not in seen:
                    yield object_path(listed.uri), listed.json
    collections = await _collections(snapshot, look, bucket.path)
    for uri in collections:
        collection = (await snapshot.objects([uri]))[uri]
        path = _list_in(collection.path, "record")
        floor = collection.clocks["records"].floor
        async with aclosing(_read_list(snapshot, _page_of(path, floor))) as members:
            async for listed in members:
                if listed.uri not in seen:
                    yield object_path(listed.uri), listed.json


async def _collections(snapshot: Snapshot, look: Look, bucket: ObjectPath) -> list[str]:
    """URIs of the collections all of whose records may be seen."""
    rights = look.rights
    if not rights.whole and "record" not in rights.kinds:
        return sorted(rights.collections)
    found = await snapshot.objects([bucket.uri])
    floor = found[bucket.uri].clocks["collections"].floor
    path = _list_in(bucket, "collection")
    listed = _read_list(snapshot, _page_of(path, floor))
    return [one.uri async for one in listed]


def _list_in(parent: ObjectPath, kind_name: str) -> ListPath:
    kind = KINDS[kind_name]
    return ListPath(kind, f"{parent.uri}/{kind.plural}", parent.chain)
