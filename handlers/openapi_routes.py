"""What the description says of single endpoints beyond their row in the table of routes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from handlers.openapi_schemas import ANY, COUNT, FLAG, TEXT, Part, listing, mapping

LIST_PARAMETERS = ("since", "before", "sort", "limit", "token", "fields", "filters")

_ROW = mapping({}, ())


@dataclass(frozen=True, slots=True)
class About:
    """Of one operation.

    Attributes:
        answer: schema of the body of a success; None for no body.
        status: of that.
        body: schema of the request's body; None for none.
        media: type of the request's body.
        shown_as: type of the answer's body.
        parameters: names of shared ones.
        name: ``operationId``; empty for one that is made of its path.
    """

    answer: Part | None = field(default_factory=dict)
    status: str = "200"
    body: Part | None = None
    media: str = "application/json"
    shown_as: str = "application/json"
    parameters: Sequence[str] = ()
    name: str = ""


_BATCH_REQUEST = mapping(
    {
        "method": {"type": "string", "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]},
        "path": {"type": "string", "pattern": "^/"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "body": ANY,
    },
    more=False,
)

_BATCH = mapping(
    {"defaults": _BATCH_REQUEST, "requests": {"type": "array", "items": _BATCH_REQUEST}},
    ["requests"],
)

_BATCH_ANSWER = mapping(
    {
        "responses": {
            "type": "array",
            "items": mapping(
                {
                    "status": {"type": "integer"},
                    "path": TEXT,
                    "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                    "body": ANY,
                },
                ["status", "path", "headers", "body"],
            ),
        }
    },
    ["responses"],
)

_HELLO = mapping(
    {
        "project_name": TEXT,
        "project_version": TEXT,
        "project_docs": TEXT,
        "http_api_version": TEXT,
        "url": TEXT,
        "settings": mapping({"batch_max_requests": COUNT, "readonly": FLAG}),
        "capabilities": {"type": "object", "additionalProperties": {"type": "object"}},
        "user": mapping({"id": TEXT, "principals": {"type": "array", "items": TEXT}}, ["id"]),
    },
    ["project_name", "http_api_version", "url", "settings", "capabilities"],
)

_HEARTBEAT: Part = {"type": "object", "additionalProperties": {"type": ["boolean", "null"]}}

_COUNTS: Part = {"type": "object", "additionalProperties": COUNT}

_PERMISSIONS = listing(
    mapping(
        {"uri": TEXT, "resource_name": TEXT, "permissions": {"type": "array", "items": TEXT}},
        ["uri"],
    )
)

_FORM = mapping(
    {
        "attachment": {"type": "string", "format": "binary"},
        "data": {"type": "string", "description": "JSON: what else changes in the record."},
        "permissions": {"type": "string", "description": "JSON: the permissions that change."},
    },
    ["attachment"],
    more=False,
)

_FILE = mapping(
    {
        "filename": TEXT,
        "location": TEXT,
        "hash": {"type": "string", "description": "SHA-256, hexadecimal."},
        "mimetype": TEXT,
        "size": COUNT,
    },
    ["filename", "location", "hash", "mimetype", "size"],
)

_TEXT_PLAIN: Part = {"type": "string"}

_BY_TEMPLATE: Mapping[tuple[str, str], About] = {
    ("GET", "/"): About(_HELLO, name="server_info"),
    ("POST", "/batch"): About(_BATCH_ANSWER, body=_BATCH, name="batch"),
    ("GET", "/__heartbeat__"): About(_HEARTBEAT, name="__heartbeat__"),
    ("GET", "/__lbheartbeat__"): About(mapping({}), name="__lbheartbeat__"),
    ("GET", "/__version__"): About(ANY, name="__version__"),
    ("GET", "/contribute.json"): About(mapping({"name": TEXT}), name="contribute"),
    ("GET", "/__api__"): About(mapping({}), name="get_openapi_spec"),
    ("GET", "/__asyncapi__"): About(mapping({}), name="get_asyncapi_spec"),
    ("GET", "/__counters__"): About(mapping({"objects": _COUNTS, "tombstones": _COUNTS})),
    ("GET", "/__metrics__"): About(_TEXT_PLAIN, shown_as="text/plain"),
    ("GET", "/docs"): About(_TEXT_PLAIN, shown_as="text/html"),
    ("GET", "/docs/{file}"): About(_TEXT_PLAIN, shown_as="*/*"),
    ("POST", "/__flush__"): About(mapping({}), "202"),
    ("DELETE", "/__user_data__/{principal}"): About(
        mapping({"data": mapping({"principal": TEXT}, ["principal"])}, ["data"])
    ),
    ("GET", "/permissions"): About(_PERMISSIONS, parameters=LIST_PARAMETERS),
    ("GET", "/buckets/{bucket_id}/history"): About(
        listing(_ROW), parameters=LIST_PARAMETERS, name="get_history"
    ),
    ("DELETE", "/buckets/{bucket_id}/history"): About(
        listing(_ROW), parameters=LIST_PARAMETERS, name="delete_history"
    ),
    ("GET", "/attachments/{path}"): About(_TEXT_PLAIN, shown_as="*/*"),
}


def about(method: str, template: str) -> About:
    """What is said of an operation."""
    found = _BY_TEMPLATE.get((method, template))
    if found is not None:
        return found
    if template.endswith("/attachment"):
        if method == "POST":
            return About(_FILE, "2XX", body=_FORM, media="multipart/form-data")
        return About(None, "204")
    if method == "GET" and template.endswith("/revisions"):
        return About(listing(_ROW), parameters=LIST_PARAMETERS)
    if method == "GET" and "/snapshot/" in template:
        return About(listing(_ROW), parameters=LIST_PARAMETERS)
    if method in ("POST", "PUT", "PATCH"):
        return About(ANY, "2XX", body=ANY)
    return About(ANY, "2XX")
