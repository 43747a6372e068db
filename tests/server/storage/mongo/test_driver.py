import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database
from tornado.ioloop import IOLoop

from server.storage.mongo.driver import (
    Driver,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    open_driver,
)

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture(params=["pymongo", "motor"])
def driver(
    request: pytest.FixtureRequest, mongo_uri: str, mongo_database: str, io_loop: IOLoop
) -> Iterator[Driver]:
    async def open_one() -> Driver:
        return open_driver(request.param, mongo_uri, mongo_database, 5000)

    opened = io_loop.run_sync(open_one)
    yield opened
    io_loop.run_sync(opened.close)


async def test_transaction_is_seen_after_its_commit_and_not_before(
    driver: Driver, database: Database[dict[str, Any]]
) -> None:
    database.create_collection("things")
    session = await driver.start_session()
    await driver.begin(session)
    await driver.run({"insert": "things", "documents": [{"_id": 1}]}, session)
    assert database["things"].count_documents({}) == 0
    await session.commit_transaction()
    # A commit may be asked for again: its result may not have come back.
    await session.commit_transaction()
    assert database["things"].count_documents({}) == 1
    await session.end_session()


async def test_aborted_transaction_leaves_nothing(
    driver: Driver, database: Database[dict[str, Any]]
) -> None:
    database.create_collection("things")
    session = await driver.start_session()
    await driver.begin(session)
    await driver.run({"insert": "things", "documents": [{"_id": 1}]}, session)
    await session.abort_transaction()
    await session.end_session()
    assert database["things"].count_documents({}) == 0


async def test_errors_of_single_documents_are_answered_and_others_raised(driver: Driver) -> None:
    documents = [{"_id": 1}, {"_id": 1}]
    answer = await driver.run({"insert": "things", "documents": documents})
    assert [error["code"] for error in answer["writeErrors"]] == [11000]
    with pytest.raises(OperationFailure):
        await driver.run({"nothingOfTheKind": 1})


async def test_database_is_told_who_asks(driver: Driver) -> None:
    pipeline: list[dict[str, Any]] = [{"$currentOp": {}}, {"$match": {"appName": "kintoun"}}]
    answer = await driver.run_admin({"aggregate": 1, "pipeline": pipeline, "cursor": {}})
    assert answer["cursor"]["firstBatch"]


async def test_text_that_is_no_uri_is_refused() -> None:
    with pytest.raises(InvalidURI):
        open_driver("pymongo", "postgresql://localhost/", "kintoun", 100)


async def test_database_that_nobody_serves_is_an_error_after_the_selection_timeout() -> None:
    driver = open_driver("pymongo", "mongodb://127.0.0.1:1/", "kintoun", 50)
    with pytest.raises(PyMongoError):
        await driver.run({"ping": 1})
    await driver.close()


def test_driver_that_was_not_chosen_is_not_imported() -> None:
    code = (
        "import sys\n"
        "from server.storage.mongo.driver import open_driver\n"
        "import server.storage.mongo.storage\n"
        "sys.exit('motor' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
