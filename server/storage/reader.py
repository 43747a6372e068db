"""Ask the judge about what one snapshot holds."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from server.core.judge import Judge
from server.core.objects import StoredObject
from server.core.paths import object_path
from server.core.permissions import EVERYONE, Actor, Rules
from server.core.state import State, Unread
from server.storage.base import Snapshot

T = TypeVar("T")


class Reader:
    """Reads a snapshot as far as a question needs it."""

    def __init__(self, snapshot: Snapshot, rules: Rules) -> None:
        self.snapshot = snapshot
        self.judge = Judge(State({}), rules)

    async def ask(self, uris: Iterable[str], question: Callable[[Judge], T]) -> T:
        """The answer to a question.

        Args:
            uris: of objects that it certainly needs: read ahead, in one find.
            question: asked again after each time it needs what was not read.

        Raises:
            SyncError: As the question does.
        """
        await self._read(uris)
        while True:
            try:
                return question(self.judge)
            except Unread as unread:
                await self._read(unread.uris)

    async def _read(self, uris: Iterable[str]) -> None:
        wanted = list(uris)
        if wanted:
            found = await self.snapshot.objects(wanted)
            self.judge.state.add_read({uri: found.get(uri) for uri in wanted})

    async def principals(self, actor: Actor) -> frozenset[str]:
        """All principals of an actor, the groups it is a member of among them."""
        if not actor.user_id:
            return actor.principals
        groups = await self.snapshot.groups_of(actor.principals - {EVERYONE})
        self.judge.state.add_read({group.uri: group for group in groups})
        uris = {object_path(group.uri).ancestors[0].uri for group in groups}
        living = await self.ask(uris, lambda judge: _living(judge, actor, groups))
        return actor.principals | living


def _living(judge: Judge, actor: Actor, groups: list[StoredObject]) -> frozenset[str]:
    return frozenset(one.uri for one in groups if judge.grants(actor, one.path))
