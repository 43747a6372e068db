from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from server.core.commands import Command, Inquiry, Outcome
from server.core.decisions import Decider
from server.core.errors import Forbidden, PartFailed, SyncError
from server.core.judge import Judge
from server.core.objects import StoredObject, make_root
from server.core.paths import ROOT
from server.core.state import State
from server.storage.settling import settle
from tests.server.storage.scenes import BOB, RULES, post, put

NOW = 1_700_000_000_000

pytestmark = pytest.mark.gen_test


class Shelf:
    """What is stored, and what of it was asked for."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredObject] = {ROOT: make_root(NOW, "epoch")}
        self.asked: list[str] = []
        self.decider = Decider(Judge(State({}), RULES), NOW)

    async def load(self, uris: Iterable[str]) -> Mapping[str, StoredObject | None]:
        wanted = list(uris)
        self.asked += wanted
        return {uri: self.stored.get(uri) for uri in wanted}

    async def ask(self, inquiry: Inquiry) -> Any:
        return await inquiry.ask(sorted(self.decider.state.written))

    async def settle(self, *parts: Any) -> list[Any]:
        return await settle(Command(parts), self.decider, self.load, self.ask)


async def test_what_a_decision_needs_is_read_once_and_the_decision_made_again() -> None:
    shelf = Shelf()
    verdicts = await shelf.settle(put("/buckets/b"), put("/buckets/b/collections/c"))
    assert [type(one) for one in verdicts] == [Outcome, Outcome]
    assert sorted(shelf.asked) == sorted({*shelf.asked})
    assert len(shelf.decider.state.revisions) == 2


async def test_refused_part_is_undone_and_read_nothing_that_must_be_locked() -> None:
    shelf = Shelf()
    made, refused = await shelf.settle(put("/buckets/b"), put("/buckets/b/collections/c", by=BOB))
    assert made.created
    assert isinstance(refused, Forbidden)
    assert list(shelf.decider.state.written) == ["/buckets/b"]
    assert shelf.decider.state.locked == {"b", ROOT}


async def test_inquiry_sees_what_was_decided_and_may_give_a_write() -> None:
    shelf = Shelf()

    async def ask(written: Any) -> Any:
        return written

    async def give(_: Any) -> Any:
        return put("/buckets/c")

    verdicts = await shelf.settle(Inquiry(ask), put("/buckets/b"), Inquiry(ask), Inquiry(give))
    assert (verdicts[0], verdicts[2]) == ([], ["/buckets/b"])
    assert verdicts[3].object.uri == "/buckets/c"


async def test_error_that_is_no_refusal_ends_the_command() -> None:
    shelf = Shelf()
    await shelf.settle(put("/buckets/b"))

    def fail() -> str:
        raise RuntimeError("no ids today")

    with pytest.raises(RuntimeError):
        await shelf.settle(post("/buckets/b", new_id=fail))


def is_error(verdict: Any) -> bool:
    return isinstance(verdict, SyncError)


async def test_of_parts_that_stand_and_fall_together_one_refusal_undoes_all_and_ends_it() -> None:
    shelf = Shelf()
    await shelf.settle(put("/buckets/first"))
    asked = []

    async def ask(written: Any) -> Any:
        asked.append(written)

    parts = (put("/buckets/b"), Inquiry(ask), put("/buckets/b/groups/g", by=BOB), Inquiry(ask))
    command = Command(parts, fails=is_error)
    verdicts = await settle(command, shelf.decider, shelf.load, shelf.ask)
    assert [type(one) for one in verdicts] == [PartFailed, PartFailed, Forbidden, PartFailed]
    assert asked == [["/buckets/b", "/buckets/first"]]
    state = shelf.decider.state
    assert list(state.written) == ["/buckets/first"]
    assert [one.uri for one in state.revisions] == ["/buckets/first"]
    assert state.locked == {"first", ROOT}


async def test_parts_that_stand_and_fall_together_are_all_done_if_none_fails() -> None:
    shelf = Shelf()
    command = Command((put("/buckets/b"), put("/buckets/b/groups/g")), fails=is_error)
    verdicts = await settle(command, shelf.decider, shelf.load, shelf.ask)
    assert [type(one) for one in verdicts] == [Outcome, Outcome]
    assert sorted(shelf.decider.state.written) == ["/buckets/b", "/buckets/b/groups/g"]
