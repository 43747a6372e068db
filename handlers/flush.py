"""POST /__flush__: remove everything."""

import secrets

from handlers.messages import ApiRequest, ApiResponse, json_response
from handlers.plans import Plan
from handlers.routes import Place
from server.core.permissions import refuse
from server.service.flushing import flush
from server.storage.base import Storage

METHODS = ("POST", "OPTIONS")


class FlushEndpoint:
    """Plans flushes; exists only where the operator has switched it on."""

    def __init__(self, storage: Storage, principals: frozenset[str]) -> None:
        self._storage = storage
        self._principals = principals

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """A flush, for who may.

        Raises:
            SyncError: If it is by somebody else.
        """
        if request.actor.principals.isdisjoint(self._principals):
            raise refuse(request.actor)
        return Plan(alone=self._flush, solitary=True)

    async def _flush(self) -> ApiResponse:
        await flush(self._storage, secrets.token_hex(8))
        return json_response({}, 202)
