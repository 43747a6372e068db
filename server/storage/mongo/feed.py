"""Tells every revision that is committed, by a change stream on the log.

The stream is opened and read as plain commands (``aggregate``, ``getMore``):
they are the same with both drivers, which differ in their change streams, and
a whole batch comes at a time. The database names with each batch the
token from which a new stream goes on (``postBatchResumeToken``).
"""

from contextlib import suppress
from functools import cached_property

from server.core.errors import Unavailable
from server.core.revisions import Revision
from server.storage.base import Change, Gap
from server.storage.mongo.cursors import kill, patience, run_read
from server.storage.mongo.documents import Document, decode_revision, decode_time
from server.storage.mongo.driver import (
    Driver,
    Int64,
    OperationFailure,
    PyMongoError,
    Session,
    Timestamp,
)
from server.storage.mongo.schema import REVISIONS

BATCH = 500
"""Changes that come at a time: others want the event loop too."""

AWAIT_MS = 1000
"""How long the database waits for a change before it answers that there is none."""

REPLY_SECONDS = 15.0
"""After which, beyond that wait, a reply is not waited for any more."""

CLOSE_SECONDS = 2.0
"""What closing may take."""

HOPELESS_ATTEMPTS = 3
"""Refusals in a row, of the same token, after which it is given up."""

_LOST = (260, 280, 286)
"""Codes of a token from which the database cannot go on."""

_RESUMABLE = "ResumableChangeStreamError"
_CURSOR_GONE = (43, 237)

_PIPELINE: list[Document] = [
    {"$match": {"operationType": "insert"}},
    {"$project": {"clusterTime": 1, "fullDocument": 1}},
]

_UNREACHABLE = "The database cannot be reached."


class MongoFeed:
    """Changes of one database, in the order of their commits; see ``Feed``.

    Attributes:
        at: what was committed after this is told.
    """

    def __init__(self, driver: Driver, retry_after: int) -> None:
        """Make a feed, which is to be opened.

        Args:
            driver: of the database.
            retry_after: seconds that ``Unavailable`` names.
        """
        self.at = 0
        self._driver = driver
        self._retry_after = retry_after
        self._session: Session | None = None
        self._cursor = 0
        self._left: list[int] = []
        self._token: Document | None = None
        self._lost: PyMongoError | None = None
        self._refusals = 0

    async def open(self) -> None:
        """Begin now.

        Raises:
            Unavailable: If the database cannot be reached.
        """
        try:
            await self._open()
        except PyMongoError as error:
            raise self._unavailable() from error

    async def read(self) -> list[Change]:
        """Wait for the next changes; see ``Feed``."""
        try:
            return await self._read()
        except PyMongoError as error:
            if not self._is_lost(error):
                raise self._unavailable() from error
            self._token, self._lost, self._refusals = None, error, 0
        # Only to tell the gap, or that a new stream cannot be opened yet.
        return await self.read()

    async def _read(self) -> list[Change]:
        if not self._cursor:
            await self._open()
        if self._lost is not None:
            lost, self._lost = self._lost, None
            raise Gap(str(lost)) from lost
        return await self._next()

    def _is_lost(self, error: PyMongoError) -> bool:
        """Whether nothing can be resumed from the token any more."""
        if self._token is None or not isinstance(error, OperationFailure):
            return False
        if error.code in _LOST:
            return True
        if error.code in _CURSOR_GONE or error.has_error_label(_RESUMABLE):
            return False
        # What is refused again and again for another reason is this place in the log, such as a
        # token that another version of the database has made.
        self._refusals += 1
        return self._refusals >= HOPELESS_ATTEMPTS

    def _unavailable(self) -> Unavailable:
        return Unavailable(_UNREACHABLE, self._retry_after)

    async def _open(self) -> None:
        """Open a stream that goes on where the last one stopped, or begins now."""
        await self._end_session()
        session = self._session = await self._driver.start_session()
        start: Document
        if self._token is None:
            now = await self._now(session)
            start, at = {"startAtOperationTime": Timestamp(now.time, now.inc + 1)}, decode_time(now)
        else:
            start, at = {"resumeAfter": self._token}, self.at
        command = {
            "aggregate": REVISIONS,
            "pipeline": [{"$changeStream": start}, *_PIPELINE],
            # Nothing yet: what there is comes with the first ``getMore``.
            "cursor": {"batchSize": 0},
        }
        cursor = (await run_read(self._driver, command, session))["cursor"]
        self.at, self._cursor, self._token = at, cursor["id"], cursor["postBatchResumeToken"]
        await self._kill_left()

    async def _now(self, session: Session) -> Timestamp:
        """The newest time that the majority has: every later snapshot shows what was until then.

        Not the ``operationTime`` of the stream's own reply, which may be the time of
        a write that the majority does not have yet.
        """
        command = {
            "find": REVISIONS,
            "projection": {"_id": 1},
            "limit": 1,
            "singleBatch": True,
            "readConcern": {"level": "snapshot"},
        }
        answer = await run_read(self._driver, command, session)
        # There is none in a log that was dropped: nothing is there to be seen or missed.
        time: Timestamp = answer["cursor"].get("atClusterTime", answer["operationTime"])
        return time

    async def _next(self) -> list[Change]:
        command = {
            "getMore": Int64(self._cursor),
            "collection": REVISIONS,
            "batchSize": BATCH,
            "maxTimeMS": AWAIT_MS,
        }
        # Whatever ends this but a reply, a cancellation too: nobody knows whether the cursor has
        # moved. Another one begins where this one's last reply ended.
        self._left.append(self._cursor)
        self._cursor = 0
        async with patience(AWAIT_MS / 1000 + REPLY_SECONDS):
            cursor = (await self._driver.run(command, self._session))["cursor"]
        changes: list[Change] = [_Told(event) for event in cursor["nextBatch"]]
        self._left.pop()
        # There is no cursor any more when the log was dropped; nor can its token be resumed.
        self._cursor, self._token, self._refusals = cursor["id"], cursor["postBatchResumeToken"], 0
        return changes

    async def _kill_left(self) -> None:
        """Let the database forget the cursors that were given up, if it can be told."""
        left, self._left = self._left, []
        if left:
            with suppress(PyMongoError):
                async with patience(CLOSE_SECONDS):
                    await kill(self._driver, REVISIONS, left)

    async def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.end_session()

    async def close(self) -> None:
        """Let go of the database; see ``Feed``."""
        if self._cursor:
            self._left.append(self._cursor)
            self._cursor = 0
        await self._kill_left()
        await self._end_session()


class _Told(Change):
    """A change that is decoded when somebody looks at it: most are nobody's business."""

    def __init__(self, event: Document) -> None:
        # Its fields are frozen.
        self.__dict__["at"] = decode_time(event["clusterTime"])
        self._document: Document
        self.__dict__["_document"] = event["fullDocument"]

    @property
    def bucket(self) -> str:
        """See ``Change``."""
        bucket: str = self._document["bucket"]
        return bucket

    @cached_property
    def revision(self) -> Revision:
        """What was done."""
        return decode_revision(self._document)
