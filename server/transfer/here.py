"""What is here of what is elsewhere."""

from collections.abc import Sequence

from server.core.judge import Judge
from server.core.objects import Clock, StoredObject
from server.core.paths import ListPath, ObjectPath
from server.core.permissions import Rules
from server.storage.base import Storage
from server.storage.reader import Reader


async def find_here(storage: Storage, paths: Sequence[ObjectPath]) -> dict[str, StoredObject]:
    """Objects and tombstones that exist here, with the objects they lie in, by URI.

    What lies in something that is gone, or stood there before it was made anew, does not exist.
    """

    def find(judge: Judge) -> dict[str, StoredObject]:
        steps = {step.uri: step for path in paths for step in path.chain}
        found = ((uri, _find(judge, step)) for uri, step in steps.items())
        return {uri: stored for uri, stored in found if stored is not None}

    uris = {step.uri for path in paths for step in path.chain}
    async with storage.snapshot() as snapshot:
        return await Reader(snapshot, Rules()).ask(uris, find)


def _find(judge: Judge, path: ObjectPath) -> StoredObject | None:
    state = judge.state
    if any(state.live(step) is None for step in path.ancestors):
        return None
    found = state.get(path.uri)
    if found is None or (path.ancestors and found.position <= state.clock(path.list).floor):
        return None
    return found


async def find_clock(storage: Storage, path: ListPath) -> Clock | None:
    """The clock of a list; None if what it lies in is gone."""

    def find(judge: Judge) -> Clock | None:
        if any(judge.state.live(step) is None for step in path.ancestors):
            return None
        return judge.state.clock(path)

    uris = {path.parent_uri, *(step.uri for step in path.ancestors)}
    async with storage.snapshot() as snapshot:
        return await Reader(snapshot, Rules()).ask(uris, find)
