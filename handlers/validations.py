"""``/accounts/{id}/validate/{key}`` and ``/accounts/{id}/reset-password``."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from handlers.messages import ApiRequest, ApiResponse, stamp_headers
from handlers.plans import Plan
from handlers.routes import Place
from server.auth.accounts import Accounts
from server.core.commands import Change, Command, Outcome, Target
from server.core.envelopes import parse_envelope
from server.core.errors import Forbidden, ObjectMissing, SyncError, invalid
from server.core.json_text import dump_json
from server.core.patches import ShallowPatch
from server.core.paths import ObjectPath
from server.core.permissions import make_actor
from server.service.account_mails import AccountMails
from server.storage.base import Storage

METHODS = ("POST", "OPTIONS")

_SENT = dump_json({"message": "A temporary reset password has been sent by mail"})
_MISMATCH = "Account ID and activation key do not match"


class ValidationEndpoints:
    """Plans requests by which users confirm their address, and ask for a new password."""

    def __init__(
        self,
        storage: Storage,
        accounts: Accounts,
        mails: AccountMails,
        email: re.Pattern[str],
        owner: Callable[[ObjectPath], str],
    ) -> None:
        """Begin.

        Args:
            storage: of the accounts.
            accounts: has to forget what it knows of one that changes.
            mails: sends keys and passwords.
            email: what an address looks like.
            owner: the user id of an account's user.
        """
        self._storage = storage
        self._accounts = accounts
        self._mails = mails
        self._email = email
        self._owner = owner

    def plan_validate(self, request: ApiRequest, place: Place) -> Plan:
        """Confirm an address; answers the account, as Kinto did."""
        key = place.names["key"]
        return Plan(alone=lambda: self._validate(place.object, key), solitary=True)

    async def _validate(self, path: ObjectPath, key: str) -> ApiResponse:
        if not path.valid or not await self._mails.is_key(path.id, key):
            raise Forbidden(_MISMATCH)
        patch = ShallowPatch(parse_envelope({"data": {"validated": True}}, ()))
        target = Target(make_actor(self._owner(path)), path)
        (verdict,) = await self._storage.commit(Command((Change(target, patch),)))
        if isinstance(verdict, ObjectMissing | Forbidden):
            raise Forbidden(_MISMATCH)
        if isinstance(verdict, SyncError):
            raise verdict
        assert isinstance(verdict, Outcome)
        self._accounts.forget(path.uri)
        await self._mails.drop_key(path.id)
        self._mails.confirm(verdict.object.data)
        return ApiResponse(200, verdict.object.json, stamp_headers(verdict.object.last_modified))

    def plan_reset(self, request: ApiRequest, place: Place) -> Plan:
        """Have a temporary password sent; the answer tells nobody whether there is an account."""
        return Plan(alone=lambda: self._reset(request, place.object), solitary=True)

    async def _reset(self, request: ApiRequest, path: ObjectPath) -> ApiResponse:
        if not path.valid or not self._email.match(path.id):
            raise invalid("path", "id", "should be an e-mail address that is accepted here")
        self._mails.reset(path.id, path.uri, _context_of(request))
        return ApiResponse(200, _SENT)


def _context_of(request: ApiRequest) -> Mapping[str, Any]:
    """What a body gives to be filled in.

    Raises:
        InvalidParameters: If it is no JSON object.
    """
    request.content_type()
    data = parse_envelope(request.json(), ()).data or {}
    context = data.get("email-context", {})
    if not isinstance(context, dict):
        raise invalid("body", "data.email-context", "should be a JSON object")
    return context
