from typing import Any

from pymongo import MongoClient

from server.storage.mongo.cursors import BATCH, PROBE, Pace, find_all, run_read
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


def test_batches_of_what_has_a_bound_are_as_large_as_its_documents_allow() -> None:
    pace = Pace(10_000)
    assert pace.batch_size == PROBE
    pace.see([{"json": b"x" * 60, "before": b"x" * 40}] * 10)
    assert pace.batch_size == 100
    pace.see([{}] * 1000)
    assert pace.batch_size == BATCH
    pace.see([{"json": b"x" * 100_000}] * 1000)
    assert pace.batch_size == PROBE


def test_batches_of_what_has_no_bound_are_all_alike() -> None:
    pace = Pace()
    assert pace.batch_size == BATCH
    pace.see([{"json": b"x" * 100_000}])
    assert pace.batch_size == BATCH


def test_cursor_of_any_collection_is_read_to_its_end(
    mongo_uri: str, mongo_client: MongoClient[dict[str, Any]], mongo_database: str
) -> None:
    count = BATCH + 1
    mongo_client[mongo_database]["some.things"].insert_many([{"_id": n} for n in range(count)])

    async def read() -> int:
        driver = open_driver("pymongo", mongo_uri, mongo_database, 5000)
        session = await driver.start_session()
        command = {"find": "some.things", "batchSize": 1}
        cursor = (await run_read(driver, command, session))["cursor"]
        total = sum([len(batch) async for batch in find_all(driver, cursor, session)])
        await session.end_session()
        await driver.close()
        return total

    assert run_alone(read()) == count


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
