"""``/openid/{provider}/login`` and ``/token``: a browser's way to a token and back."""

import json
import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from handlers.callbacks import Callbacks
from handlers.messages import ApiRequest, ApiResponse
from handlers.plans import Plan
from handlers.routes import Place
from server.auth.providers import Provider
from server.core.errors import Detail, InvalidParameters, invalid
from server.core.targets import PREFIX
from server.settings_openid import OpenIDOptions
from server.storage.base import Storage

METHODS = ("GET", "OPTIONS")

_STATE = "openid:state:"
"""Begins the names under which logins are kept."""

_PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""A token stands in the address: nobody is to keep it, or to pass it on."""


@dataclass(frozen=True, slots=True)
class Login:
    """What is needed to log in by one provider.

    Attributes:
        provider: is asked.
        options: of the policy.
        callbacks: where its tokens may go, beside this server's console.
    """

    provider: Provider
    options: OpenIDOptions
    callbacks: Callbacks


class OpenIDEndpoints:
    """Plans logins, and what follows them."""

    def __init__(self, storage: Storage, logins: Mapping[str, Login]) -> None:
        """Begin.

        Args:
            storage: keeps logins until their users are back.
            logins: by name of the policy.
        """
        self._storage = storage
        self._logins = logins

    def plan_login(self, request: ApiRequest, place: Place) -> Plan:
        """The redirect to the provider.

        Raises:
            InvalidParameters: If there is no such provider, or the query is none.
        """
        login = self._find(place)
        query = _read_query(request, ("callback", "scope"), ("prompt",))
        _check_login(login, query, request.root)
        back = _token_url(request, login)
        return Plan(alone=lambda: self._begin(login, query, back), solitary=True)

    def plan_token(self, request: ApiRequest, place: Place) -> Plan:
        """The redirect back to the page that wanted a login.

        Raises:
            InvalidParameters: If there is no such provider, or the query is none.
        """
        login = self._find(place)
        query = _read_query(request, ("state",), ("code", "error", "error_description"))
        if ("code" in query) == ("error" in query):
            raise invalid("querystring", "", "Provide either code or error, and state.")
        back = _token_url(request, login)
        return Plan(alone=lambda: self._end(login, query, back), solitary=True)

    def _find(self, place: Place) -> Login:
        name = place.names["provider"]
        login = self._logins.get(name)
        if login is None:
            raise invalid("path", "provider", f"Unknown provider {name[:60]!r}")
        return login

    async def _begin(self, login: Login, query: Mapping[str, str], back: str) -> ApiResponse:
        options = login.options
        metadata = await login.provider.metadata()
        state = secrets.token_hex(options.state_length)
        kept = json.dumps({"provider": options.name, "callback": query["callback"]})
        await self._storage.keep(_STATE + state, kept, options.state_ttl_seconds)
        parameters = {
            "client_id": options.client_id,
            "response_type": "code",
            "scope": query["scope"],
            "redirect_uri": back,
            "state": state,
        }
        if "prompt" in query:
            parameters["prompt"] = query["prompt"]
        if options.audience:
            parameters["audience"] = options.audience
        return _redirect(_with_query(metadata.authorization_endpoint, parameters))

    async def _end(self, login: Login, query: Mapping[str, str], back: str) -> ApiResponse:
        callback = await self._take_callback(login, query["state"])
        if "error" in query:
            told = {name: query[name] for name in ("error", "error_description") if name in query}
            return _redirect(callback + urlencode(told))
        form = {
            "code": query["code"],
            "redirect_uri": back,
            "grant_type": "authorization_code",
        }
        options = login.options
        tokens = await login.provider.trade(form, options.client_id, options.client_secret)
        return _redirect(callback + quote(b64encode(tokens).decode()))

    async def _take_callback(self, login: Login, state: str) -> str:
        """Where a login's user came from; known once.

        Raises:
            InvalidParameters: If there is no such login, or no more, or by another provider.
        """
        kept = await self._storage.take(_STATE + state)
        known = json.loads(kept) if kept is not None else {}
        if known.get("provider") != login.options.name:
            raise invalid("querystring", "state", "Invalid state")
        callback: str = known["callback"]
        return callback


def _read_query(
    request: ApiRequest, required: Iterable[str], optional: Iterable[str]
) -> dict[str, str]:
    """The parameters of a request that are known, each given once.

    Raises:
        InvalidParameters: If one is missing or given twice; tells of all of these.
    """
    found: dict[str, str] = {}
    problems = []
    for name in (*required, *optional):
        values = [value for known, value in request.arguments if known == name]
        if len(values) == 1 and values[0]:
            found[name] = values[0]
        elif values:
            problems.append(Detail("querystring", name, "should be given once, with a value"))
        elif name in required:
            problems.append(Detail("querystring", name, "Required"))
    if problems:
        raise InvalidParameters(problems)
    return found


def _check_login(login: Login, query: Mapping[str, str], root: str) -> None:
    options, asked = login.options, query["scope"].split()
    unknown = sorted(set(asked) - set(options.allowed_scopes))
    problems = []
    if unknown:
        words = f"Scopes not allowed: {', '.join(unknown)}"
        problems.append(Detail("querystring", "scope", words))
    elif options.userid_field == "email" and "email" not in asked:
        words = f"Provider {options.name} requires 'email' scope"
        problems.append(Detail("querystring", "scope", words))
    # The console, and no more of this server: what users store has addresses here, too.
    start = root.removesuffix(PREFIX)
    console = Callbacks([f"{root}/admin/*", f"{start}/", f"{start}/?*", f"{start}/#*"])
    if not any(one.allow(query["callback"]) for one in (login.callbacks, console)):
        problems.append(Detail("querystring", "callback", "Untrusted callback URL"))
    if query.get("prompt", "none") != "none":
        problems.append(Detail("querystring", "prompt", "should be none"))
    if problems:
        raise InvalidParameters(problems)


def _token_url(request: ApiRequest, login: Login) -> str:
    """Where the provider sends users back to: the same whenever it is told."""
    return f"{request.root}/openid/{quote(login.options.name)}/token"


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def _redirect(url: str) -> ApiResponse:
    return ApiResponse(307, b"", {"Location": url, **_PRIVATE})
