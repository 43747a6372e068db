"""GET /__counters__: how many objects and tombstones are stored, by kind."""

from collections.abc import Collection

from handlers.messages import ApiRequest, ApiResponse, json_response
from handlers.plans import Plan
from handlers.routes import Place
from server.storage.base import Storage


class CountersEndpoint:
    """Plans counts."""

    def __init__(self, storage: Storage, kinds: Collection[str]) -> None:
        """Begin.

        Args:
            storage: what is counted.
            kinds: that are told of.
        """
        self._storage = storage
        self._kinds = kinds

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """A count of everything: it may take a while, so it is no part of a batch."""
        return Plan(alone=self._count, solitary=True)

    async def _count(self) -> ApiResponse:
        async with self._storage.snapshot() as snapshot:
            found = await snapshot.tally()
        told = {kind: found[kind] for kind in self._kinds}
        objects = {kind: one.live for kind, one in told.items() if one.live}
        tombstones = {kind: one.tombstones for kind, one in told.items() if one.tombstones}
        return json_response({"objects": objects, "tombstones": tombstones})
