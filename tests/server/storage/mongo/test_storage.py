import time
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from server.storage.base import StorageError, StorageOptions
from server.storage.mongo import storage as mongo_storage
from server.storage.mongo.storage import MongoStorage, open_mongo
from tests.conftest import ExpectedLogs
from tests.processes import MongoProcess
from tests.server.storage.contract import StorageContract
from tests.server.storage.mongo.conftest import OpenStorage
from tests.server.storage.scenes import ReadLog, Scene, put


@pytest.fixture(params=["pymongo", "motor"])
def storage(
    request: pytest.FixtureRequest, io_loop: IOLoop, open_storage: OpenStorage
) -> MongoStorage:
    # On a busy machine a transaction of large objects is run again more than once.
    options = {"driver": request.param, "write_timeout_seconds": 60}
    opened: MongoStorage = io_loop.run_sync(lambda: open_storage(**options))
    return opened


class TestMongo(StorageContract):
    """MongoDB, through each of the drivers."""


@pytest.mark.gen_test(timeout=30)
async def test_secret_and_nonces_outlive_the_process(open_storage: OpenStorage) -> None:
    first, second = await open_storage(), await open_storage(driver="motor")
    assert await first.secret("token") == await second.secret("token")
    assert await first.claim("nonce", 600)
    assert not await second.claim("nonce", 600)


@pytest.mark.gen_test(timeout=30)
async def test_text_that_is_no_uri_is_refused_in_one_sentence() -> None:
    with pytest.raises(StorageError, match="MONGODB_URI is not the URI of a MongoDB"):
        await open_mongo(StorageOptions(uri="http://localhost/"))


@pytest.mark.gen_test(timeout=30)
async def test_database_that_nobody_serves_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mongo_storage, "SELECTION_TIMEOUT_MS", 100)
    with pytest.raises(StorageError, match="cannot be reached: start it, or correct MONGODB_URI"):
        await open_mongo(StorageOptions(uri="mongodb://127.0.0.1:1/"))


@pytest.mark.parametrize("driver", ["pymongo", "motor"])
@pytest.mark.gen_test(timeout=30)
async def test_reads_of_other_members_are_refused_in_one_sentence(
    mongo_uri: str, driver: str
) -> None:
    uri = mongo_uri + "&readPreference=secondaryPreferred"
    with pytest.raises(StorageError, match="take readPreference out of MONGODB_URI"):
        await open_mongo(StorageOptions(uri=uri, driver=driver))


@pytest.mark.gen_test(timeout=60)
async def test_mongod_without_a_replica_set_is_refused_with_the_command_that_mends_it(
    tmp_path: Path,
) -> None:
    alone = MongoProcess(tmp_path, replica_set=False)
    try:
        alone.wait_until_ready()
        with pytest.raises(StorageError, match=r"--replSet rs0 .*rs\.initiate\(\)"):
            await open_mongo(StorageOptions(uri=alone.uri))
    finally:
        alone.stop()


@pytest.mark.gen_test(timeout=30)
async def test_clock_that_differs_from_the_databases_by_a_minute_is_not_believed(
    open_storage: OpenStorage, read_log: ReadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await open_storage()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    real_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 3600 * 10**9)
    assert not await storage.check()
    made = await Scene(storage, read_log).write(put("/buckets/b"))
    assert abs(made.last_modified - real() * 1000) < 60_000
    monkeypatch.undo()
    assert await storage.check()


@pytest.mark.gen_test(timeout=30)
async def test_start_with_a_clock_that_is_not_believed_is_told(
    open_storage: OpenStorage, monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    expected_logs("clock and the database's are more than 60 s apart")
    await open_storage()
    assert len(expected_logs.records) == 1
