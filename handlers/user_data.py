"""DELETE /__user_data__/{principal}: forget a user."""

from handlers.messages import ApiRequest, ApiResponse, json_response
from handlers.plans import Plan
from handlers.routes import Place
from server.core.errors import MethodNotAllowed
from server.core.permissions import refuse
from server.service.user_data import forget_user
from server.storage.base import Storage

METHODS = ("DELETE", "OPTIONS")


class UserDataEndpoint:
    """Plans deletions of all that a principal owns."""

    def __init__(
        self, storage: Storage, principals: frozenset[str], *, is_disabled: bool = False
    ) -> None:
        """Begin.

        Args:
            storage: where it is deleted.
            principals: who may.
            is_disabled: whether the operator has switched it off.
        """
        self._storage = storage
        self._principals = principals
        self._is_disabled = is_disabled

    def plan(self, request: ApiRequest, place: Place) -> Plan:
        """A deletion, for who may.

        Raises:
            SyncError: If it is by somebody else, or switched off.
        """
        if self._is_disabled:
            raise MethodNotAllowed(", ".join(METHODS))
        if request.actor.principals.isdisjoint(self._principals):
            raise refuse(request.actor)
        principal = place.names["principal"]

        async def alone() -> ApiResponse:
            await forget_user(self._storage, request.actor, principal)
            return json_response({"data": {"principal": principal}})

        return Plan(alone=alone, solitary=True)
