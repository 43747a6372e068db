"""POST /batch: many requests in one; the writes among them are one command."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

from handlers.messages import NO_VALUE, ApiRequest, ApiResponse
from handlers.plans import Plan, Planner
from handlers.routes import Place
from handlers.waits import asks_to_wait
from server.core.errors import Detail, InvalidParameters, SyncError, invalid
from server.core.json_text import dump_json
from server.core.permissions import Actor
from server.core.targets import PREFIX, decode_path, parse_arguments

METHODS = ("POST", "OPTIONS")

_PART_METHODS = ("GET", "HEAD", "DELETE", "TRACE", "POST", "PUT", "PATCH")
_PART_KEYS = ("method", "path", "headers", "body")
_VERSIONED = re.compile(rf"{PREFIX}(?=/|$)")

PlanPart = Callable[[ApiRequest], Awaitable[Plan | SyncError]]
Identify = Callable[[str | None], Awaitable[Actor]]


class BatchEndpoint:
    """Plans batches."""

    def __init__(
        self, planner: Planner, plan_part: PlanPart, identify: Identify, max_requests: int
    ) -> None:
        self._planner = planner
        self._plan_part = plan_part
        self._identify = identify
        self._max_requests = max_requests

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """What a batch comes to.

        Raises:
            SyncError: If the batch itself is malformed.
        """
        request.content_type()
        body = request.json()
        parts = parse_batch(body, self._max_requests)
        atomic = bool(body.get("atomic", False))

        async def alone() -> ApiResponse:
            return await self._run(request, parts, atomic=atomic)

        return Plan(alone=alone)

    async def _run(
        self, outer: ApiRequest, parts: list[dict[str, Any]], *, atomic: bool
    ) -> ApiResponse:
        targets = [split_target(part["path"]) for part in parts]
        plans = [
            await self._plan(outer, part, target)
            for part, target in zip(parts, targets, strict=True)
        ]
        responses = await self._planner.run_all(plans, len(outer.body), atomic=atomic)
        items = [
            _item(part, target, response)
            for part, (target, _), response in zip(parts, targets, responses, strict=True)
        ]
        body = b'{"responses":[%b]}' % b",".join(items)
        return ApiResponse(200, body, facts={"batch_size": len(parts)})

    async def _plan(
        self, outer: ApiRequest, part: dict[str, Any], target: tuple[str, str]
    ) -> Plan | SyncError:
        plan = await self._plan_safely(outer, part, target)
        if isinstance(plan, SyncError) and plan.status >= 500:
            # Whatever it is, all of the batch fails with it.
            raise plan
        return plan

    async def _plan_safely(
        self, outer: ApiRequest, part: dict[str, Any], target: tuple[str, str]
    ) -> Plan | SyncError:
        try:
            headers = PartHeaders(part.get("headers", {}))
            authorization = headers.get("Authorization")
            request = ApiRequest(
                part["method"],
                decode_path(target[0]),
                parse_arguments(target[1]),
                headers,
                b"",
                await self._identify(authorization) if authorization else outer.actor,
                outer.root,
                outer.now,
                part.get("body", NO_VALUE),
            )
        except SyncError as error:
            return error
        if asks_to_wait(request):
            return invalid("querystring", "_wait", "A part of a batch cannot wait")
        plan = await self._plan_part(request)
        if isinstance(plan, Plan) and plan.solitary:
            return invalid("path", "", f"{request.path} cannot be a part of a batch")
        return plan


class PartHeaders:
    """Headers of a part of a batch."""

    def __init__(self, sent: Mapping[str, str]) -> None:
        self._fields = {name.lower(): value for name, value in sent.items()}

    def get(self, name: str) -> str | None:
        """The value of a field; None if it was not sent."""
        return self._fields.get(name.lower())


def split_target(target: str) -> tuple[str, str]:
    """Path and query string of a part's target; redirects are followed."""
    path, _, query = target.partition("?")
    path = _VERSIONED.sub("", path, count=1)
    return path.rstrip("/") or "/", query


def parse_batch(body: Any, max_requests: int) -> list[dict[str, Any]]:
    """Check a batch; its defaults are filled in.

    Raises:
        InvalidParameters: If it is no batch, or has too many requests.
    """
    _check_keys(body, ("requests", "defaults", "atomic"), "")
    if not isinstance(body.get("atomic", False), bool):
        raise invalid("body", "atomic", "should be true or false")
    if "requests" not in body:
        raise invalid("body", "requests", "Required")
    requests = body["requests"]
    if not isinstance(requests, list):
        raise invalid("body", "requests", "should be a list")
    if len(requests) > max_requests:
        words = f"Number of requests is limited to {max_requests}"
        raise invalid("body", "requests", words)
    defaults = body.get("defaults", {})
    _check_keys(defaults, _PART_KEYS, "defaults")
    return [_parse_part(defaults, one, f"requests.{i}") for i, one in enumerate(requests)]


def _check_keys(value: Any, known: tuple[str, ...], name: str) -> None:
    if not isinstance(value, dict):
        raise invalid("body", name, "should be a JSON object")
    unknown = [key for key in value if key not in known]
    if unknown:
        raise invalid("body", name, f'Unrecognized keys in mapping: "{unknown[0][:60]}"')


def _parse_part(defaults: dict[str, Any], given: Any, name: str) -> dict[str, Any]:
    _check_keys(given, _PART_KEYS, name)
    part: dict[str, Any] = {"method": "GET", **_merge(defaults, given)}
    problems = [Detail("body", f"{name}.{key}", words) for key, words in _problems(part)]
    if problems:
        raise InvalidParameters(problems)
    if unquote(split_target(part["path"])[0]) == "/batch":
        raise invalid("body", "requests", "Recursive call on /batch endpoint is forbidden.")
    return part


def _problems(part: dict[str, Any]) -> list[tuple[str, str]]:
    problems = []
    if part["method"] not in _PART_METHODS:
        words = f'"{str(part["method"])[:20]}" is not one of {", ".join(_PART_METHODS)}'
        problems.append(("method", words))
    if "path" not in part:
        problems.append(("path", "Required"))
    elif not isinstance(part["path"], str) or not part["path"].startswith("/"):
        problems.append(("path", "String does not match expected pattern"))
    headers = part.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        problems.append(("headers", "should be an object of strings"))
    if "body" in part and not isinstance(part["body"], dict | list):
        problems.append(("body", "should be a JSON object, or a list of operations"))
    return problems


def _merge(defaults: Any, given: Any) -> Any:
    """What is given, filled up from the defaults at every depth."""
    if not isinstance(defaults, dict) or not isinstance(given, dict):
        return given
    merged = {key: _merge(defaults.get(key), value) for key, value in given.items()}
    return {**defaults, **merged}


def _item(part: dict[str, Any], target: str, response: ApiResponse) -> bytes:
    """A part's answer, spliced: its body is JSON text already."""
    try:
        shown = decode_path(target)
    except SyncError:
        shown = target
    headers = {**response.headers, "Content-Type": "application/json"}
    head = dump_json({"status": response.status, "path": PREFIX + shown, "headers": headers})
    body = response.body
    if part["method"] == "HEAD" or not body:
        body = b'""' if part["method"] == "HEAD" else b"{}"
    return b'%b,"body":%b}' % (head[:-1], body)
