"""The ledger: group commit, decided inside the transaction. The only writer.

All writes of a process wait in one queue. The ledger takes what is waiting,
decides it in one transaction on what that transaction reads, stores the
effects, commits, and answers everybody. Contention with other processes is
resolved here, by running the group again; a client never sees it.
"""

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.core.commands import Command, Inquiry, Verdict
from server.core.decisions import Decider
from server.core.errors import Unavailable, Unforeseen
from server.core.figures import StorageFigures
from server.core.judge import Judge
from server.core.objects import StoredObject
from server.core.permissions import Rules
from server.core.state import State
from server.storage.mongo.documents import encode_revisions, encode_updates
from server.storage.mongo.driver import (
    AutoReconnect,
    Driver,
    OperationFailure,
    PyMongoError,
    Session,
    WriteConcernError,
)
from server.storage.mongo.idle import Reaper
from server.storage.mongo.reads import TransactionSnapshot
from server.storage.mongo.schema import DUPLICATE_KEY, OBJECTS, REVISIONS
from server.storage.settling import settle

logger = logging.getLogger(__name__)

GROUP_MAX_COMMANDS = 500
GROUP_MAX_BYTES = 8 << 20
MESSAGE_MAX_BYTES = 16 << 20
"""Of documents in one ``update`` or ``insert``; a message may have 48 MB."""

CONFLICT_SECONDS = 2.0
"""After conflicts alone for so long, somebody's transaction is taken for abandoned."""

HOPELESS_ATTEMPTS = 3
"""Transient errors, with nobody else's transaction about, after which a group is split."""

_UNKNOWN = "UnknownTransactionCommitResult"
_TRANSIENT = "TransientTransactionError"
_WRITE_CONFLICT = 112
_INTERRUPTED = 11601
_DO_NOT_KNOW = (
    "The database did not answer in time. The write may have happened, or may happen yet:"
    " read before you write again."
)
_NOT_DONE = "The database cannot be reached. Nothing was written."


@dataclass(slots=True)
class Waiter:
    """A command and who waits for its verdicts.

    Attributes:
        command: what is wanted.
        answer: gets the verdicts, or an error.
        taken: whether the ledger has it; until then it can be dropped.
    """

    command: Command
    answer: asyncio.Future[list[Verdict]]
    taken: bool = False

    def give(self, verdicts: list[Verdict]) -> None:
        """Answer, unless it is too late."""
        if not self.answer.done():
            self.answer.set_result(verdicts)


class _AppliedBefore(Exception):
    """The group's effects are stored already: an earlier attempt's commit went through."""


class _FailedLate(Exception):
    """A command of parts that stand and fall together failed when some were stored already.

    Attributes:
        verdicts: of its parts.
    """

    def __init__(self, verdicts: list[Verdict]) -> None:
        self.verdicts = verdicts
        super().__init__()


class _Hopeless(Exception):
    """The group fails again and again, and nobody else is in its way."""


@dataclass(slots=True)
class _Attempts:
    """The attempts to commit one group.

    Attributes:
        batch: prefix of the ids of its revisions, the same in every attempt.
        deadline: of the event loop's clock, after which nobody waits any more.
        verdicts: of the last attempt whose commit may have gone through.
        uncertain: whether it has yet to be found out if it did.
        transient: how many failed in a row for a passing reason.
        conflicts_since: when they began to meet conflicts alone.
    """

    deadline: float
    batch: str = field(default_factory=lambda: secrets.token_hex(12))
    verdicts: list[list[Verdict]] = field(default_factory=list)
    uncertain: bool = False
    transient: int = 0
    conflicts_since: float | None = None


