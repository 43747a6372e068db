"""Files in MongoDB, laid out as GridFS: ``fs.files`` and ``fs.chunks``.

Written and read by plain commands, which are the same with both drivers. What is
being written is told in ``uploads``, so that it can be found if nobody finishes it.
"""

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any

from bson import Binary, ObjectId

from server.core.errors import Unavailable
from server.storage.files.base import PIECE_BYTES, FileGone, NameTaken, StoredFile
from server.storage.mongo.driver import Driver, Int64, PyMongoError
from server.storage.mongo.reads import UNREACHABLE
from server.storage.mongo.schema import DUPLICATE_KEY, MAJORITY

FILES = "fs.files"
CHUNKS = "fs.chunks"
UPLOADS = "uploads"

_INDEXES: dict[str, list[dict[str, Any]]] = {
    FILES: [
        {"name": "filename", "key": {"filename": 1}, "unique": True},
        {"name": "record", "key": {"metadata.uri": 1, "filename": 1}},
    ],
    CHUNKS: [{"name": "files_id_1_n_1", "key": {"files_id": 1, "n": 1}, "unique": True}],
    UPLOADS: [{"name": "date", "key": {"date": 1}}],
}
_READ = {"readConcern": {"level": "majority"}}


class GridFiles:
    """See ``FileStore``."""

    def __init__(self, driver: Driver, retry_after: int = 3) -> None:
        """Begin; ``prepare`` makes what is missing.

        Args:
            driver: of the database.
            retry_after: seconds that a client is told to wait where the database fails.
        """
        self._driver = driver
        self._retry_after = retry_after

    async def prepare(self) -> None:
        """Make the indexes, unless they are there.

        Raises:
            Unavailable: If the database does not let it.
        """
        for collection, indexes in _INDEXES.items():
            command = {"createIndexes": collection, "indexes": indexes}
            await self.ask(command | {"writeConcern": MAJORITY})

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run a command.

        Raises:
            NameTaken: If what it inserts is there.
            Unavailable: If the database fails.
        """
        try:
            answer = await self._driver.run(command)
        except PyMongoError as error:
            raise self.unavailable() from error
        errors = answer.get("writeErrors", ())
        if any(one["code"] == DUPLICATE_KEY for one in errors):
            raise NameTaken
        if errors or "writeConcernError" in answer:
            raise self.unavailable()
        return answer

    def unavailable(self) -> Unavailable:
        """The error of a database that fails."""
        return Unavailable(UNREACHABLE, self._retry_after)

    async def create(self) -> "GridWriter":
        """Begin a file; see ``FileStore``."""
        writer = GridWriter(self, ObjectId())
        await writer.begin()
        return writer

    async def find(self, name: str) -> StoredFile | None:
        """The file of a name; see ``FileStore``."""
        found = await self._find({"filename": name, "metadata.gone": None}, 1)
        return _decode(found[0]) if found else None

    async def _find(self, selection: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        command = {"find": FILES, "filter": selection, "sort": {"filename": 1}, "limit": limit}
        answer = await self.ask({**command, "singleBatch": True, "batchSize": limit, **_READ})
        found: list[dict[str, Any]] = answer["cursor"]["firstBatch"]
        return found

    async def read(self, file: StoredFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a part; see ``FileStore``."""
        found = await self._find({"filename": file.name, "metadata.gone": None}, 1)
        if not found:
            raise FileGone
        size = int(found[0]["chunkSize"])
        for n in range(start // size, -(-stop // size)):
            data = await self._chunk(found[0]["_id"], n)
            begin, end = max(start - n * size, 0), min(stop - n * size, size)
            if len(data) < end:
                raise FileGone
            for at in range(begin, end, PIECE_BYTES):
                yield data[at : min(at + PIECE_BYTES, end)]

    async def _chunk(self, file_id: Any, n: int) -> bytes:
        wanted = {"files_id": file_id, "n": n}
        command = {"find": CHUNKS, "filter": wanted, "limit": 1, "singleBatch": True, **_READ}
        found = (await self.ask(command))["cursor"]["firstBatch"]
        return bytes(found[0]["data"]) if found else b""

    async def remove(self, name: str) -> None:
        """Remove a file; see ``FileStore``."""
        mark = {"q": {"filename": name}, "u": {"$set": {"metadata.gone": True}}}
        answer = await self.ask({"update": FILES, "updates": [mark], "writeConcern": MAJORITY})
        if not answer["n"]:
            return
        for document in await self._find({"filename": name}, 1):
            # The document last: whoever is interrupted can be done again.
            await self.drop_chunks(document["_id"])
            await self._delete(FILES, {"_id": document["_id"]})

    async def drop_chunks(self, file_id: Any) -> None:
        """Remove the bytes of a file.

        Raises:
            Unavailable: If the database fails.
        """
        await self._delete(CHUNKS, {"files_id": file_id}, many=True)

    async def _delete(
        self, collection: str, selection: Mapping[str, Any], *, many: bool = False
    ) -> None:
        delete = {"q": selection, "limit": 0 if many else 1}
        await self.ask({"delete": collection, "deletes": [delete], "writeConcern": MAJORITY})

    async def page(self, after: str, limit: int, uri: str | None = None) -> list[StoredFile]:
        """Files by name; see ``FileStore``."""
        selection: dict[str, Any] = {"filename": {"$gt": after}}
        if uri is not None and "/records/" in uri:
            selection["metadata.uri"] = uri
        elif uri is not None:
            # "0" is the character after "/".
            selection["metadata.uri"] = {"$gte": f"{uri}/", "$lt": f"{uri}0"}
        return [_decode(one) for one in await self._find(selection, limit)]

    async def tidy(self, before: int) -> None:
        """Remove what was never finished; see ``FileStore``."""
        limit = datetime.fromtimestamp(before / 1000, UTC)
        while True:
            # Who finishes one marks it, too: one of both is first.
            command = {
                "findAndModify": UPLOADS,
                "query": {"date": {"$lt": limit}},
                "update": {"$set": {"late": True, "date": datetime.now(UTC)}},
                "writeConcern": MAJORITY,
            }
            upload = (await self.ask(command))["value"]
            if upload is None:
                return
            if not (await self.ask(_by_id(FILES, upload["_id"])))["cursor"]["firstBatch"]:
                await self.drop_chunks(upload["_id"])
            await self._delete(UPLOADS, {"_id": upload["_id"]})

    async def check(self) -> bool:
        """Whether a file can be made; see ``FileStore``."""
        try:
            writer = await self.create()
            await writer.discard()
        except Unavailable:
            return False
        return True


class GridWriter:
    """See ``FileWriter``."""

    def __init__(self, store: GridFiles, file_id: ObjectId) -> None:
        self._store = store
        self._id = file_id
        self._waiting = bytearray()
        self._chunks = 0
        self._finished = False

    async def begin(self) -> None:
        """Tell that it is being written.

        Raises:
            Unavailable: If the database fails.
        """
        document = {"_id": self._id, "date": datetime.now(UTC)}
        command = {"insert": UPLOADS, "documents": [document], "writeConcern": MAJORITY}
        await self._store.ask(command)

    async def write(self, data: bytes) -> None:
        """Add bytes; see ``FileWriter``."""
        self._waiting += data
        while len(self._waiting) >= PIECE_BYTES:
            piece = bytes(self._waiting[:PIECE_BYTES])
            del self._waiting[:PIECE_BYTES]
            await self._insert(piece)

    async def _insert(self, piece: bytes) -> None:
        document = {
            "_id": ObjectId(),
            "files_id": self._id,
            "n": self._chunks,
            "data": Binary(piece),
        }
        self._chunks += 1
        command = {"insert": CHUNKS, "documents": [document], "writeConcern": MAJORITY}
        await self._store.ask(command)

    async def finish(self, file: StoredFile) -> None:
        """Store it; see ``FileWriter``."""
        if self._waiting:
            piece, self._waiting = bytes(self._waiting), bytearray()
            await self._insert(piece)
        await self._claim()
        document = _encode(self._id, file)
        command = {"insert": FILES, "documents": [document], "writeConcern": MAJORITY}
        await self._store.ask(command)
        self._finished = True
        await self._forget()

    async def _claim(self) -> None:
        """Keep ``tidy`` from taking what is nearly done.

        Raises:
            Unavailable: If it has taken it.
        """
        command = {
            "findAndModify": UPLOADS,
            "query": {"_id": self._id, "late": None},
            "update": {"$set": {"date": datetime.now(UTC)}},
            "writeConcern": MAJORITY,
        }
        if (await self._store.ask(command))["value"] is None:
            raise self._store.unavailable()

    async def _forget(self) -> None:
        try:
            await self._store._delete(UPLOADS, {"_id": self._id})
        except Unavailable:
            # It is found, with its file, by ``tidy``.
            return

    async def discard(self) -> None:
        """Forget it; see ``FileWriter``."""
        self._waiting.clear()
        if self._finished:
            return
        try:
            await self._store.drop_chunks(self._id)
        except Unavailable:
            return
        await self._forget()


def _by_id(collection: str, document_id: Any) -> dict[str, Any]:
    selection = {"find": collection, "filter": {"_id": document_id}, "projection": {"_id": 1}}
    return {**selection, "limit": 1, "singleBatch": True, **_READ}


def _encode(file_id: ObjectId, file: StoredFile) -> dict[str, Any]:
    return {
        "_id": file_id,
        "length": Int64(file.size),
        "chunkSize": PIECE_BYTES,
        "uploadDate": datetime.fromtimestamp(file.date / 1000, UTC),
        "filename": file.name,
        "metadata": {
            "sha256": file.hash,
            "mimetype": file.mimetype,
            "filename": file.filename,
            "uri": file.uri,
            "date": Int64(file.date),
        },
    }


def _decode(document: Mapping[str, Any]) -> StoredFile:
    facts = document["metadata"]
    return StoredFile(
        document["filename"],
        int(document["length"]),
        facts["sha256"],
        facts["mimetype"],
        facts["filename"],
        facts["uri"],
        int(facts["date"]),
    )


async def open_grid(driver: Driver, retry_after: int) -> GridFiles:
    """The files of a database.

    Raises:
        Unavailable: If the database fails.
    """
    files = GridFiles(driver, retry_after)
    await files.prepare()
    return files
