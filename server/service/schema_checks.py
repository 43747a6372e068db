"""How many records of a collection a schema would refuse, before it is the collection's."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.core.errors import Detail, invalid
from server.core.judge import Judge
from server.core.objects import Clock, Listed
from server.core.paths import KINDS, ListPath, ObjectPath, parse_path
from server.core.permissions import Actor, Rules, refuse
from server.core.schemas import FIELD, Schema
from server.core.sorting import DEFAULT_ORDER, keys_of
from server.storage.base import Page, Snapshot
from server.storage.reader import Reader

EXAMPLES_MAX = 100
"""Records of which it is told what is wrong."""

CHECK_SECONDS_MAX = 60.0
"""That a check may take; no longer is a snapshot sure to be kept."""

_AT_ONCE = 2000
_AT_ONCE_BYTES = 8 << 20
_TURN_SECONDS = 0.01
"""After which others have their turn."""


@dataclass(slots=True)
class Report:
    """What a check has found.

    Attributes:
        total: how many records there are.
        failing: how many of them the schema would refuse.
        examples: the first of these, newest first, with what is wrong with each.
    """

    total: int = 0
    failing: int = 0
    examples: list[tuple[str, Detail]] = field(default_factory=list)

    def add(self, record: Listed, problem: Detail | None) -> None:
        """Count one."""
        self.total += 1
        if problem is not None:
            self.failing += 1
            if len(self.examples) < EXAMPLES_MAX:
                self.examples.append((record.id, problem))

    def body(self) -> dict[str, Any]:
        """As it is sent."""
        examples = [
            {
                "id": record_id,
                "details": [
                    {
                        "location": problem.location,
                        "name": problem.name,
                        "description": problem.description,
                    }
                ],
            }
            for record_id, problem in self.examples
        ]
        return {"total": self.total, "failing": self.failing, "examples": examples}


async def check_records(
    snapshot: Snapshot, rules: Rules, actor: Actor, collection: ObjectPath, schema: Schema
) -> Report:
    """Check every record of a collection; others have their turn meanwhile.

    Args:
        snapshot: that is read.
        rules: about permissions.
        actor: who asks, and must have the right to write the collection.
        collection: whose records are checked.
        schema: that they are checked by.

    Raises:
        SyncError: If the collection is not there, or the actor may not write it.
        InvalidParameters: If it takes too long.
    """
    uris = [step.uri for step in collection.chain]
    reader = Reader(snapshot, rules)
    clock = await reader.ask(uris, lambda judge: _records_clock(judge, actor, collection))
    report = Report()
    loop = asyncio.get_running_loop()
    start = turn = loop.time()
    async for records in _pages(snapshot, collection, clock):
        for record in records:
            report.add(record, schema.find_problem(record.data, record.json))
            now = loop.time()
            if now - turn > _TURN_SECONDS:
                await asyncio.sleep(0)
                turn = loop.time()
            if now - start > CHECK_SECONDS_MAX:
                words = f"To check all records would take more than {CHECK_SECONDS_MAX:.0f} seconds"
                raise invalid("body", FIELD, words)
    return report


def _records_clock(judge: Judge, actor: Actor, collection: ObjectPath) -> Clock:
    """The clock of the records, for who may write the collection."""
    chain = judge.chain(actor, collection.list)
    stored = judge.state.live(collection)
    if stored is None:
        raise judge.missing(actor, collection, chain)
    chain[collection.kind.name] = stored
    if not judge.may(actor, collection, "write", chain):
        raise refuse(actor)
    return judge.state.clock_of(collection.uri, KINDS["record"].plural)


async def _pages(
    snapshot: Snapshot, collection: ObjectPath, clock: Clock
) -> AsyncIterator[Sequence[Listed]]:
    """All records, a part at a time."""
    path = parse_path(f"{collection.uri}/{KINDS['record'].plural}")
    assert isinstance(path, ListPath)
    after = None
    while True:
        page = Page(path, clock.floor, (), DEFAULT_ORDER, _AT_ONCE, after, max_bytes=_AT_ONCE_BYTES)
        records = await snapshot.page(page)
        if not records:
            return
        yield records
        after = keys_of(DEFAULT_ORDER, records[-1].data)
