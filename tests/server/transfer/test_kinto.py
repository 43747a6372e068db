from collections.abc import Iterator
from typing import Any

import pytest

from server.core.commands import Loaded
from server.core.positions import timestamp_of
from server.storage.memory import MemoryStorage
from server.transfer.checks import Check
from server.transfer.entries import Entry, Problem, Stamp
from server.transfer.here import find_clock
from server.transfer.kinto import KintoSource, Wanted
from server.transfer.kinto_client import Credentials, KintoClient
from server.transfer.sources import SourceError
from server.transfer.writer import Loading, Writer
from tests.server.storage.scenes import list_path
from tests.server.transfer.canned import Reply, answering
from tests.server.transfer.stocks import BUCKET, COLLECTION, RECORDS, find
from tests.servers import ThreadServer
from tests.system.clients import Client

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    given = {"storage_backend": "memory", "includes": "flush", "paginate_by": 4}
    server = ThreadServer(given, {})
    yield server
    server.stop()


@pytest.fixture
def alice(server: ThreadServer) -> Iterator[Client]:
    client = Client(server.url)
    client.ask("POST", "/__flush__")
    client.put(BUCKET, {"title": "B"})
    client.put(f"{BUCKET}/groups/g", {"members": ["basicauth:x"]})
    client.put(COLLECTION)
    for n in range(10):
        client.put(f"{RECORDS}/r{n}", {"n": n})
    client.put(f"{RECORDS}/old", {"last_modified": 1_400_000_000_000})
    client.put(f"{RECORDS}/odd", {"deleted": True})
    client.ask("DELETE", f"{RECORDS}/r3")
    yield client
    client.close()


def source_of(server: ThreadServer, user: str = "alice", **wanted: Any) -> KintoSource:
    client = KintoClient(server.url, Credentials(user, "secret"))
    return KintoSource(client, Wanted(**wanted))


async def read(source: KintoSource, marks: dict[str, int] | None = None) -> list[Any]:
    return [item async for item in source.read(marks or {})]


async def test_objects_come_with_permissions_and_tombstones_in_the_order_of_their_dates(
    server: ThreadServer, alice: Client
) -> None:
    items = await read(source_of(server))
    entries = [one for one in items if isinstance(one, Entry)]
    uris = [one.path.uri for one in entries]
    names = [f"r{n}" for n in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
    assert uris == [BUCKET, f"{BUCKET}/groups/g", COLLECTION] + [
        f"{RECORDS}/{name}" for name in ("old", *names, "odd", "r3")
    ]
    assert [one.path.id for one in entries if one.deleted] == ["r3"]
    for one in entries[:-1]:
        assert one.content.permissions is not None
        assert len(one.content.permissions["write"]) == 1
    stamps = {one.path.uri: one.timestamp for one in items if isinstance(one, Stamp)}
    assert stamps[RECORDS] == entries[-1].content.date
    assert list(stamps) == [f"{BUCKET}/groups", RECORDS, f"{BUCKET}/collections", "/buckets"]


async def test_server_that_was_imported_does_not_differ(
    server: ThreadServer, alice: Client, storage: MemoryStorage
) -> None:
    source, told = source_of(server), list[str]()
    for expected in ({Loaded.CREATED, Loaded.DELETED}, {Loaded.SAME}):
        writer = Writer(storage, source, Loading(tell=told.append))
        await writer.run()
        assert set(writer.tally.outcomes) == expected
    check = Check(storage, source, False, told.append)
    await check.run()
    assert (check.compared, told) == (15, [])
    done, total = source.progress()
    assert done >= total > 10


async def test_lists_have_the_etags_that_clients_know(
    server: ThreadServer, alice: Client, storage: MemoryStorage
) -> None:
    await Writer(storage, source_of(server), Loading()).run()
    for uri in (RECORDS, f"{BUCKET}/groups", f"{BUCKET}/collections"):
        clock = await find_clock(storage, list_path(uri))
        assert clock is not None
        assert f'"{timestamp_of(clock.position)}"' == alice.ask("GET", uri).etag


async def test_what_happened_since_is_taken_over_by_another_import(
    server: ThreadServer, alice: Client, storage: MemoryStorage
) -> None:
    await Writer(storage, source_of(server), Loading()).run()
    alice.put(f"{RECORDS}/r1", {"n": "new"})
    alice.ask("DELETE", f"{RECORDS}/r2")
    writer = Writer(storage, source_of(server), Loading())
    await writer.run()
    assert writer.tally.outcomes[Loaded.UPDATED] == writer.tally.outcomes[Loaded.DELETED] == 1
    gone = await find(storage, f"{RECORDS}/r2")
    assert gone is not None
    assert gone.deleted


async def test_reading_goes_on_after_a_mark_and_leaves_no_date_out(
    server: ThreadServer, alice: Client
) -> None:
    everything = await read(source_of(server))
    middle = next(one for one in everything if isinstance(one, Entry) and one.path.id == "r5")
    rest = await read(source_of(server), dict([middle.mark]))
    ids = [one.path.id for one in rest if isinstance(one, Entry)]
    assert ids == ["b", "g", "c", "r5", "r6", "r7", "r8", "r9", "odd", "r3"]


async def test_only_the_buckets_that_are_wanted_are_read(
    server: ThreadServer, alice: Client
) -> None:
    alice.put("/buckets/x")
    uris = [one.path.uri for one in await read(source_of(server, buckets=("x",)))]
    assert uris == ["/buckets/x", "/buckets/x/groups", "/buckets/x/collections"]
    with pytest.raises(SourceError, match="the bucket nothing"):
        await read(source_of(server, buckets=("nothing",)))


async def test_list_that_is_not_shown_is_told_and_the_rest_is_read(
    server: ThreadServer, alice: Client
) -> None:
    body = {"permissions": {"collection:create": ["system.Everyone"]}}
    alice.ask("PATCH", BUCKET, body)
    items = await read(source_of(server, "bob", buckets=("b",)))
    assert isinstance(items[0], Entry)
    assert items[0].content.permissions is None
    problems = [one.place for one in items if isinstance(one, Problem)]
    assert problems == [f"{BUCKET}/groups"]


async def test_what_cannot_be_stored_is_told_with_its_address() -> None:
    hello = {"settings": {"batch_max_requests": 25}}
    bucket = {"data": {"id": "b", "last_modified": 1 << 50}, "permissions": {}}
    async with answering((200, {}, hello), (200, {}, bucket)) as (url, _):
        source = KintoSource(KintoClient(url, Credentials()), Wanted(buckets=("b",)))
        (problem,) = await read(source)
    assert isinstance(problem, Problem)
    assert (problem.place, "should be between" in problem.reason) == (BUCKET, True)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((200, {}, {"hello": "world"}), "is no Kinto"),
        ((200, {}, []), "is no Kinto"),
        ((404, {}, {}), "does not show its root"),
        ((200, {}, {"settings": {}}), "does not know this user"),
    ],
)
async def test_what_is_no_kinto_or_knows_no_such_user_is_an_error(reply: Reply, words: str) -> None:
    async with answering(reply) as (url, _):
        source = KintoSource(KintoClient(url, Credentials("alice", "wrong")), Wanted())
        with pytest.raises(SourceError, match=words):
            await read(source)


async def test_key_tells_one_import_from_another(server: ThreadServer) -> None:
    keys = [
        source_of(server).key,
        source_of(server, buckets=("x",)).key,
        source_of(server, accounts=True).key,
    ]
    assert len(set(keys)) == 3
    assert source_of(server).key == keys[0]
