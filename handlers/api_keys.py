"""API keys: what a user may say of one, and the one answer that shows it."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from handlers.messages import ApiRequest, ApiResponse
from handlers.objects import OBJECT_METHODS
from handlers.routing import Prepared
from server.auth.api_keys import (
    ApiKeyAuthenticator,
    KeySecret,
    accounts_position,
    make_key,
    parse_secret,
)
from server.core.envelopes import check_object, parse_envelope, spell_value
from server.core.errors import (
    Detail,
    EndpointMissing,
    InvalidParameters,
    MethodNotAllowed,
    MissingAuth,
    invalid,
)
from server.core.json_text import dump_json
from server.core.paths import KINDS, ListPath, ObjectPath, parse_path
from server.core.permissions import Actor
from server.core.positions import TIMESTAMP_MAX
from server.service.default_bucket import DefaultBuckets, is_alias
from server.storage.base import Storage

SCOPES_MAX = 100
NAME_MAX_LENGTH = 200

_ACCESS = ("read", "write")
_FIELDS = ("name", "scopes", "expires")


class ApiKeyRequests:
    """Makes requests on keys ready to be planned: checks them, makes keys, forgets old ones."""

    def __init__(
        self,
        storage: Storage,
        authenticator: ApiKeyAuthenticator,
        defaults: DefaultBuckets | None,
    ) -> None:
        self._storage = storage
        self._authenticator = authenticator
        self._defaults = defaults

    async def prepare(self, request: ApiRequest, path: ObjectPath | ListPath) -> Prepared:
        """See ``handlers.routing.Prepare``.

        Raises:
            SyncError: If the request cannot be understood, or is not by a user who
                has logged in.
        """
        if request.is_read:
            return Prepared(request)
        if not request.actor.user_id:
            raise MissingAuth
        if request.method == "POST":
            return await self._create(request)
        if isinstance(path, ListPath):
            return Prepared(request)
        if request.method == "PUT":
            raise MethodNotAllowed(", ".join(m for m in OBJECT_METHODS if m != "PUT"))
        return await self._change(request, path)

    async def _create(self, request: ApiRequest) -> Prepared:
        request.content_type()
        data = self._read_data(request)
        if "scopes" not in data:
            raise invalid("body", "data.scopes", "Required")
        key_id = secrets.token_hex(8)
        key, digest = make_key(key_id)
        async with self._storage.snapshot() as snapshot:
            since = await accounts_position(snapshot)
        value = {
            "data": {**data, "id": key_id},
            "permissions": {"write": [request.actor.user_id]},
        }
        secret = KeySecret(digest, since).spell()
        return Prepared(
            replace(request, value=value, secret=secret), lambda response: _show(response, key)
        )

    async def _change(self, request: ApiRequest, path: ObjectPath) -> Prepared:
        """A PATCH or DELETE: what is known of the key is forgotten with its answer."""
        if request.method == "PATCH":
            request.content_type()
            data = self._read_data(request)
            request = replace(request, value={"data": data}, secret=await self._renew(path))
        return Prepared(request, lambda response: self._forget(response, path.id))

    async def _renew(self, path: ObjectPath) -> str | None:
        """The key's secret, spelled anew: so whoever uses it now is told of the change."""
        async with self._storage.snapshot() as snapshot:
            stored = (await snapshot.objects([path.uri])).get(path.uri)
        secret = parse_secret(stored.secret) if stored is not None else None
        return secret.spell() if secret is not None else None

    def _forget(self, response: ApiResponse, key_id: str) -> ApiResponse:
        self._authenticator.forget(key_id)
        return response

    def _read_data(self, request: ApiRequest) -> dict[str, Any]:
        """What is said of a key, checked.

        Raises:
            InvalidParameters: If it is not what can be said; tells of all that is wrong.
        """
        data = dict(parse_envelope(request.json(), ()).data or {})
        problems = [*_find_problems(data, request.now)]
        if "scopes" in data:
            try:
                data["scopes"] = self._read_scopes(data["scopes"], request.actor)
            except InvalidParameters as error:
                problems += error.problems
        if problems:
            raise InvalidParameters(problems)
        return data

    def _read_scopes(self, given: Any, actor: Actor) -> list[dict[str, str]]:
        if not isinstance(given, list):
            raise invalid("body", "data.scopes", f'"{spell_value(given)}" is not iterable')
        if not 0 < len(given) <= SCOPES_MAX:
            raise invalid("body", "data.scopes", f"should have 1 to {SCOPES_MAX} entries")
        return [self._read_scope(one, f"data.scopes.{i}", actor) for i, one in enumerate(given)]

    def _read_scope(self, given: Any, place: str, actor: Actor) -> dict[str, str]:
        scope = check_object(given, place)
        if set(scope) != {"uri", "access"}:
            raise invalid("body", place, "should have uri and access, and nothing else")
        if scope["access"] not in _ACCESS:
            raise invalid("body", f"{place}.access", "should be read or write")
        return {"uri": self._resolve(scope["uri"], f"{place}.uri", actor), **_access(scope)}

    def _resolve(self, uri: Any, place: str, actor: Actor) -> str:
        """A scope's URI, with the bucket's own id for ``default``."""
        if uri == "/":
            return "/"
        if isinstance(uri, str) and self._defaults is not None and is_alias(uri):
            uri = self._defaults.resolve(uri, actor)
        try:
            path = parse_path(uri) if isinstance(uri, str) else None
        except EndpointMissing:
            path = None
        if path is None or path.kind.name not in KINDS or not path.valid:
            words = "should be / or the path of a bucket, of what lies in one, or of their list"
            raise invalid("body", place, words)
        return path.uri


def _access(scope: Mapping[str, Any]) -> dict[str, str]:
    return {"access": scope["access"]}


def _find_problems(data: Mapping[str, Any], now: int) -> list[Detail]:
    unknown = [name for name in data if name not in _FIELDS]
    problems = [Detail("body", f"data.{name}", "is not known of a key") for name in unknown]
    name = data.get("name", "")
    if not isinstance(name, str) or len(name) > NAME_MAX_LENGTH:
        words = f"should be a string of at most {NAME_MAX_LENGTH} characters"
        problems.append(Detail("body", "data.name", words))
    expires = data.get("expires")
    if expires is not None and (type(expires) is not int or not now < expires <= TIMESTAMP_MAX):
        words = "should be a time to come, in milliseconds since 1970"
        problems.append(Detail("body", "data.expires", words))
    return problems


def _show(response: ApiResponse, key: str) -> ApiResponse:
    """The answer to a creation, with the key in it: the only time that it is seen."""
    if response.status != 201:
        return response
    body = json.loads(response.body)
    body["data"]["key"] = key
    return replace(response, body=dump_json(body))
