import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from tornado.ioloop import IOLoop

from server.storage.mongo.driver import Driver, open_driver
from server.storage.mongo.idle import Reaper
from tests.faults import FaultyNetwork, Loss

pytestmark = pytest.mark.gen_test(timeout=30)

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def driver(mongo_uri: str, mongo_database: str, io_loop: IOLoop) -> Iterator[Driver]:
    async def open_one() -> Driver:
        return open_driver("pymongo", mongo_uri, mongo_database, 5000)

    opened = io_loop.run_sync(open_one)
    yield opened
    io_loop.run_sync(opened.close)


async def test_idle_transactions_of_ours_are_ended_and_those_of_others_are_not(
    driver: Driver, mongo_uri: str, mongo_client: Client, mongo_database: str
) -> None:
    reaper = Reaper(driver)
    assert await reaper.is_permitted()
    assert await reaper.is_alone()
    mongo_client[mongo_database]["things"].insert_many([{"_id": 1}, {"_id": 2}])
    with (
        Client(mongo_uri, appname="kintoun") as ours,
        Client(mongo_uri, appname="another") as theirs,
        ours.start_session() as abandoned,
        theirs.start_session() as living,
    ):
        for client, session, name in ((ours, abandoned, 1), (theirs, living, 2)):
            session.start_transaction()
            things = client[mongo_database]["things"]
            things.update_one({"_id": name}, {"$set": {"n": 1}}, session=session)
        # One that wrote just now may be of a living process.
        await reaper.end_abandoned()
        assert not await reaper.is_alone()
        for _ in range(500):
            await reaper.end_abandoned()
            if await reaper.is_alone():
                break
            await asyncio.sleep(0.01)
        with pytest.raises(OperationFailure, match="aborted"):
            abandoned.commit_transaction()
        living.commit_transaction()
    assert mongo_client[mongo_database]["things"].find_one({"n": 1}) == {"_id": 2, "n": 1}


async def test_who_cannot_look_does_not_end_anything_and_does_not_fail(
    network: FaultyNetwork, mongo_database: str
) -> None:
    driver = open_driver("pymongo", network.uri, mongo_database, 5000)
    reaper = Reaper(driver)
    network.lose("aggregate", Loss.REQUEST, 3)
    assert not await reaper.is_permitted()
    assert not await reaper.is_alone()
    await reaper.end_abandoned()
    assert "killSessions" not in network.commands
    await driver.close()