class Ledger:
    """Commits commands, in groups, one group at a time."""

    def __init__(
        self,
        driver: Driver,
        rules: Rules,
        *,
        timeout: float,
        retry_after: int,
        removed: Callable[[Iterable[str]], None],
    ) -> None:
        """Start the ledger's task, in the running event loop.

        Args:
            driver: of the database.
            rules: what the operator has set.
            timeout: seconds after which a waiting command is answered by 503.
            retry_after: seconds that the 503 names.
            removed: is told the URIs of written parents whose lists hold what is gone.
        """
        self.skew = 0
        """What is added to this machine's clock, in ms, because the database's differs."""
        self.figures = StorageFigures()
        self._driver = driver
        self._rules = rules
        self._timeout = timeout
        self._retry_after = retry_after
        self._removed = removed
        self._reaper = Reaper(driver)
        self._waiting: deque[Waiter] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._work())

    async def commit(self, command: Command) -> list[Verdict]:
        """Decide and store; see ``Storage``."""
        if self._closing:
            raise Unavailable(_NOT_DONE, self._retry_after)
        loop = asyncio.get_running_loop()
        waiter = Waiter(command, loop.create_future())
        self._waiting.append(waiter)
        self._wake.set()
        timer = loop.call_later(self._timeout, self._give_up, waiter)
        try:
            return await waiter.answer
        finally:
            timer.cancel()

    def _give_up(self, waiter: Waiter) -> None:
        """Answer who has waited for too long; what was taken goes on."""
        if not waiter.answer.done():
            words = _DO_NOT_KNOW if waiter.taken else _NOT_DONE
            waiter.answer.set_exception(Unavailable(words, self._retry_after))

    async def close(self) -> None:
        """Commit what is waiting, then end."""
        self._closing = True
        self._wake.set()
        await self._task

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while group := self._take():
                await self._answer(group)
            if self._closing:
                return

    def _take(self) -> list[Waiter]:
        """The next group; who has left is dropped."""
        group: list[Waiter] = []
        size = 0
        while self._waiting and len(group) < GROUP_MAX_COMMANDS:
            waiter = self._waiting[0]
            if group and size + waiter.command.size > GROUP_MAX_BYTES:
                break
            self._waiting.popleft()
            if not waiter.answer.done():
                waiter.taken = True
                size += waiter.command.size
                group.append(waiter)
        return group

    async def _answer(self, group: Sequence[Waiter]) -> None:
        """Commit a group and answer each of it; a group that fails is tried one by one."""
        error: BaseException = Unforeseen()
        try:
            verdicts = await self._commit([waiter.command for waiter in group])
            for waiter, own in zip(group, verdicts, strict=True):
                waiter.give(own)
        except Unavailable as unavailable:
            error = unavailable
        except Exception as unforeseen:
            # Whoever is guilty must not take the others along.
            if len(group) > 1:
                for waiter in group:
                    await self._answer([waiter])
            elif isinstance(unforeseen, _FailedLate):
                group[0].give(unforeseen.verdicts)
            elif isinstance(unforeseen, _Hopeless):
                error = Unavailable(_NOT_DONE, self._retry_after)
            else:
                logger.exception("a command could not be committed")
        finally:
            for waiter in group:
                if not waiter.answer.done():
                    waiter.answer.set_exception(error)

    async def _commit(self, commands: Sequence[Command]) -> list[list[Verdict]]:
        """Attempt until it is known that all effects are stored, or that none is.

        Raises:
            Unavailable: If nobody waits any more; it says whether something may
                have been stored.
            _Hopeless: If trying again is of no use.
            Exception: What no attempt will mend; nothing was stored.
        """
        attempts = _Attempts(asyncio.get_running_loop().time() + self._timeout)
        while True:
            session = await self._driver.start_session()
            try:
                return await self._attempt(commands, session, attempts)
            except _AppliedBefore:
                return attempts.verdicts
            except PyMongoError as error:
                await self._consider(error, attempts)
            finally:
                await session.end_session()

    async def _attempt(
        self, commands: Sequence[Command], session: Session, attempts: _Attempts
    ) -> list[list[Verdict]]:
        await self._driver.begin(session)
        try:
            snapshot = TransactionSnapshot(self._driver, session)
            transaction = _Transaction(self._driver, session, snapshot, attempts.batch)
            now = time.time_ns() // 1_000_000 + self.skew
            if attempts.uncertain:
                await transaction.check_not_applied()
                attempts.uncertain = False
            verdicts = await transaction.settle(commands, self._rules, now)
            await transaction.flush()
        except BaseException:
            await session.abort_transaction()
            raise
        await self._end(session, verdicts, attempts)
        began = attempts.deadline - self._timeout
        self.figures.committed(len(commands), asyncio.get_running_loop().time() - began)
        self._removed(transaction.state.parents_with_leftovers())
        return verdicts

    async def _end(
        self, session: Session, verdicts: list[list[Verdict]], attempts: _Attempts
    ) -> None:
        """Commit; while the result is unknown, ask again, however long it takes."""
        while True:
            try:
                await session.commit_transaction()
            except PyMongoError as error:
                # Of the first kind it is applied; but the majority may not have it yet.
                unlabelled = isinstance(error, WriteConcernError) or _is_interrupted(error)
                unknown = unlabelled or error.has_error_label(_UNKNOWN)
                if unknown or error.has_error_label(_TRANSIENT):
                    # The driver tries twice, and tells what became of the second.
                    attempts.verdicts, attempts.uncertain = verdicts, True
                if not unknown:
                    raise
                if self._closing and _is_over(attempts):
                    raise Unavailable(_DO_NOT_KNOW, self._retry_after) from error
                await _pause()
            else:
                return

    async def _consider(self, error: PyMongoError, attempts: _Attempts) -> None:
        """Wait before the next attempt, or give up."""
        self.figures.retries += 1
        lost = isinstance(error, AutoReconnect) or _is_interrupted(error)
        transient = lost or error.has_error_label(_TRANSIENT)
        known = not attempts.uncertain
        if not transient and known:
            raise error
        if not transient or (_is_over(attempts) and (known or self._closing)):
            words = _NOT_DONE if known else _DO_NOT_KNOW
            raise Unavailable(words, self._retry_after) from error
        now = asyncio.get_running_loop().time()
        if isinstance(error, AutoReconnect):
            # No primary, or another one: the next attempt waits for it.
            attempts.transient, attempts.conflicts_since = 0, None
        elif isinstance(error, OperationFailure) and error.code == _WRITE_CONFLICT:
            attempts.conflicts_since = attempts.conflicts_since or now
            if now - attempts.conflicts_since > CONFLICT_SECONDS:
                attempts.conflicts_since = None
                await self._reaper.end_abandoned()
        else:
            attempts.conflicts_since = None
            attempts.transient += 1
            if attempts.transient % HOPELESS_ATTEMPTS == 0 and await self._reaper.is_alone():
                raise _Hopeless from error
        await _pause()


