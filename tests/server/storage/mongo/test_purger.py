import asyncio
from typing import Any

import pytest
from pymongo.database import Database
from tornado.ioloop import IOLoop

from server.core.commands import Flush
from server.storage.mongo.purger import BATCH
from server.storage.mongo.storage import MongoStorage
from tests.faults import FaultyNetwork, Loss
from tests.server.storage.mongo.conftest import OpenStorage
from tests.server.storage.scenes import BOB, ReadLog, Scene, delete, put

pytestmark = pytest.mark.gen_test(timeout=60)

Documents = Database[dict[str, Any]]


@pytest.fixture
def storage(io_loop: IOLoop, open_storage: OpenStorage) -> MongoStorage:
    opened: MongoStorage = io_loop.run_sync(open_storage)
    return opened


async def wait_until_purged(database: Documents) -> None:
    """Until no parent is marked any more: the purger's own work, watched from outside."""
    for _ in range(2000):
        if database["objects"].count_documents({"purge": True}) == 0:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("never purged")


async def fill(scene: Scene, uri: str, count: int) -> None:
    """Many small records."""
    for start in range(0, count, 500):
        await asyncio.gather(
            *(scene.commit(put(f"{uri}/records/r{n}")) for n in range(start, start + 500))
        )


def ids(database: Documents) -> set[str]:
    """What is stored of objects, tombstones among them."""
    return {document["_id"] for document in database["objects"].find({}, {"_id": 1})}


async def test_objects_and_log_of_a_deleted_bucket_are_removed_and_its_clocks_stay(
    scene: Scene, database: Documents
) -> None:
    collection = await scene.make_collection()
    bucket = collection.split("/collections")[0]
    await fill(scene, collection, 2 * BATCH + 500)
    await scene.do(put(f"{bucket}/groups/g"))
    spared = await scene.make_collection()
    await scene.fill(spared, {}, {})
    last = (await scene.clock(f"{collection}/records")).position
    await scene.do(delete(bucket))
    await wait_until_purged(database)
    other = spared.split("/collections")[0]
    alive = {"/", other, spared, f"{spared}/records/r0", f"{spared}/records/r1"}
    # Of parents a hull stays, so that time does not go back.
    assert ids(database) == alive | {bucket, collection}
    assert [(one.uri, one.action) for one in await scene.log() if one.bucket in bucket] == [
        (bucket, "delete")
    ]
    assert len([one for one in await scene.log() if one.bucket in other]) == 4
    hull = database["objects"].find_one({"_id": collection})
    assert hull is not None
    assert hull["json"] == b"{}"
    assert hull["clocks"]["records"]["pos"] == last
    await scene.commit(put(bucket, by=BOB), put(collection, by=BOB))
    assert (await scene.clock(f"{collection}/records")).position > last
    assert await scene.living(f"{collection}/records") == []


async def test_deleted_collection_of_a_living_bucket_is_emptied(
    scene: Scene, database: Documents
) -> None:
    collection = await scene.make_collection()
    bucket = collection.split("/collections")[0]
    await scene.fill(collection, {}, {})
    tombstone = await scene.write(delete(collection))
    await wait_until_purged(database)
    assert ids(database) == {"/", bucket, collection}
    # The tombstone is still told to those who ask what has changed.
    found = await scene.page(f"{bucket}/collections", tombstones=True)
    assert [one.json for one in found] == [tombstone.json]
    log = sorted(await scene.log(), key=lambda one: one.seq)
    assert [(one.uri, one.action) for one in log] == [
        (bucket, "create"),
        (collection, "create"),
        (collection, "delete"),
    ]


async def test_what_is_stored_in_a_parent_made_again_survives_the_purge_of_the_old_one(
    scene: Scene, database: Documents
) -> None:
    collection = await scene.make_collection()
    bucket = collection.split("/collections")[0]
    for _ in range(5):
        await fill(scene, collection, 500)
        # The same ids again, while the purger is at work on the old ones.
        await scene.do(delete(bucket))
        await scene.commit(put(bucket), put(collection))
        await asyncio.gather(
            *(scene.commit(put(f"{collection}/records/r{n}", {"new": n})) for n in range(100))
        )
    await wait_until_purged(database)
    uri = f"{collection}/records"
    assert sorted(await scene.living(uri)) == sorted(f"r{n}" for n in range(100))
    assert (await scene.clock(uri)).live == 100
    floor = (await scene.clock(f"{bucket}/changes")).floor
    log = await scene.log()
    assert len([one for one in log if one.list == uri and one.seq > floor]) == 100
    assert all(one.seq > floor for one in log)
    objects = database["objects"].count_documents({"list": uri})
    assert objects == 100


async def test_purge_that_was_interrupted_is_finished_by_who_starts_next(
    network: FaultyNetwork, open_storage: OpenStorage, read_log: ReadLog, database: Documents
) -> None:
    first = await open_storage(uri=network.uri)
    scene = Scene(first, read_log)
    collection = await scene.make_collection()
    bucket = collection.split("/collections")[0]
    await fill(scene, collection, 1500)
    held = network.hold("delete")
    await scene.do(delete(bucket))
    await held.arrived.wait()
    await first.close()
    assert database["objects"].count_documents({"purge": True}) == 1
    assert len(ids(database)) > 1500
    await open_storage()
    await wait_until_purged(database)
    assert ids(database) == {"/", bucket, collection}


async def test_purger_survives_the_loss_of_the_database(
    network: FaultyNetwork,
    open_storage: OpenStorage,
    read_log: ReadLog,
    database: Documents,
) -> None:
    scene = Scene(await open_storage(uri=network.uri), read_log)
    collection = await scene.make_collection()
    await scene.fill(collection, {})
    network.lose("delete", Loss.REQUEST)
    await scene.do(delete(collection))
    # What the loss has interrupted goes on when there is something new to do.
    other = await scene.make_collection()
    await scene.commit(delete(other), put(other))
    await wait_until_purged(database)
    assert f"{collection}/records/r0" not in ids(database)


async def test_two_purgers_at_once_do_not_disturb_each_other(
    scene: Scene, database: Documents, open_storage: OpenStorage
) -> None:
    await open_storage()
    collections = [await scene.make_collection() for _ in range(3)]
    for collection in collections:
        await scene.fill(collection, {}, {}, {})
    for collection in collections:
        await scene.do(delete(collection.split("/collections")[0]))
    await wait_until_purged(database)
    assert database["objects"].count_documents({"deleted": False}) == 1


async def test_purge_goes_on_after_everything_was_flushed(
    scene: Scene, database: Documents
) -> None:
    collection = await scene.make_collection()
    bucket = collection.split("/collections")[0]
    await scene.fill(collection, {}, {})
    await scene.commit(Flush((bucket,), "second"))
    await wait_until_purged(database)
    assert ids(database) == {"/", bucket, collection}
    # It still lives, and takes away what is deleted later.
    later = await scene.make_collection()
    await scene.fill(later, {})
    await scene.do(delete(later))
    await wait_until_purged(database)
    assert f"{later}/records/r0" not in ids(database)
