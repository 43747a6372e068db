"""The parts of the API's description that its operations share: schemas, parameters, answers."""

from collections.abc import Iterable, Mapping
from typing import Any

from server.core import errors
from server.core.errors import SyncError
from server.core.paths import ID_MAX_LENGTH, Kind
from server.core.permissions import GRANTABLE
from server.core.positions import TIMESTAMP_MAX

Part = dict[str, Any]

TEXT: Part = {"type": "string"}
FLAG: Part = {"type": "boolean"}
COUNT: Part = {"type": "integer", "minimum": 0}
ANY: Part = {}
PRINCIPALS: Part = {
    "type": "array",
    "items": {"type": "string"},
    "description": "User ids, `system.Authenticated`, `system.Everyone`, paths of groups.",
}

READ_ERRORS = (400, 401, 403, 404, 405, 406, 410, 412, 500, 503)
WRITE_ERRORS = (*READ_ERRORS, 413, 415, 507)
OPEN_ERRORS = (400, 405, 410, 500, 503)

_OWN_FIELDS: Mapping[str, Part] = {
    "group": {"members": {"type": "array", "items": TEXT, "description": "User ids."}},
    "collection": {
        "schema": {"type": "object", "description": "JSON schema of the records."},
        "cache_expires": {
            "type": "number",
            "description": "Seconds for which anonymous readers may keep records.",
        },
    },
    "account": {"password": {"type": "string", "writeOnly": True}},
}


def mapping(properties: Part, required: Iterable[str] = (), *, more: bool = True) -> Part:
    """The schema of an object with these members."""
    schema: Part = {"type": "object", "properties": properties, "additionalProperties": more}
    needed = list(required)
    return schema | ({"required": needed} if needed else {})


def listing(items: Part) -> Part:
    """The schema of the answer of a list."""
    return mapping({"data": {"type": "array", "items": items}}, ["data"], more=False)


def ref(section: str, name: str) -> Part:
    """A reference to a shared part."""
    return {"$ref": f"#/components/{section}/{name}"}


def title_of(kind: Kind) -> str:
    """Its name as it stands in the names of schemas."""
    return "".join(word.capitalize() for word in kind.name.split("_"))


def make_schemas(kinds: Iterable[Kind]) -> Part:
    """All schemas, by name."""
    schemas: Part = {
        "Error": mapping(
            {
                "code": {"type": "integer", "description": "The HTTP status."},
                "errno": {"type": "integer", "description": "The number of the error."},
                "error": TEXT,
                "message": TEXT,
                "info": TEXT,
                "details": ANY,
            },
            ["code", "errno", "error"],
        ),
        "JsonPatch": {
            "type": "array",
            "description": "RFC 6902, on the envelope: paths begin with `/data` or `/permissions`.",
            "items": mapping(
                {
                    "op": {
                        "type": "string",
                        "enum": ["add", "remove", "replace", "move", "copy", "test"],
                    },
                    "path": TEXT,
                    "from": TEXT,
                    "value": ANY,
                },
                ["op", "path"],
            ),
        },
        "Tombstone": mapping(
            {
                "id": TEXT,
                "last_modified": {"type": "integer"},
                "deleted": {"type": "boolean", "enum": [True]},
            },
            ["id", "last_modified", "deleted"],
            more=False,
        ),
        "Deleted": mapping({"data": ref("schemas", "Tombstone")}, ["data"], more=False),
        "DeletedList": listing(ref("schemas", "Tombstone")),
    }
    for kind in kinds:
        schemas |= _schemas_of(kind)
    return schemas


def _schemas_of(kind: Kind) -> Part:
    title = title_of(kind)
    own = dict(_OWN_FIELDS.get(kind.name, {}))
    assigned = {
        "id": {
            "type": "string",
            "maxLength": ID_MAX_LENGTH,
            "pattern": f"^{kind.ids.pattern}$",
        },
        "last_modified": {
            "type": "integer",
            "minimum": 0,
            "maximum": TIMESTAMP_MAX,
            "description": "Milliseconds since 1970.",
        },
    }
    data, permissions = ref("schemas", title), ref("schemas", f"{title}Permissions")
    shown = {name: one for name, one in own.items() if not one.get("writeOnly")}
    return {
        title: mapping({**assigned, **shown}, ["id", "last_modified"]),
        f"{title}Fields": mapping({**assigned, **own}),
        f"{title}Permissions": mapping(
            {name: PRINCIPALS for name in GRANTABLE[kind.name]}, more=False
        ),
        f"{title}Object": mapping({"data": data, "permissions": permissions}, ["data"], more=False),
        f"{title}List": listing(data),
        f"{title}Body": mapping(
            {"data": ref("schemas", f"{title}Fields"), "permissions": permissions}, more=False
        ),
    }


