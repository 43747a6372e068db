"""The one module that knows which driver speaks to MongoDB.

PyMongo's async API and Motor run the same commands; they differ in how a
client, a session and a transaction are opened. Everything else in this
package sends commands (``Driver.run``), which are the same in both.
"""

import asyncio
import importlib
from abc import ABC, abstractmethod
from typing import Any, Protocol

from bson import Timestamp
from bson.int64 import Int64
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

__all__ = [
    "AutoReconnect",
    "ConfigurationError",
    "ConnectionFailure",
    "Driver",
    "Int64",
    "InvalidURI",
    "OperationFailure",
    "PyMongoError",
    "Session",
    "Timestamp",
    "WriteConcernError",
    "open_driver",
]

APP_NAME = "kintoun"
"""By which the server's own transactions are told from those of others."""

SNAPSHOT = ReadConcern("snapshot")
MAJORITY = WriteConcern("majority")


class Session(Protocol):
    """What both drivers' sessions have."""

    async def commit_transaction(self) -> None:
        """Commit; may be called again after an unknown result."""

    async def abort_transaction(self) -> None:
        """Abort; never raises."""

    async def end_session(self) -> None:
        """Give the session back."""


class Driver(ABC):
    """One client of one database."""

    def __init__(self, client: Any, database: str) -> None:
        self._client = client
        self.reads_primary = client.read_preference == ReadPreference.PRIMARY
        """Whether the URI asks for no other members' reads."""
        self._database = client[database]
        self._admin = client["admin"]

    async def run(self, command: dict[str, Any], session: Any = None) -> dict[str, Any]:
        """Run a command on the primary.

        Raises:
            PyMongoError: As the driver says. ``writeErrors`` don't raise.
        """
        answer: dict[str, Any] = await self._database.command(command, session=session)
        return answer

    async def run_admin(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run a command on the database ``admin``."""
        answer: dict[str, Any] = await self._admin.command(command)
        return answer

    @abstractmethod
    async def start_session(self) -> Session:
        """A session of the server."""

    @abstractmethod
    async def begin(self, session: Any) -> None:
        """Begin a transaction: snapshot reads, writes by the majority."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""


class PyMongoDriver(Driver):
    """PyMongo's async API."""

    async def start_session(self) -> Session:
        """A session of the server."""
        session: Session = self._client.start_session()
        return session

    async def begin(self, session: Any) -> None:
        """Begin a transaction: snapshot reads, writes by the majority."""
        await session.start_transaction(
            read_concern=SNAPSHOT, write_concern=MAJORITY, read_preference=ReadPreference.PRIMARY
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()


class MotorDriver(Driver):
    """Motor, which runs PyMongo's blocking API in threads."""

    async def start_session(self) -> Session:
        """A session of the server."""
        session: Session = await self._client.start_session()
        return session

    async def begin(self, session: Any) -> None:
        """Begin a transaction: snapshot reads, writes by the majority."""
        session.start_transaction(
            read_concern=SNAPSHOT, write_concern=MAJORITY, read_preference=ReadPreference.PRIMARY
        )

    async def close(self) -> None:
        """Close every connection."""
        # It says good-bye to the database, and waits for that.
        await asyncio.to_thread(self._client.close)


_CLIENTS = {
    "pymongo": ("pymongo", "AsyncMongoClient", PyMongoDriver),
    "motor": ("motor.motor_asyncio", "AsyncIOMotorClient", MotorDriver),
}


def open_driver(name: str, uri: str, database: str, selection_timeout_ms: int) -> Driver:
    """A client; it connects at its first command.

    Args:
        name: ``pymongo`` or ``motor``. Only the chosen one is imported.
        uri: of the deployment, with its options.
        database: name of the database.
        selection_timeout_ms: how long a command waits for a primary.

    Raises:
        PyMongoError: If the URI is none.
    """
    module, client_class, driver_class = _CLIENTS[name]
    make_client = getattr(importlib.import_module(module), client_class)
    client = make_client(
        uri,
        appname=APP_NAME,
        serverSelectionTimeoutMS=selection_timeout_ms,
        uuidRepresentation="standard",
        retryWrites=True,
    )
    return driver_class(client, database)
