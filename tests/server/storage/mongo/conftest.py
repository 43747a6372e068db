"""Fixtures of the tests on MongoDB: storages that are closed with the test."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from tornado.ioloop import IOLoop

from server.core.revisions import Revision
from server.storage.base import StorageOptions
from server.storage.mongo.documents import decode_revision
from server.storage.mongo.storage import MongoStorage, open_mongo
from tests.faults import FaultyNetwork
from tests.server.storage.scenes import RULES, ReadLog

OpenStorage = Callable[..., Awaitable[MongoStorage]]
"""``await open_storage(uri=…, driver=…, …)``: options as of ``StorageOptions``."""


@pytest.fixture
def open_storage(mongo_uri: str, mongo_database: str, io_loop: IOLoop) -> Iterator[OpenStorage]:
    """Opens storages on the test's database, which are closed with the test."""
    opened: list[MongoStorage] = []

    async def open_one(**options: Any) -> MongoStorage:
        given = {"rules": RULES, "uri": mongo_uri, "database": mongo_database, **options}
        storage = await open_mongo(StorageOptions(**given))
        opened.append(storage)
        return storage

    async def close_all() -> None:
        for storage in opened:
            await storage.close()

    yield open_one
    io_loop.run_sync(close_all)


@pytest.fixture
def database(
    mongo_client: MongoClient[dict[str, Any]], mongo_database: str
) -> Database[dict[str, Any]]:
    """The test's database, as a blocking client sees it."""
    return mongo_client[mongo_database]


@pytest.fixture
def read_log(database: Database[dict[str, Any]]) -> ReadLog:
    """Reads all revisions of the test's database."""

    async def read() -> list[Revision]:
        return [decode_revision(document) for document in database["revisions"].find()]

    return read


@pytest.fixture
def network(io_loop: IOLoop, mongo_client: MongoClient[dict[str, Any]]) -> Iterator[FaultyNetwork]:
    """A network before MongoDB; to be asked for before what opens storages over it."""
    address = mongo_client.address
    assert address is not None
    proxy = FaultyNetwork(*address)
    io_loop.run_sync(proxy.restore)
    yield proxy
    io_loop.run_sync(proxy.cut)
