"""The storage that a command works on: that of a server, whether it runs or not."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from server.app import open_storage
from server.config import Settings
from server.storage.base import Storage, StorageError
from server.storage.mongo.data_folders import FolderInUse
from server.storage.mongo.embedded import find_running, start_mongod


@asynccontextmanager
async def open_target(settings: Settings) -> AsyncIterator[Storage]:
    """The storage that a server with these settings serves.

    With no MONGODB_URI it is the private MongoDB in the data folder: the one that a running
    server has started, or one that runs as long as this does.

    Raises:
        StorageError: If it cannot be opened.
    """
    if settings.storage_backend == "memory":
        raise StorageError(
            "What is in memory ends with its process: set MONGODB_URI, or name a folder with"
            " --data, and take storage_backend = memory out of the settings."
        )
    async with AsyncExitStack() as stack:
        if settings.storage_backend == "mongo" and settings.mongodb_uri is None:
            uri = await _reach_mongod(settings, stack)
            settings = dataclasses.replace(settings, mongodb_uri=uri)
        storage = await open_storage(settings)
        stack.push_async_callback(storage.close)
        yield storage


async def _reach_mongod(settings: Settings, stack: AsyncExitStack) -> str:
    try:
        mongo = await start_mongod(settings.data_dir, binary=settings.mongod_path)
    except FolderInUse:
        running = await find_running(settings.data_dir)
        if running is None:
            raise
        return running
    stack.push_async_callback(mongo.stop)
    return mongo.uri
