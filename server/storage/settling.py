"""Settle one command on a state: the same for every backend."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from server.core.commands import Command, Inquiry, Verdict, Write
from server.core.decisions import Decider
from server.core.errors import PartFailed, SyncError
from server.core.objects import StoredObject
from server.core.state import Unread

Load = Callable[[Iterable[str]], Awaitable[Mapping[str, StoredObject | None]]]
Ask = Callable[[Inquiry], Awaitable[Any]]


async def settle(command: Command, decider: Decider, load: Load, ask: Ask) -> list[Verdict]:
    """Decide a command's parts in order, each seeing the effects of those before it.

    Args:
        command: what is wanted.
        decider: on the state that gets the effects.
        load: reads what a decision needs and was not read; None for what is not there.
        ask: answers an inquiry on the state as it is by then. What it has let out of
            the state by then is the caller's to take back, if the command fails.

    Returns:
        A verdict a part; an error stands for a part that was refused. Of a command that
        has failed, every other part's is ``PartFailed``.
    """
    state = decider.state
    start, locked = state.mark(), set(state.locked)
    verdicts: list[Verdict] = []
    for part in command.parts:
        verdict: Any = await ask(part) if isinstance(part, Inquiry) else part
        if isinstance(verdict, Write):
            verdict = await _settle_part(verdict, decider, load)
        if command.fails is not None and command.fails(verdict):
            state.undo(start)
            state.locked = locked
            others: list[Verdict] = [PartFailed() for _ in command.parts]
            others[len(verdicts)] = verdict
            return others
        verdicts.append(verdict)
    return verdicts


async def _settle_part(part: Write, decider: Decider, load: Load) -> Verdict:
    while True:
        mark = decider.state.mark()
        try:
            verdict = decider.decide(part)
        except Unread as unread:
            decider.state.undo(mark)
            decider.state.add_read(await load(unread.uris))
        except SyncError as error:
            decider.state.undo(mark)
            return error
        else:
            decider.state.keep(mark)
            return verdict
