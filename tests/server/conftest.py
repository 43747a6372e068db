"""A scene on each of the storages, for what is built on them."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from server.core.revisions import Revision
from server.storage.base import StorageOptions
from server.storage.loader import load_backend
from tests.server.storage.scenes import RULES, Scene


@pytest.fixture(params=["memory", "mongo"])
def scene(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[Scene]:
    """A storage that is empty."""
    uri = database = ""
    if request.param == "mongo":
        uri = request.getfixturevalue("mongo_uri")
        database = request.getfixturevalue("mongo_database")
    # On a busy machine the database stands still for longer than a client would wait.
    options = StorageOptions(RULES, uri, database, write_timeout_seconds=60)
    storage = io_loop.run_sync(lambda: load_backend(request.param)(options), timeout=60)
    assert storage is not None

    async def no_log() -> list[Revision]:
        raise AssertionError("what is built on a storage does not look behind it")

    yield Scene(storage, no_log)
    io_loop.run_sync(storage.close, timeout=60)
