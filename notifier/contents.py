"""What a topic holds at one instant, as its reader gets it: the pages of a snapshot."""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

from notifier.grounds import shared_objects
from notifier.hub import Ground
from notifier.topics import Topic
from notifier.views import Look
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


async def read_pages(
    snapshot: Snapshot, look: Look, ground: Ground
) -> AsyncGenerator[tuple[list[bytes], bool], None]:
    """All that a look shows, as JSON texts, and whether there is more after them.

    Who may stop before the end closes it: nobody else would.

    Args:
        snapshot: on which the ground was read too.
        look: of the subscription.
        ground: on which it stands.
    """
    page: list[bytes] = []
    size = 0
    async with aclosing(_read_texts(snapshot, look, ground)) as texts:
        async for text in texts:
            if page and (size + len(text) > PAGE_MAX_BYTES or len(page) >= PAGE_MAX_OBJECTS):
                yield page, True
                page, size = [], 0
            page.append(text)
            size += len(text)
    yield page, False


async def _read_texts(
    snapshot: Snapshot, look: Look, ground: Ground
) -> AsyncGenerator[bytes, None]:
    topic = look.topic
    if topic.feed:
        async with aclosing(_read_feed(snapshot, look)) as entries:
            async for path, text in entries:
                if look.matches(text):
                    yield _entry(path, look.show(text))
    elif topic.object is not None:
        found = await snapshot.objects([topic.object.uri])
        stored = found.get(topic.object.uri)
        if stored is not None and not stored.deleted and stored.position > ground.clock.floor:
            yield look.show(stored.json)
    else:
        readers = None if look.rights.whole else look.rights.principals
        floor = ground.clock.floor
        async with aclosing(_read_list(snapshot, topic.list, floor, topic, readers)) as members:
            async for listed in members:
                yield look.show(listed.json)


def _entry(path: ObjectPath, text: bytes) -> bytes:
    head = dump_json({"uri": path.uri, "resource_name": path.kind.name})
    return b'%b,"data":%b}' % (head[:-1], text)


async def _read_list(
    snapshot: Snapshot,
    path: ListPath,
    floor: int,
    topic: Topic,
    readers: Collection[str] | None = None,
) -> AsyncGenerator[Listed, None]:
    after = None
    while True:
        page = Page(
            path,
            floor,
            topic.conditions if not topic.feed else (),
            DEFAULT_ORDER,
            PAGE_MAX_OBJECTS,
            after,
            readers=readers,
            max_bytes=_READ_MAX_BYTES,
        )
        found = await snapshot.page(page)
        for listed in found:
            yield listed
        size = sum(len(one.json) for one in found)
        if not found or (len(found) < PAGE_MAX_OBJECTS and size < _READ_MAX_BYTES):
            return
        after = keys_of(DEFAULT_ORDER, found[-1].data)


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
        async with aclosing(_read_list(snapshot, path, floor, topic)) as members:
            async for listed in members:
                if listed.uri not in seen:
                    yield object_path(listed.uri), listed.json
    collections = await _collections(snapshot, look, bucket.path)
    for uri in collections:
        collection = (await snapshot.objects([uri]))[uri]
        path = _list_in(collection.path, "record")
        floor = collection.clocks["records"].floor
        async with aclosing(_read_list(snapshot, path, floor, topic)) as members:
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
    listed = _read_list(snapshot, path, floor, look.topic)
    return [one.uri async for one in listed]


def _list_in(parent: ObjectPath, kind_name: str) -> ListPath:
    kind = KINDS[kind_name]
    return ListPath(kind, f"{parent.uri}/{kind.plural}", parent.chain)
