from typing import Any

from pymongo import MongoClient

from server.storage.mongo.cursors import BATCH, find_all, run_read
from server.storage.mongo.driver import open_driver
from server.storage.mongo.schema import OBJECTS
from tests.servers import run_alone


def _fill(client: MongoClient[dict[str, Any]], database: str, count: int) -> None:
    client[database][OBJECTS].insert_many([{"_id": number} for number in range(count)])


def _open_cursors(client: MongoClient[dict[str, Any]]) -> int:
    status = client.admin.command("serverStatus")
    opened: int = status["metrics"]["cursor"]["open"]["total"]
    return opened


def test_all_documents_come_in_batches(
    mongo_uri: str, mongo_client: MongoClient[dict[str, Any]], mongo_database: str
) -> None:
    _fill(mongo_client, mongo_database, 2 * BATCH + 1)

    async def read() -> list[list[dict[str, Any]]]:
        driver = open_driver("pymongo", mongo_uri, mongo_database, 5000)
        session = await driver.start_session()
        command = {"find": OBJECTS, "sort": {"_id": 1}, "batchSize": BATCH}
        cursor = (await run_read(driver, command, session))["cursor"]
        batches = [batch async for batch in find_all(driver, cursor, session)]
        await session.end_session()
        await driver.close()
        return batches

    batches = run_alone(read())
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 1]
    assert [one["_id"] for batch in batches for one in batch] == list(range(2 * BATCH + 1))


def test_who_leaves_early_leaves_no_cursor_open(
    mongo_uri: str, mongo_client: MongoClient[dict[str, Any]], mongo_database: str
) -> None:
    _fill(mongo_client, mongo_database, 3 * BATCH)
    before = _open_cursors(mongo_client)

    async def read() -> int:
        driver = open_driver("pymongo", mongo_uri, mongo_database, 5000)
        session = await driver.start_session()
        command = {"find": OBJECTS, "batchSize": BATCH}
        cursor = (await run_read(driver, command, session))["cursor"]
        assert _open_cursors(mongo_client) == before + 1
        batches = find_all(driver, cursor, session)
        seen = len(await anext(batches))
        await batches.aclose()
        await session.end_session()
        await driver.close()
        return seen

    assert run_alone(read()) == BATCH
    assert _open_cursors(mongo_client) == before
