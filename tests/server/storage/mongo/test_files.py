from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database
from tornado.ioloop import IOLoop

from server.core.errors import Unavailable
from server.storage.files.base import FileGone, FileStore
from server.storage.mongo.driver import open_driver
from server.storage.mongo.files import GridFiles, open_grid
from tests.faults import FaultyNetwork
from tests.server.storage.files.contract import LARGE, FilesContract, described, put, read
from tests.server.storage.mongo.conftest import OpenStorage


@pytest.fixture(params=["pymongo", "motor"])
def files(
    request: pytest.FixtureRequest, mongo_uri: str, mongo_database: str, io_loop: IOLoop
) -> Iterator[GridFiles]:
    async def begin() -> Any:
        return open_driver(request.param, mongo_uri, mongo_database, 30_000)

    driver = io_loop.run_sync(begin)
    yield io_loop.run_sync(lambda: open_grid(driver, 3))
    io_loop.run_sync(driver.close)


class TestGridFiles(FilesContract):
    @pytest.fixture(autouse=True)
    def _place(self, database: Database[dict[str, Any]]) -> None:
        self._database = database

    async def leftovers(self, files: FileStore) -> int:
        known = self._database["fs.files"].distinct("_id")
        chunks = self._database["fs.chunks"].count_documents({"files_id": {"$nin": known}})
        return chunks + self._database["uploads"].count_documents({})


@pytest.mark.gen_test
async def test_file_is_laid_out_as_gridfs_has_it(
    files: GridFiles, database: Database[dict[str, Any]]
) -> None:
    await put(files, LARGE)
    document = database["fs.files"].find_one()
    assert document is not None
    assert {"_id", "length", "chunkSize", "uploadDate", "filename", "metadata"} == set(document)
    chunks = list(database["fs.chunks"].find({"files_id": document["_id"]}).sort("n"))
    assert [one["n"] for one in chunks] == list(range(len(chunks)))
    assert [len(one["data"]) for one in chunks[:-1]] == [document["chunkSize"]] * 3
    assert b"".join(one["data"] for one in chunks) == LARGE


@pytest.mark.gen_test
async def test_removal_that_was_interrupted_can_be_done_again(
    files: GridFiles, database: Database[dict[str, Any]]
) -> None:
    file = await put(files, LARGE)
    database["fs.files"].update_one({}, {"$set": {"metadata.gone": True}})
    assert await files.find(file.name) is None
    assert [one.name for one in await files.page("", 10)] == [file.name]
    await files.remove(file.name)
    assert database["fs.files"].count_documents({}) == 0
    assert database["fs.chunks"].count_documents({}) == 0


@pytest.mark.gen_test
async def test_file_without_all_of_its_chunks_is_not_read_to_its_end(
    files: GridFiles, database: Database[dict[str, Any]]
) -> None:
    file = await put(files, LARGE)
    database["fs.chunks"].delete_one({"n": 2})
    with pytest.raises(FileGone):
        await read(files, file)


@pytest.mark.gen_test
async def test_file_that_took_too_long_is_not_finished(files: GridFiles) -> None:
    writer = await files.create()
    await writer.write(LARGE)
    await files.tidy(2**42)
    with pytest.raises(Unavailable):
        await writer.finish(described(LARGE))
    assert await files.page("", 10) == []


@pytest.mark.gen_test
async def test_upload_that_was_finished_and_not_forgotten_keeps_its_file(
    files: GridFiles, database: Database[dict[str, Any]]
) -> None:
    file = await put(files, LARGE)
    document = database["fs.files"].find_one() or {}
    database["uploads"].insert_one({"_id": document["_id"], "date": document["uploadDate"]})
    await files.tidy(2**42)
    assert database["uploads"].count_documents({}) == 0
    assert await read(files, file) == LARGE


@pytest.mark.gen_test
async def test_database_that_is_away_makes_the_service_unavailable(
    network: FaultyNetwork, mongo_database: str
) -> None:
    driver = open_driver("pymongo", network.uri, mongo_database, 200)
    files = await open_grid(driver, 9)
    writer = await files.create()
    await network.cut()
    with pytest.raises(Unavailable) as caught:
        await writer.write(LARGE)
    assert caught.value.headers["Retry-After"] == "9"
    await writer.discard()
    assert not await files.check()
    with pytest.raises(Unavailable):
        await files.find("one.txt")
    await driver.close()


@pytest.mark.gen_test
async def test_storage_has_its_files_in_its_database(open_storage: OpenStorage) -> None:
    storage = await open_storage()
    file = await put(await storage.files(), b"content")
    assert await read(await storage.files(), file) == b"content"
