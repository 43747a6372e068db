"""GET /__api__: the API's description, as OpenAPI 3.1 or in the older form that Kinto has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from handlers.hello import HTTP_API_VERSION
from handlers.messages import ApiRequest, ApiResponse, json_response
from handlers.openapi_kinds import (
    content,
    failing,
    feed_operations,
    list_operations,
    object_operations,
    operation,
    socket_operation,
)
from handlers.openapi_routes import About, about
from handlers.openapi_schemas import (
    HEADERS,
    TEXT,
    Part,
    make_parameters,
    make_responses,
    make_schemas,
)
from handlers.plans import Plan
from handlers.routes import Place, Route, list_template, object_template
from handlers.routing import FEED_TEMPLATE, Api
from handlers.swagger import to_swagger
from server.core.conditions import single
from server.core.errors import invalid
from server.core.paths import Kind

_NAME = re.compile(r"\{(\w+)\}")
_VERSION = re.compile(r"version\s*=\s*\"?([0-9.]+)")

_VERSIONS = {"2": 2, "2.0": 2, "3": 3, "3.1": 3, "3.1.0": 3}


@dataclass(frozen=True, slots=True)
class DescriptionOptions:
    """What the operator has set.

    Attributes:
        title: name of the project.
        security: ways to authenticate, by name, as ``securitySchemes`` has them.
        disabled: as ``ObjectOptions.disabled``.
        readonly: whether nothing is written.
        page_max: objects in a page.
        wait_max: seconds that a poll may wait.
        batch_max: requests in a batch.
        body_max: bytes of a body.
        has_default: whether ``default`` is everybody's own bucket.
        docs: link to documentation.
    """

    title: str
    security: Mapping[str, Part]
    disabled: frozenset[tuple[str, str, str]] = frozenset()
    readonly: bool = False
    page_max: int = 10000
    wait_max: int = 25
    batch_max: int = 25
    body_max: int = 8 << 20
    has_default: bool = False
    docs: str = ""


_INTRODUCTION = """\
Buckets hold collections of records, and groups of users. Every list has a timestamp, its
`ETag`, by which it is polled. Bodies are JSON: `data` is the object, `permissions` who may do
what with it. A body may have {body_max} bytes, a batch {batch_max} requests.

Changes are also told live, over WebSocket, Server-Sent Events (`Accept: text/event-stream`)
and long-poll (`_wait`): the AsyncAPI document at `__asyncapi__` describes that."""


class Describer:
    """Describes an API."""

    def __init__(self, options: DescriptionOptions) -> None:
        self._options = options
        self._paths: dict[str, Part] = {}
        self._tags: dict[str, None] = {}

    def describe(self, api: Api) -> Part:
        """The document, but for its ``servers``."""
        options = self._options
        for kind in api.kinds:
            self._add_kind(kind)
        self._add_live()
        for route in api.routes.all:
            self._add_route(route)
        schemes = dict(options.security)
        introduction = _INTRODUCTION.format(body_max=options.body_max, batch_max=options.batch_max)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": options.title,
                "version": HTTP_API_VERSION,
                "description": introduction,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "externalDocs": {"url": options.docs},
            "tags": [{"name": name} for name in self._tags],
            "security": [{}, *({name: []} for name in schemes)],
            "paths": self._paths,
            "components": {
                "schemas": make_schemas(api.kinds),
                "parameters": make_parameters(options.page_max, options.wait_max),
                "headers": dict(HEADERS),
                "responses": make_responses(),
                "securitySchemes": schemes,
            },
        }

    def _put(self, template: str, method: str, operation: Part) -> None:
        if self._options.readonly and method not in ("GET", "HEAD"):
            return
        for tag in operation["tags"]:
            self._tags[tag] = None
        item = self._paths.setdefault(template, {"parameters": self._path_parameters(template)})
        item[method.lower()] = operation

    def _path_parameters(self, template: str) -> list[Part]:
        return [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": TEXT,
                **self._about_name(name),
            }
            for name in _NAME.findall(template)
        ]

    def _about_name(self, name: str) -> Part:
        if name == "bucket_id" and self._options.has_default:
            return {"description": "`default` is your own bucket."}
        return {}

    # Lists and objects.

    def _add_kind(self, kind: Kind) -> None:
        disabled = self._options.disabled
        for method, described in list_operations(kind).items():
            if ("plural", kind.name, method) not in disabled:
                self._put(list_template(kind), method, described)
        for method, described in object_operations(kind).items():
            if ("object", kind.name, method) not in disabled:
                self._put(object_template(kind), method, described)

    def _add_live(self) -> None:
        for method, described in feed_operations().items():
            self._put(FEED_TEMPLATE, method, described)
        self._put("/live", "GET", socket_operation())

    # All others.

    def _add_route(self, route: Route) -> None:
        for method in route.methods:
            if method == "OPTIONS":
                continue
            said = about("GET" if method == "HEAD" else method, route.template)
            summary = route.about.get(method) or _summary(route, method)
            name = said.name or _name_of(method, route.template)
            if method == "HEAD" and said.name:
                name = f"head_{said.name.strip('_')}"
            described = operation(name, summary, route.tag or "Others", said.parameters)
            answers = _answers(said, method)
            others = failing(method, is_stored=False, is_open=route.is_open)
            described["responses"] = answers | others | answers
            if said.body is not None and method != "HEAD":
                described["requestBody"] = content(said.body, said.media)
            if route.is_open and route.template not in ("/", "/batch"):
                described["security"] = []
            self._put(route.template, method, described)


def _summary(route: Route, method: str) -> str:
    if method == "HEAD" and "GET" in route.about:
        return f"{route.about['GET']}: the headers only"
    return f"{method} {route.template}"


def _name_of(method: str, template: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", template)
    return "_".join([method.lower(), *words])


def _answers(said: About, method: str) -> Part:
    done: Part = {"description": "Done"}
    if said.answer is not None and method != "HEAD":
        done |= content(said.answer, said.shown_as)
    answers = {said.status: done}
    if said.name == "__heartbeat__":
        answers["503"] = {**done, "description": "Some part is not well"}
    return answers


@dataclass(slots=True)
class OpenApiEndpoint:
    """Plans ``/__api__``.

    Attributes:
        options: what the operator has set.
    """

    options: DescriptionOptions
    _document: Part = field(default_factory=dict)

    def join(self, api: Api) -> None:
        """Describe this one."""
        self._document = Describer(self.options).describe(api)

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """The description, in the version that is asked for.

        Raises:
            InvalidParameters: If there is none in that version.
        """
        version = _asked_version(request)

        async def alone() -> ApiResponse:
            document = {**self._document, "servers": [{"url": request.root}]}
            return json_response(to_swagger(document) if version == 2 else document)

        return Plan(alone=alone)


def _asked_version(request: ApiRequest) -> int:
    given = [value for name, value in request.arguments if name == "version"]
    if given:
        found = _VERSIONS.get(single("version", given))
        if found is None:
            raise invalid("querystring", "version", "should be 2 or 3")
        return found
    asked = _VERSION.search(request.headers.get("Accept") or "")
    return _VERSIONS.get(asked[1], 3) if asked else 3
