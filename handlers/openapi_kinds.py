"""The operations on lists and objects of a kind, and on what is live, as they are described."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from handlers.openapi_routes import LIST_PARAMETERS
from handlers.openapi_schemas import (
    OPEN_ERRORS,
    READ_ERRORS,
    TEXT,
    WRITE_ERRORS,
    Part,
    listing,
    mapping,
    ref,
    refusals,
    title_of,
)
from server.core.patches import PATCH_TYPES
from server.core.paths import Kind

_JSON = "application/json"
_MATCH = ("if-match", "if-none-match")
_WRITTEN = ("ETag", "Cursor")


@dataclass(frozen=True, slots=True)
class _Row:
    """What one method does.

    Attributes:
        name: ``operationId``.
        summary: for a person.
        parameters: names of shared ones.
        answers: of a success, by status.
        body: of the request; None for none.
    """

    name: str
    summary: str
    parameters: tuple[str, ...]
    answers: Part
    body: Part | None = None

    def operation(self, method: str, tag: str) -> Part:
        """As it is described."""
        described = operation(self.name, self.summary, tag, self.parameters)
        described["responses"] = self.answers | failing(method)
        return described if self.body is None else described | {"requestBody": self.body}


def list_operations(kind: Kind) -> Mapping[str, Part]:
    """On a list, by method."""
    title, plural, word = title_of(kind), kind.plural.replace("-", "_"), _words(kind.name)
    everything = (*LIST_PARAMETERS, "at", *_MATCH)
    one = f"{title}Object"
    rows = {
        "GET": _Row(
            f"get_{plural}",
            f"List the {_words(plural)}",
            (*everything, "wait"),
            {"200": _streamed(_shown("The list", f"{title}List", (*_WRITTEN, "Next-Page")))},
        ),
        "HEAD": _Row(
            f"head_{plural}",
            f"Count the {_words(plural)}",
            everything,
            {"200": _headed("How many there are", ("ETag", "Total-Objects"))},
        ),
        "POST": _Row(
            f"create_{kind.name}",
            f"Make a {word} with a new id, or its own",
            _MATCH,
            {
                "200": _shown("There was one already", one, ("ETag",)),
                "201": _shown("It was made", one, _WRITTEN),
            },
            _body(title),
        ),
        "DELETE": _Row(
            f"delete_{plural}",
            "Delete what matches, and may be written",
            (*LIST_PARAMETERS, *_MATCH),
            {"200": _shown("What was deleted", "DeletedList", _WRITTEN)},
        ),
    }
    return {method: row.operation(method, _tag(kind)) for method, row in rows.items()}


def object_operations(kind: Kind) -> Mapping[str, Part]:
    """On an object, by method."""
    title, name, word = title_of(kind), kind.name, _words(kind.name)
    whole = f"{title}Object"
    rows = {
        "GET": _Row(
            f"get_{name}",
            f"Read a {word}",
            ("fields", "at", *_MATCH),
            {"200": _streamed(_shown(f"The {word}", whole, ("ETag",)))},
        ),
        "HEAD": _Row(
            f"head_{name}",
            f"Read the timestamp of a {word}",
            ("fields", "at", *_MATCH),
            {"200": _headed("It exists", ("ETag",))},
        ),
        "PUT": _Row(
            f"update_{name}",
            f"Make a {word}, or replace what it holds",
            _MATCH,
            {
                "200": _shown("It was replaced", whole, _WRITTEN),
                "201": _shown("It was made", whole, _WRITTEN),
            },
            _body(title),
        ),
        "PATCH": _Row(
            f"patch_{name}",
            f"Change parts of a {word}",
            ("behavior", *_MATCH),
            {"200": _changed()},
            _patch_body(title),
        ),
        "DELETE": _Row(
            f"delete_{name}",
            f"Delete a {word}, and all that lies in it",
            ("deletion", *_MATCH),
            {"200": _shown("Its tombstone", "Deleted", _WRITTEN)},
        ),
    }
    return {method: row.operation(method, _tag(kind)) for method, row in rows.items()}


def feed_operations() -> Mapping[str, Part]:
    """On a bucket's feed, by method."""
    fields = {name: TEXT for name in ("cursor", "action", "uri", "resource_name")}
    events = content(listing(mapping({**fields, "data": mapping({})}, ["uri"])))
    used = ("since", "limit", "fields", "wait", "filters", "if-none-match")
    answers = {
        "GET": _streamed({"description": "Events, or all there is", **events}),
        "HEAD": {"description": "The headers of GET"},
    }
    return {
        method: _Row(
            f"{method.lower()}_bucket_changes",
            "Tell what changed in a bucket",
            used,
            {"200": answer},
        ).operation(method, "Buckets")
        for method, answer in answers.items()
    }


def socket_operation() -> Part:
    """The WebSocket's beginning."""
    described = operation("open_live", "Open the WebSocket of live changes", "Live", ())
    switched = {"description": "What is spoken then, the AsyncAPI document tells."}
    return described | {"responses": {"101": switched, **refusals((400, 401, 403, 410))}}


def operation(name: str, summary: str, tag: str, parameters: Iterable[str]) -> Part:
    """An operation, without its answers.

    Args:
        name: its ``operationId``.
        summary: for a person.
        tag: of what it is a part.
        parameters: names of shared ones.
    """
    return {
        "operationId": name,
        "summary": summary,
        "tags": [tag],
        "parameters": [ref("parameters", one) for one in parameters],
    }


def content(schema: Part, media: str = _JSON) -> Part:
    """A body of one type."""
    return {"content": {media: {"schema": schema}}}


def failing(method: str, *, is_stored: bool = True, is_open: bool = False) -> Part:
    """The answers beside those of a success.

    Args:
        method: of the operation.
        is_stored: whether it is on an object or a list, which may be known already.
        is_open: whether it asks for nobody's permission.
    """
    if method not in ("GET", "HEAD"):
        return refusals(WRITE_ERRORS)
    unchanged = {"304": {"description": "It is as you know it"}} if is_stored else {}
    return unchanged | refusals((*OPEN_ERRORS, 404) if is_open else READ_ERRORS)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("api", "API")


def _tag(kind: Kind) -> str:
    words = _words(kind.plural.replace("-", "_"))
    return words[0].upper() + words[1:]


def _headed(description: str, headers: Iterable[str]) -> Part:
    return {
        "description": description,
        "headers": {name: ref("headers", name) for name in headers},
    }


def _shown(description: str, schema: str, headers: Iterable[str]) -> Part:
    return {**_headed(description, headers), **content(ref("schemas", schema))}


def _streamed(answer: Part) -> Part:
    """The same, or, to who accepts that, what changes in it."""
    events = {"schema": {"type": "string", "description": "See the AsyncAPI document."}}
    return {**answer, "content": {**answer["content"], "text/event-stream": events}}


def _changed() -> Part:
    """What ``Response-Behavior`` may leave parts out of."""
    schema = mapping({"data": mapping({}), "permissions": mapping({})}, ["data"], more=False)
    return {**_headed("It was changed", _WRITTEN), **content(schema)}


def _body(title: str) -> Part:
    return content(ref("schemas", f"{title}Body"))


def _patch_body(title: str) -> Part:
    shapes = [ref("schemas", f"{title}Body")] * 2 + [ref("schemas", "JsonPatch")]
    bodies = {kind: {"schema": shape} for kind, shape in zip(PATCH_TYPES, shapes, strict=True)}
    return {"content": bodies, "required": True}