def _query(name: str, about: str, schema: Part) -> Part:
    return {"name": name, "in": "query", "description": about, "schema": schema}


def _header(name: str, about: str, schema: Part = TEXT) -> Part:
    return {"name": name, "in": "header", "description": about, "schema": schema}


def make_parameters(page_max: int, wait_max: int) -> Part:
    """All parameters but those of paths, by name.

    Args:
        page_max: objects in a page.
        wait_max: seconds that a poll may wait.
    """
    limit = f"At most so many; {page_max} at the most. 0 is as many as there may be."
    wait = {"type": "integer", "minimum": 1, "maximum": wait_max}
    return {
        "since": _query("_since", "Changed after: an ETag, or a cursor `t-n`.", TEXT),
        "before": _query("_before", "Changed before: a timestamp in ms.", TEXT),
        "sort": _query("_sort", "Fields with commas between them; `-` descends.", TEXT),
        "limit": _query("_limit", limit, COUNT),
        "token": _query("_token", "Of the next page; take it from `Next-Page`.", TEXT),
        "fields": _query("_fields", "Fields that are wanted, with commas between them.", TEXT),
        "wait": _query("_wait", "Seconds to wait for a change after `_since`.", wait),
        "at": _query("_at", "A cursor: as it was committed then.", TEXT),
        "deletion": _query("last_modified", "Date of the deletion, in ms.", TEXT),
        "filters": {
            "name": "filters",
            "in": "query",
            "description": "Any other parameter is a filter: a field, with `not_`, `lt_`, `gt_`,"
            " `min_`, `max_`, `in_`, `exclude_`, `like_`, `has_`, `contains_` or"
            " `contains_any_` before it.",
            "style": "form",
            "explode": True,
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "if-match": _header("If-Match", 'Only if it is at this timestamp: `"1700000000000"`.'),
        "if-none-match": _header(
            "If-None-Match", "Not if it is at this timestamp; of a write, `*`: not if it exists."
        ),
        "behavior": _header(
            "Response-Behavior",
            "What the answer to a PATCH shows.",
            {"type": "string", "enum": ["full", "light", "diff"]},
        ),
    }


HEADERS: Mapping[str, Part] = {
    "ETag": {"description": "The timestamp, in quotes.", "schema": TEXT},
    "Last-Modified": {"description": "The same, as a date.", "schema": TEXT},
    "Cursor": {"description": "Where it stands in the order of its list.", "schema": TEXT},
    "Next-Page": {"description": "URL of the next page, if there is one.", "schema": TEXT},
    "Total-Objects": {"description": "How many match.", "schema": COUNT},
}


def make_responses() -> Part:
    """The answers that refuse, by status: each tells which errors it may be."""
    return {f"Error{status}": _refusal(status) for status in sorted(_failures())}


def _failures() -> dict[int, list[type[SyncError]]]:
    found: dict[int, list[type[SyncError]]] = {}
    for one in vars(errors).values():
        if isinstance(one, type) and issubclass(one, SyncError) and hasattr(one, "errno"):
            found.setdefault(one.status, []).append(one)
    return found


def _refusal(status: int) -> Part:
    lines = [
        f"errno {one.errno}: {(one.__doc__ or '').partition(chr(10))[0]}"
        for one in _failures()[status]
    ]
    return {
        "description": "\n\n".join(lines),
        "content": {"application/json": {"schema": ref("schemas", "Error")}},
    }


def refusals(statuses: Iterable[int]) -> Part:
    """References to answers that refuse, by status."""
    known = _failures()
    return {
        str(status): ref("responses", f"Error{status}")
        for status in sorted(statuses)
        if status in known
    }
