"""Servers and logs for tests of live changes, on both backends."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.synchronous.change_stream import ChangeStream

from server.core.revisions import Revision
from server.storage.mongo.documents import decode_revision
from tests.live.stages import Stage

Document = dict[str, Any]


class MongoLog:
    """The log of a database, in the order of the commits, as a change stream tells it."""

    def __init__(self, client: MongoClient[Document], database: str) -> None:
        self._found: list[Revision] = []
        self._stream: ChangeStream[Document] = client[database]["revisions"].watch(
            [{"$match": {"operationType": "insert"}}], max_await_time_ms=500
        )

    def read(self) -> list[Revision]:
        """All that was committed since it was made, until it falls silent."""
        while (change := self._stream.try_next()) is not None:
            self._found.append(decode_revision(change["fullDocument"]))
        return list(self._found)

    def close(self) -> None:
        self._stream.close()


@pytest.fixture
def mongo_log(mongo_client: MongoClient[Document], mongo_database: str) -> Iterator[MongoLog]:
    log = MongoLog(mongo_client, mongo_database)
    yield log
    log.close()


@dataclass(frozen=True)
class Scene:
    """A server, and what was done on it.

    Attributes:
        backend: ``memory`` or ``mongo``.
        url: root of the API.
        log: the whole log, in the order of the commits.
    """

    backend: str
    url: str
    log: Callable[[], Sequence[Revision]]


@pytest.fixture(params=["memory", "mongo"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A server on either backend, whose storage dawdles a little; flushing is permitted."""
    settings = {"includes": "flush", "flush_principals": "system.Authenticated"}
    log: MongoLog | None = None
    if request.param == "memory":
        settings |= {"storage_backend": "memory"}
    else:
        log = request.getfixturevalue("mongo_log")
        database = request.getfixturevalue("mongo_database")
        uri = request.getfixturevalue("mongo_uri")
        settings |= {"mongodb_uri": uri, "mongodb_database": database}
    stage = Stage(settings, seed=1, slowness=0.005)
    try:
        yield Scene(request.param, stage.url, log.read if log else stage.revisions)
    finally:
        stage.stop()
