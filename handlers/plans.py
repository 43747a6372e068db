"""What a request comes to: a read, a part of a command, or something of its own.

Planning decides nothing about the data; it only reads the request. So the same
plans serve a request alone and a request in a batch.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from handlers.messages import ApiResponse
from server.core.commands import Command, Ensure, Inquiry, Part
from server.core.errors import PartFailed, QuotaExceeded, SyncError
from server.core.json_text import dump_json
from server.storage.base import Snapshot, Storage

Read = Callable[[Snapshot], Awaitable[ApiResponse]]


@dataclass(frozen=True, slots=True)
class Plan:
    """One of ``read``, ``part`` and ``alone`` is given, or ``part`` and ``alone``.

    Attributes:
        read: answers from a snapshot.
        part: what is to be written; its verdict goes to ``answer``.
        answer: makes the answer of the verdict on ``part``.
        alone: does everything itself. Where ``part`` is given too, that is
            for a batch.
        before: what is taken for granted and may have to be made first.
        size: about how many bytes are stored.
        solitary: whether it cannot be a part of a batch: it is commands of its
            own, which would wait for the batch's.
    """

    read: Read | None = None
    part: Part | None = None
    answer: Callable[[Any], ApiResponse] | None = None
    alone: Callable[[], Awaitable[ApiResponse]] | None = None
    before: Ensure | None = None
    size: int = 0
    solitary: bool = False


class Planner:
    """Carries plans out.

    Attributes:
        storage: what they read and write.
        error_info: link for errors that nobody foresaw.
    """

    def __init__(self, storage: Storage, error_info: str, retry_after: int) -> None:
        self.storage = storage
        self.error_info = error_info
        self._retry_after = retry_after

    async def run(self, plan: Plan) -> ApiResponse:
        """Carry out one plan.

        Raises:
            SyncError: If it is refused or fails.
        """
        if plan.alone is not None:
            return await plan.alone()
        if plan.part is not None:
            parts = (plan.part,) if plan.before is None else (plan.before, plan.part)
            verdicts = await self.storage.commit(Command(parts, plan.size))
            return self._answer(plan, _verdict_of(verdicts))
        return await self._read(plan)

    async def _read(self, plan: Plan) -> ApiResponse:
        assert plan.read is not None
        if plan.before is None:
            async with self.storage.snapshot() as snapshot:
                return await plan.read(snapshot)
        try:
            async with self.storage.snapshot() as snapshot:
                return await plan.read(snapshot)
        except SyncError:
            # Perhaps for lack of what is made at first use.
            await self.storage.commit(Command((plan.before,)))
        async with self.storage.snapshot() as snapshot:
            return await plan.read(snapshot)

    def _answer(self, plan: Plan, verdict: Any) -> ApiResponse:
        if isinstance(verdict, SyncError):
            raise verdict
        assert plan.answer is not None
        return plan.answer(verdict)

    async def run_all(
        self, plans: Sequence[Plan | SyncError], size: int, *, atomic: bool = False
    ) -> list[ApiResponse]:
        """Carry out the plans of a batch, in order: its writes are one command.

        Args:
            plans: or why a part could not be planned.
            size: about how many bytes are stored.
            atomic: whether nothing is done if any part is answered 400 or above.

        Raises:
            SyncError: If the database fails; then nothing was stored.
        """
        if atomic:
            return await self._run_together(plans, size)
        if any(isinstance(plan, Plan) and plan.part is not None for plan in plans):
            return await self._run_writes(plans, size)
        return [await self._run_safely(plan) for plan in plans]

    async def _run_safely(self, plan: Plan | SyncError) -> ApiResponse:
        if isinstance(plan, SyncError):
            return self.refusal(plan)
        try:
            return await self.run(plan)
        except SyncError as error:
            if _is_ours(error):
                raise
            return self.refusal(error)

    async def _run_writes(self, plans: Sequence[Plan | SyncError], size: int) -> list[ApiResponse]:
        groups = [self._parts_of(plan) for plan in plans]
        parts = tuple(part for group in groups for part in group)
        verdicts = iter(await self.storage.commit(Command(parts, size)))
        return self._settle_all(plans, groups, verdicts)

    def _parts_of(self, plan: Plan | SyncError) -> list[Part]:
        if isinstance(plan, SyncError):
            return []
        part = plan.part or Inquiry(_ask(self, plan))
        return [part] if plan.before is None else [plan.before, part]

    def _settle_all(
        self,
        plans: Sequence[Plan | SyncError],
        groups: Sequence[Sequence[Part]],
        verdicts: Iterator[Any],
    ) -> list[ApiResponse]:
        """The answer to each plan, given the verdicts on the parts of all in one row."""
        return [
            self._settle(plan, _verdict_of([next(verdicts) for _ in group]))
            for plan, group in zip(plans, groups, strict=True)
        ]

    async def _run_together(
        self, plans: Sequence[Plan | SyncError], size: int
    ) -> list[ApiResponse]:
        """Carry out all plans, or none; all that they read is of one instant, too."""
        if any(isinstance(plan, SyncError) for plan in plans):
            refusals = (plan if isinstance(plan, SyncError) else PartFailed() for plan in plans)
            return [self.refusal(error) for error in refusals]
        if not plans:
            return []
        groups = [self._parts_of(plan) for plan in plans]
        parts = tuple(part for group in groups for part in group)
        verdicts = iter(await self.storage.commit(Command(parts, size, fails)))
        return self._settle_all(plans, groups, verdicts)

    def _settle(self, plan: Plan | SyncError, verdict: Any) -> ApiResponse:
        if isinstance(plan, SyncError):
            return self.refusal(plan)
        if isinstance(verdict, ApiResponse):
            return verdict
        try:
            return self._answer(plan, verdict)
        except SyncError as error:
            return self.refusal(error)

    def refusal(self, error: SyncError) -> ApiResponse:
        """The answer to an error: the one place where it becomes JSON."""
        body = error.body()
        headers = dict(error.headers)
        if _is_ours(error):
            body["info"] = self.error_info
            headers.setdefault("Retry-After", str(self._retry_after))
        return ApiResponse(error.status, dump_json(body), headers, {"errno": error.errno})


def fails(verdict: Any) -> bool:
    """Whether a part of a batch is answered 400 or above, so that an atomic one fails."""
    if isinstance(verdict, ApiResponse):
        return verdict.status >= 400
    return isinstance(verdict, SyncError)


def _is_ours(error: SyncError) -> bool:
    """Whether the server has failed; for want of room it has not: to come back is of no use."""
    return error.status >= 500 and not isinstance(error, QuotaExceeded)


def _verdict_of(verdicts: Sequence[Any]) -> Any:
    """The verdict on a plan's parts: what could not be made first is why the rest was not done."""
    if verdicts and isinstance(verdicts[-1], ApiResponse):
        return verdicts[-1]
    errors = [one for one in verdicts if isinstance(one, SyncError)]
    own = [one for one in errors if not isinstance(one, PartFailed)]
    return (own or errors or verdicts or [None])[0 if errors else -1]


def _ask(planner: Planner, plan: Plan) -> Read:
    async def ask(snapshot: Snapshot) -> ApiResponse:
        try:
            if plan.read is not None:
                return await plan.read(snapshot)
            assert plan.alone is not None
            return await plan.alone()
        except SyncError as error:
            return planner.refusal(error)

    return ask
