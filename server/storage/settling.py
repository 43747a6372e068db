"""Settle one command on a state: the same for every backend."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from server.core.commands import Command, Create, Inquiry, Verdict, Write
from server.core.decisions import Decider
from server.core.errors import SyncError
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
        ask: answers an inquiry on the state as it is by then.

    Returns:
        A verdict a part; an error stands for a part that was refused.
    """
    verdicts: list[Verdict] = []
    for part in command.parts:
        wanted: Any = await ask(part) if isinstance(part, Inquiry) else part
        if isinstance(wanted, Write):
            wanted = await _settle_part(wanted, decider, load)
        verdicts.append(wanted)
    return verdicts


async def _settle_part(part: Write, decider: Decider, load: Load) -> Verdict:
    ids: list[str] = []
    while True:
        mark = decider.state.mark()
        try:
            verdict = decider.decide(_with_ids(part, ids))
        except Unread as unread:
            decider.state.undo(mark)
            decider.state.add_read(await load(unread.uris))
        except SyncError as error:
            decider.state.undo(mark)
            return error
        else:
            decider.state.keep(mark)
            return verdict


def _with_ids(part: Write, ids: list[str]) -> Write:
    """The part, which generates the ids of its last decision again, and new ones after them.

    Else what was read for one decision would never be what the next one asks for.
    """
    if not isinstance(part, Create) or part.new_id is None:
        return part
    generate, again = part.new_id, iter(tuple(ids))

    def new_id() -> str:
        for one in again:
            return one
        ids.append(generate())
        return ids[-1]

    return replace(part, new_id=new_id)