def _is_interrupted(error: PyMongoError) -> bool:
    """Whether somebody killed the operation or its session; the error has no label then."""
    return isinstance(error, OperationFailure) and error.code == _INTERRUPTED


def _is_over(attempts: _Attempts) -> bool:
    """Whether nobody waits for the group any more."""
    return asyncio.get_running_loop().time() > attempts.deadline


async def _pause() -> None:
    # Exponential backoff was tried: slower, with twice the tail.
    await asyncio.sleep(random.uniform(0.002, 0.014))


class _Transaction:
    """One attempt's transaction: what it has read and decided, and what of it is stored."""

    def __init__(
        self, driver: Driver, session: Session, snapshot: TransactionSnapshot, batch: str
    ) -> None:
        self._driver = driver
        self._session = session
        self._snapshot = snapshot
        self._batch = batch
        self._effects = 0
        self._logged = 0
        self._stored: dict[str, StoredObject] = {}
        self._locked: frozenset[str] = frozenset()
        self.state = State({})

    async def check_not_applied(self) -> None:
        """After a commit of unknown result: make sure that it did not go through."""
        first = {"find": REVISIONS, "filter": {"_id": f"{self._batch}-0"}, "limit": 1}
        if (await self._driver.run(first, self._session))["cursor"]["firstBatch"]:
            raise _AppliedBefore

    async def settle(
        self, commands: Sequence[Command], rules: Rules, now: int
    ) -> list[list[Verdict]]:
        wanted: set[str] = set()
        for command in commands:
            wanted |= command.uris()
        if wanted:
            self.state.add_read(await self._load(wanted))
        decider = Decider(Judge(self.state, rules), now)
        return [await self._settle(command, decider) for command in commands]

    async def _settle(self, command: Command, decider: Decider) -> list[Verdict]:
        verdicts = await settle(command, decider, self._load, self._ask)
        if self.state.effects < self._effects:
            # What an inquiry of it made the transaction store is there still; the others
            # of the group, if there are any, are better off without it.
            raise _FailedLate(verdicts)
        return verdicts

    async def _load(self, uris: Iterable[str]) -> Mapping[str, StoredObject | None]:
        wanted = list(uris)
        found = await self._snapshot.objects(wanted)
        return {uri: found.get(uri) for uri in wanted}

    async def _ask(self, inquiry: Inquiry) -> Any:
        # What was decided so far is written first, so that the database's own queries see it.
        await self.flush()
        return await inquiry.ask(self._snapshot)

    async def flush(self) -> None:
        """Write what was decided since the last time."""
        if self.state.effects == self._effects:
            return
        state = self.state
        self._effects = state.effects
        # Only what is new: a transaction of many inquiries is flushed before each.
        updates = encode_updates(state, self._stored, self._locked)
        self._stored, self._locked = state.finished(), frozenset(state.locked)
        revisions = encode_revisions(state.revisions, self._batch, self._logged)
        self._logged = len(state.revisions)
        await self._write("update", OBJECTS, "updates", updates)
        await self._write("insert", REVISIONS, "documents", revisions)

    async def _write(
        self, verb: str, collection: str, member: str, documents: list[dict[str, Any]]
    ) -> None:
        for part in _parts(documents):
            answer = await self._driver.run({verb: collection, member: part}, self._session)
            errors = answer.get("writeErrors")
            if errors:
                raise _write_error(collection, errors[0])


def _write_error(collection: str, error: dict[str, Any]) -> Exception:
    key = error.get("keyPattern", {})
    if error["code"] == DUPLICATE_KEY and collection == REVISIONS and "_id" in key:
        return _AppliedBefore()
    return OperationFailure(error.get("errmsg", ""), error["code"], error)


def _parts(documents: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Cut documents into messages of an allowed size."""
    part: list[dict[str, Any]] = []
    size = 0
    for document in documents:
        weight = _weight(document)
        if part and size + weight > MESSAGE_MAX_BYTES:
            yield part
            part, size = [], 0
        part.append(document)
        size += weight
    if part:
        yield part


def _weight(document: dict[str, Any]) -> int:
    """Bytes of a document, generously."""
    inner = document.get("u", document)
    text = len(inner.get("json", b""))
    # An array of digits has a shadow of six times its text.
    shadow = 6 * text if "q" in inner else 0
    return text + shadow + len(inner.get("before", b"")) + 1024
