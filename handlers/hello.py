"""The hello view, and the views that tell whether the server is well."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handlers.messages import ApiRequest, ApiResponse, json_response
from handlers.plans import Plan
from handlers.routes import Place
from server.core.errors import EndpointMissing
from server.core.permissions import Rules
from server.service.default_bucket import DefaultBuckets
from server.storage.base import Snapshot, Storage
from server.storage.reader import Reader

HTTP_API_VERSION = "1.23"

READ_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class HelloOptions:
    """What the hello view says.

    Attributes:
        project: ``project_name, project_version, project_docs``.
        settings: ``batch_max_requests, readonly, explicit_permissions``.
        capabilities: by name; each has ``description`` and ``url``.
        eos: date of the end of service, ISO 8601; empty for none.
        cache_seconds: that a read-only server's view is kept.
    """

    project: Mapping[str, str]
    settings: Mapping[str, Any]
    capabilities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    eos: str = ""
    cache_seconds: int = 86400


class HelloEndpoint:
    """Plans ``/``: what this server is and can."""

    def __init__(
        self, options: HelloOptions, rules: Rules, defaults: DefaultBuckets | None
    ) -> None:
        self._options = options
        self._rules = rules
        self._defaults = defaults

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """The view; reads only for who is authenticated."""
        if request.actor.user_id:
            return Plan(read=lambda snapshot: self._personal(request, snapshot))
        return Plan(alone=lambda: self._anonymous(request))

    async def _anonymous(self, request: ApiRequest) -> ApiResponse:
        return self._answer(self._view(request))

    async def _personal(self, request: ApiRequest, snapshot: Snapshot) -> ApiResponse:
        actor = request.actor
        principals = await Reader(snapshot, self._rules).principals(actor)
        user: dict[str, Any] = {"id": actor.user_id, "principals": sorted(principals)}
        if self._defaults is not None:
            user["bucket"] = self._defaults.bucket_of(actor)
        if actor.profile is not None:
            user["profile"] = actor.profile
        return self._answer(self._view(request) | {"user": user})

    def _view(self, request: ApiRequest) -> dict[str, Any]:
        options = self._options
        view: dict[str, Any] = {
            **options.project,
            "http_api_version": HTTP_API_VERSION,
            "url": request.root + "/",
            "config": None,
            "settings": options.settings,
            "capabilities": options.capabilities,
        }
        return view | ({"eos": options.eos} if options.eos else {})

    def _answer(self, view: dict[str, Any]) -> ApiResponse:
        if self._options.settings["readonly"]:
            kept = {"Cache-Control": f"max-age={self._options.cache_seconds}"}
            return json_response(view, headers=kept)
        return json_response(view)


class HeartbeatEndpoint:
    """Plans ``/__heartbeat__``: whether the database answers."""

    def __init__(
        self,
        storage: Storage,
        checks: Mapping[str, Callable[[], Awaitable[bool]]],
        timeout_seconds: float,
    ) -> None:
        """Begin.

        Args:
            storage: is checked, too.
            checks: of other parts, by name.
            timeout_seconds: that each may take.
        """
        self._storage = storage
        self._checks = checks
        self._timeout = timeout_seconds

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """The view: 200 or 503, and a boolean for each part of the backend."""
        return Plan(alone=self._check)

    async def _check(self) -> ApiResponse:
        checks = [self._storage.check, *self._checks.values()]
        well, *others = await asyncio.gather(*(self._ask(check) for check in checks))
        # One database is all three of them.
        body = dict.fromkeys(("storage", "permission", "cache"), well)
        body.update(zip(self._checks, others, strict=True))
        return json_response(body, 200 if all(body.values()) else 503)

    async def _ask(self, check: Callable[[], Awaitable[bool]]) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                return await check()
        except TimeoutError:
            return False


def plan_lbheartbeat(request: ApiRequest, _: Place) -> Plan:
    """``/__lbheartbeat__``: whether the process answers."""

    async def alone() -> ApiResponse:
        return json_response({})

    return Plan(alone=alone)


class FileEndpoint:
    """Plans ``/__version__``: the content of a JSON file that the deployment wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """The file."""
        return Plan(alone=self._read)

    async def _read(self) -> ApiResponse:
        try:
            text = await asyncio.to_thread(self._path.read_text)
        except OSError:
            raise EndpointMissing from None
        return json_response(json.loads(text))


def plan_contribute(request: ApiRequest, _: Place) -> Plan:
    """``/contribute.json``: where the project is made."""

    async def alone() -> ApiResponse:
        return json_response(
            {
                "name": "kintoun",
                "description": "A JSON storage and synchronisation server with sharing.",
                "repository": {"license": "Apache-2.0"},
                "keywords": ["json", "sync", "kinto", "tornado", "mongodb"],
            }
        )

    return Plan(alone=alone)
