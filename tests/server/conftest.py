"""Storages, and scenes on them; a module that tries one backend gives its own storage and log."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from server.core.revisions import Revision
from server.storage.base import Storage, StorageOptions
from server.storage.loader import load_backend
from tests.server.storage.scenes import RULES, ReadLog, Scene


@pytest.fixture(params=["memory", "mongo"])
def storage(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[Storage]:
    """Each of the backends, empty."""
    uri = database = ""
    if request.param == "mongo":
        uri = request.getfixturevalue("mongo_uri")
        database = request.getfixturevalue("mongo_database")
    # On a busy machine the database stands still for longer than a client would wait.
    options = StorageOptions(RULES, uri, database, write_timeout_seconds=60)
    opened = io_loop.run_sync(lambda: load_backend(request.param)(options), timeout=60)
    assert opened is not None
    yield opened
    io_loop.run_sync(opened.close, timeout=60)


@pytest.fixture
def read_log() -> ReadLog:
    """For who does not look into the log."""

    async def read() -> list[Revision]:
        raise AssertionError("it is not known how this storage's log is read")

    return read


@pytest.fixture
def scene(storage: Storage, read_log: ReadLog) -> Scene:
    """The storage of the module that asks, to be tried."""
    return Scene(storage, read_log)
