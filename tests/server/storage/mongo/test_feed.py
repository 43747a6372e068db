import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from tornado.ioloop import IOLoop

from server.core.errors import Unavailable
from server.storage.base import Change, Feed, Gap
from server.storage.mongo import feed as mongo_feed
from server.storage.mongo import storage as mongo_storage
from server.storage.mongo.storage import MongoStorage
from tests.faults import FaultyNetwork, Loss
from tests.server.storage.contract_feed import collect, open_feed, spell
from tests.server.storage.mongo.conftest import OpenStorage
from tests.server.storage.scenes import ReadLog, Scene, put

pytestmark = pytest.mark.gen_test(timeout=60)

Client = MongoClient[dict[str, Any]]


@pytest.fixture(params=["pymongo", "motor"])
def storage(
    request: pytest.FixtureRequest,
    io_loop: IOLoop,
    network: FaultyNetwork,
    open_storage: OpenStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> MongoStorage:
    """A storage over the faulty network."""
    monkeypatch.setattr(mongo_storage, "SELECTION_TIMEOUT_MS", 500)
    monkeypatch.setattr(mongo_feed, "AWAIT_MS", 100)
    options = {"driver": request.param, "uri": network.uri, "retry_after_seconds": 9}
    opened: MongoStorage = io_loop.run_sync(lambda: open_storage(**options))
    return opened


@pytest.fixture
def writer(io_loop: IOLoop, open_storage: OpenStorage, read_log: ReadLog) -> Scene:
    """Writes to the same database, over a network without faults."""
    return Scene(io_loop.run_sync(open_storage), read_log)


@contextmanager
def refuse(
    client: Client, command: str, code: int, times: int = 1, labels: Sequence[str] = ()
) -> Iterator[None]:
    """Let the database refuse the server's next commands of a name."""
    data = {"failCommands": [command], "errorCode": code, "appName": "kintoun"}
    data["errorLabels"] = list(labels)
    failure = {"configureFailPoint": "failCommand", "data": data}
    client.admin.command({**failure, "mode": {"times": times}})
    try:
        yield
    finally:
        client.admin.command({**failure, "mode": "off"})


async def collect_in_spite(feed: Feed, count: int) -> tuple[list[Change], int]:
    """Read until there are so many changes; how often it was told to come again, too."""
    changes: list[Change] = []
    unavailable = 0
    while len(changes) < count:
        try:
            changes += await feed.read()
        except Unavailable:
            unavailable += 1
    return changes, unavailable


async def put_some(writer: Scene, collection: str, *names: str) -> None:
    for name in names:
        await writer.do(put(f"{collection}/records/{name}"))


def open_cursors(client: Client) -> int:
    status = client.admin.command("serverStatus")
    opened: int = status["metrics"]["cursor"]["open"]["total"]
    return opened


async def wait_for_cursors(client: Client, count: int) -> None:
    """Wait until so many are open: one that is read is killed a little later."""
    for _ in range(500):
        if open_cursors(client) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{open_cursors(client)} cursors are open")


def idle_cursors(client: Client, database: str) -> list[int]:
    """Ids of the cursors that wait for their client."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleCursors": True}},
        {"$match": {"type": "idleCursor", "ns": f"{database}.revisions"}},
    ]
    return [one["cursor"]["cursorId"] for one in client.admin.aggregate(pipeline)]


@pytest.mark.parametrize("loss", list(Loss))
async def test_connection_that_is_lost_loses_no_change(
    scene: Scene, writer: Scene, network: FaultyNetwork, loss: Loss
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        await put_some(writer, collection, "a", "b")
        network.lose("getMore", loss)
        with pytest.raises(Unavailable) as refusal:
            await feed.read()
        assert refusal.value.headers == {"Retry-After": "9"}
        await put_some(writer, collection, "c")
        assert spell(await collect(feed, 3)) == ["create a", "create b", "create c"]
        # In the middle, too.
        network.lose("getMore", loss)
        await put_some(writer, collection, "d")
        changes, unavailable = await collect_in_spite(feed, 1)
        assert (spell(changes), unavailable) == (["create d"], 1)


async def test_changes_during_an_outage_are_told_after_it(
    scene: Scene, writer: Scene, network: FaultyNetwork
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        at = feed.at
        reading = asyncio.ensure_future(feed.read())
        await network.cut()
        with pytest.raises(Unavailable):
            await reading
        await put_some(writer, collection, "a", "b")
        with pytest.raises(Unavailable):
            await feed.read()
        await network.restore()
        changes, _ = await collect_in_spite(feed, 2)
        assert spell(changes) == ["create a", "create b"]
        assert feed.at == at


async def test_feed_of_a_database_that_is_gone_cannot_be_opened(
    scene: Scene, network: FaultyNetwork
) -> None:
    await network.cut()
    with pytest.raises(Unavailable):
        await scene.storage.feed()
    await network.restore()


async def test_reply_that_never_comes_is_not_waited_for_for_ever(
    scene: Scene, writer: Scene, network: FaultyNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        monkeypatch.setattr(mongo_feed, "REPLY_SECONDS", 0.2)
        hold = network.hold("getMore")
        await put_some(writer, collection, "a")
        with pytest.raises(Unavailable):
            await feed.read()
        assert hold.arrived.is_set()
        monkeypatch.undo()
        assert spell(await collect(feed, 1)) == ["create a"]
        hold.released.set()


async def test_cursor_that_somebody_kills_is_replaced(
    scene: Scene, writer: Scene, mongo_client: Client, mongo_database: str
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        await put_some(writer, collection, "a")
        assert spell(await collect(feed, 1)) == ["create a"]
        await put_some(writer, collection, "b")
        (cursor,) = idle_cursors(mongo_client, mongo_database)
        mongo_client[mongo_database].command("killCursors", "revisions", cursors=[cursor])
        with pytest.raises(Unavailable):
            await feed.read()
        assert spell(await collect(feed, 1)) == ["create b"]


@pytest.mark.parametrize(
    ("code", "labels"),
    [
        (43, ()),
        (237, ()),
        (189, ()),
        (10107, ()),
        (11602, ()),
        (262, ("ResumableChangeStreamError",)),
    ],
)
async def test_refusal_that_passes_is_no_gap(
    scene: Scene, writer: Scene, mongo_client: Client, code: int, labels: Sequence[str]
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        await put_some(writer, collection, "a")
        with refuse(mongo_client, "getMore", code, 4, labels):
            for _ in range(4):
                with pytest.raises(Unavailable):
                    await feed.read()
            await put_some(writer, collection, "b")
            assert spell(await collect(feed, 2)) == ["create a", "create b"]


@pytest.mark.parametrize("code", [260, 280, 286])
@pytest.mark.parametrize("command", ["getMore", "aggregate"])
async def test_log_that_the_database_has_no_more_is_a_gap_and_goes_on_from_now(
    scene: Scene,
    writer: Scene,
    network: FaultyNetwork,
    mongo_client: Client,
    command: str,
    code: int,
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        at = feed.at
        await put_some(writer, collection, "lost")
        if command == "aggregate":
            network.lose("getMore", Loss.REQUEST)
            with pytest.raises(Unavailable):
                await feed.read()
        with refuse(mongo_client, command, code), pytest.raises(Gap):
            await feed.read()
        assert feed.at > at
        async with scene.storage.snapshot() as snapshot:
            # What was lost is shown to those who read again.
            assert f"{collection}/records/lost" in await snapshot.objects(
                [f"{collection}/records/lost"]
            )
            assert snapshot.at >= feed.at
        await put_some(writer, collection, "later")
        changes = await collect(feed, 1)
        assert spell(changes) == ["create later"]
        assert changes[0].at > feed.at


async def test_gap_is_told_when_the_new_stream_is_open_and_not_before(
    scene: Scene, writer: Scene, network: FaultyNetwork, mongo_client: Client
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        at = feed.at
        # A read is tried twice.
        network.lose("aggregate", Loss.REQUEST, times=2)
        with refuse(mongo_client, "getMore", 286), pytest.raises(Unavailable):
            await feed.read()
        assert feed.at == at
        await put_some(writer, collection, "lost")
        with pytest.raises(Gap):
            await feed.read()
        assert feed.at > at
        await put_some(writer, collection, "later")
        assert spell(await collect(feed, 1)) == ["create later"]


async def test_place_in_the_log_that_is_refused_again_and_again_is_given_up(
    scene: Scene, writer: Scene, mongo_client: Client
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        # As for a token whose form the database does not know.
        with refuse(mongo_client, "getMore", 50811, times=3):
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await feed.read()
            with pytest.raises(Gap):
                await feed.read()
        await put_some(writer, collection, "later")
        assert spell(await collect(feed, 1)) == ["create later"]


async def test_log_that_is_dropped_is_a_gap_after_what_it_still_told(
    scene: Scene, writer: Scene, database: Database[dict[str, Any]]
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        await put_some(writer, collection, "a")
        database.drop_collection("revisions")
        assert spell(await collect(feed, 1)) == ["create a"]
        with pytest.raises(Gap):
            await collect(feed, 1)
        await put_some(writer, collection, "b")
        assert spell(await collect(feed, 1)) == ["create b"]


async def test_what_is_taken_out_of_the_log_is_not_told(
    scene: Scene, writer: Scene, database: Database[dict[str, Any]]
) -> None:
    collection = await writer.make_collection()
    async with open_feed(scene) as feed:
        await put_some(writer, collection, "a")
        database["revisions"].delete_many({"uri": f"{collection}/records/a"})
        database["revisions"].update_many({}, {"$set": {"by": "somebody"}})
        await put_some(writer, collection, "b")
        assert spell(await collect(feed, 2)) == ["create a", "create b"]


async def test_feed_leaves_no_cursor_behind(
    scene: Scene, writer: Scene, mongo_client: Client, network: FaultyNetwork
) -> None:
    collection = await writer.make_collection()
    before = open_cursors(mongo_client)
    async with open_feed(scene) as feed:
        hold = network.hold("getMore")
        reading = asyncio.ensure_future(feed.read())
        await hold.arrived.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        hold.released.set()
        network.lose("getMore", Loss.REPLY)
        await put_some(writer, collection, "a")
        changes, _ = await collect_in_spite(feed, 1)
        assert spell(changes) == ["create a"]
        await wait_for_cursors(mongo_client, before + 1)
    await wait_for_cursors(mongo_client, before)


async def test_feed_is_closed_also_when_the_database_is_gone(
    scene: Scene, network: FaultyNetwork
) -> None:
    feed = await scene.storage.feed()
    await network.cut()
    await feed.close()
    await network.restore()
