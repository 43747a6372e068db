import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database
from tornado.ioloop import IOLoop

from server.storage.mongo.driver import Driver, open_driver
from server.storage.mongo.schema import INDEXES, prepare, put_missing

pytestmark = pytest.mark.gen_test(timeout=30)

Documents = Database[dict[str, Any]]


@pytest.fixture
def driver(mongo_uri: str, mongo_database: str, io_loop: IOLoop) -> Iterator[Driver]:
    async def open_one() -> Driver:
        return open_driver("pymongo", mongo_uri, mongo_database, 5000)

    opened = io_loop.run_sync(open_one)
    yield opened
    io_loop.run_sync(opened.close)


async def test_indexes_and_root_are_made_once_however_many_begin(
    driver: Driver, database: Documents
) -> None:
    await asyncio.gather(*(prepare(driver) for _ in range(3)))
    root = database["objects"].find_one({"_id": "/"})
    await prepare(driver)
    assert root is not None
    assert database["objects"].find_one({"_id": "/"}) == root
    assert database["objects"].count_documents({}) == 1
    for collection, indexes in INDEXES.items():
        found = database[collection].index_information()
        assert set(found) == {"_id_", *(one["name"] for one in indexes)}


async def test_document_that_is_there_is_left_alone(driver: Driver, database: Documents) -> None:
    await put_missing(driver, "things", {"_id": "x", "value": 1})
    await put_missing(driver, "things", {"_id": "x", "value": 2})
    assert list(database["things"].find()) == [{"_id": "x", "value": 1}]


@pytest.mark.parametrize(
    ("selector", "order", "index"),
    [
        ({"bucket": "b", "list": "/buckets/b/groups"}, {"pos": 1}, "list_pos"),
        (
            {"bucket": "b", "list": "/buckets/b/groups"},
            {"last_modified": -1, "id": 1},
            "list_order",
        ),
        ({"list": "/buckets"}, {"pos": 1}, "root_buckets"),
        ({"principals": {"$in": ["x"]}}, {}, "principals"),
        ({"members": {"$in": ["x"]}}, {}, "members"),
        ({"purge": True}, {}, "purge"),
    ],
)
async def test_finds_of_the_server_walk_an_index(
    driver: Driver,
    database: Documents,
    selector: dict[str, Any],
    order: dict[str, int],
    index: str,
) -> None:
    await prepare(driver)
    found = database["objects"].find(selector)
    found = found.sort(list(order.items())) if order else found
    plan = str(found.explain()["queryPlanner"]["winningPlan"])
    assert f"'indexName': '{index}'" in plan
    assert "'stage': 'SORT'" not in plan
