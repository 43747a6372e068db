from typing import Any

import pytest

from server.storage.mongo.driver import open_driver
from server.storage.mongo.schema import OBJECTS, prepare
from server.storage.mongo.tallies import tally
from tests.server.storage.mongo.conftest import OpenStorage
from tests.server.storage.scenes import ReadLog, Scene, delete, put

pytestmark = pytest.mark.gen_test(timeout=60)


async def test_objects_are_counted_by_their_index_and_none_of_them_is_read(
    mongo_uri: str, mongo_database: str, open_storage: OpenStorage, read_log: ReadLog
) -> None:
    scene = Scene(await open_storage(), read_log)
    uri = await scene.make_collection() + "/records"
    await scene.commit(*(put(f"{uri}/r{n}") for n in range(40)))
    await scene.do(delete(f"{uri}/r7"))
    driver = open_driver("pymongo", mongo_uri, mongo_database, 5000)
    asked: list[dict[str, Any]] = []

    async def documents(command: dict[str, Any]) -> Any:
        asked.append(command)
        whole = command if "aggregate" in command else {"find": OBJECTS, **command}
        answer = await driver.run(whole)

        async def batches() -> Any:
            yield answer["cursor"]["firstBatch"]

        return batches()

    try:
        await prepare(driver)
        found = await tally(documents)
        assert found["record"] == (39, 1)
        (counting,) = [one for one in asked if "aggregate" in one]
        explained = await driver.run({"explain": counting, "verbosity": "executionStats"})
    finally:
        await driver.close()
    stages = explained["stages"][0]["$cursor"] if "stages" in explained else explained
    assert stages["executionStats"]["totalDocsExamined"] == 0
    assert stages["executionStats"]["totalKeysExamined"] >= 42
