"""The messages of the live protocol, as schemas: what a client says, and what the server says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Part = dict[str, Any]

TEXT: Part = {"type": "string"}
FLAG: Part = {"type": "boolean"}
NUMBER: Part = {"type": "number"}
WHOLE: Part = {"type": "integer"}
ANY: Part = {}
OBJECT: Part = {"type": "object"}

ID: Part = {
    "type": ["string", "integer"],
    "maxLength": 64,
    "description": "Chosen by the client; comes back in the one answer to the message.",
}
SUB: Part = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_.:-]{1,64}$",
    "description": "The subscription's name, chosen by the client.",
}
CURSOR: Part = {
    "type": "string",
    "pattern": "^[0-9]+(-[0-9]+)?$",
    "description": "A place in the order of commits, `t` or `t-n`.",
}
PREV: Part = {
    "type": ["string", "null"],
    "description": "The cursor of the subscription's message before.",
}
USER: Part = {
    "type": ["object", "null"],
    "properties": {"id": TEXT, "principals": {"type": "array", "items": TEXT}},
    "required": ["id", "principals"],
}


def _one_of(*values: str, about: str) -> Part:
    return {"type": "string", "enum": list(values), "description": about}


_SUBSCRIBE: Part = {
    "id": ID,
    "sub": SUB,
    "path": {
        "type": "string",
        "description": "A list with filters, an object, or `/buckets/{bucket}/changes`.",
    },
    "since": {
        "type": "string",
        "description": "A cursor: what changed after it, then what changes. `now`: what changes."
        " None: all there is, then what changes.",
    },
    "deliver": _one_of("data", "ids", "poke", about="Objects, their ids, or that there is news."),
    "history": _one_of("latest", "all", about="A backfill has each object once, or all."),
    "include": {
        "type": "array",
        "items": {"type": "string", "enum": ["permissions", "user_id", "old"]},
    },
    "on_denied": _one_of("close", "wait", about="Where it is refused: end it, or wait."),
}


@dataclass(frozen=True, slots=True)
class Described:
    """A message.

    Attributes:
        about: what it says, in a sentence.
        fields: beside ``type``.
        required: of those.
        example: its fields in one.
    """

    about: str
    fields: Part = field(default_factory=dict)
    required: tuple[str, ...] = ()
    example: Part = field(default_factory=dict)

    def payload(self, kind: str) -> Part:
        """Its schema."""
        return {
            "type": "object",
            "properties": {"type": {"type": "string", "const": kind}, **self.fields},
            "required": ["type", *self.required],
        }


_AUTHORIZATION: Part = {
    "type": "string",
    "description": "What the header `Authorization` would have.",
}

CLIENT: Mapping[str, Described] = {
    "hello": Described(
        "Begins to talk; has to come first.",
        {
            "id": ID,
            "authorization": _AUTHORIZATION,
            "client": TEXT,
            "subscribe": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": _SUBSCRIBE,
                    "required": ["sub", "path"],
                },
            },
        },
        example={"id": 1, "authorization": "Basic YWxpY2U6c2VjcmV0"},
    ),
    "auth": Described(
        "Be somebody else from now on.",
        {"id": ID, "authorization": _AUTHORIZATION},
        ("authorization",),
        {"id": 2, "authorization": "Basic Ym9iOnNlY3JldA=="},
    ),
    "subscribe": Described(
        "Begins a subscription.",
        _SUBSCRIBE,
        ("sub", "path"),
        {"id": 3, "sub": "todo", "path": "/buckets/b/collections/tasks/records?status=open"},
    ),
    "unsubscribe": Described(
        "Ends a subscription.", {"id": ID, "sub": SUB}, ("sub",), {"id": 4, "sub": "todo"}
    ),
    "ping": Described(
        "Asks for a `pong` with the same `t`.", {"id": ID, "t": ANY}, example={"t": 1}
    ),
}
"""What a client says, by type."""

_STEP: Part = {"sub": SUB, "prev": PREV, "cursor": CURSOR}
_STEPPED = ("sub", "prev", "cursor")
_AT: Part = {"sub": "todo", "prev": "1718000000100", "cursor": "1718000000123"}

_EVENT: Part = {
    "action": _one_of(
        "create", "update", "enter", "delete", "leave", about="Put it into the copy, or remove it."
    ),
    "reason": _one_of("filter", "permission", about="Of `enter` and `leave`."),
    "uri": TEXT,
    "resource_name": TEXT,
    "data": OBJECT,
    "truncated": {"type": "boolean", "description": "It was too large: `GET` it."},
    "user_id": TEXT,
    "old": OBJECT,
    "permissions": OBJECT,
}

SERVER: Mapping[str, Described] = {
    "welcome": Described(
        "Answers `hello`.",
        {
            "id": ID,
            "user": USER,
            "server_time": {"type": "integer", "description": "Milliseconds since 1970."},
            "heartbeat": {"type": "number", "description": "Seconds."},
            "limits": {"type": "object", "additionalProperties": WHOLE},
            "epoch": {
                "type": "string",
                "description": "When it is another than before, drop every cursor.",
            },
        },
        ("user", "server_time", "heartbeat", "limits", "epoch"),
        {
            "id": 1,
            "user": None,
            "server_time": 1718000000123,
            "heartbeat": 25,
            "limits": {"subscriptions": 128},
            "epoch": "9c1185a5c5e9fc54",
        },
    ),
    "subscribed": Described(
        "A subscription has begun, or waits.",
        {
            "id": ID,
            "sub": SUB,
            "path": TEXT,
            "mode": _one_of("snapshot", "backfill", "live", "waiting", about="What follows."),
            "cursor": CURSOR,
            "floor": CURSOR,
        },
        ("sub", "path", "mode"),
        {"id": 3, "sub": "todo", "path": "/buckets/b/changes", "mode": "waiting"},
    ),
    "snapshot": Described(
        "A page of what there is; only the last has a cursor.",
        {
            "sub": SUB,
            "prev": PREV,
            "cursor": CURSOR,
            "data": {"type": "array", "items": OBJECT},
            "more": FLAG,
        },
        ("sub", "prev", "data", "more"),
        {"sub": "todo", "prev": None, "cursor": "1718000000100", "data": [], "more": False},
    ),
    "event": Described(
        "An object changed.",
        {**_STEP, **_EVENT},
        (*_STEPPED, "action", "uri", "resource_name"),
        {
            **_AT,
            "action": "update",
            "uri": "/buckets/b/collections/tasks/records/r1",
            "resource_name": "record",
            "data": {"id": "r1", "last_modified": 1718000000123},
        },
    ),
    "ready": Described(
        "Everything up to here was told; what follows is live.", _STEP, _STEPPED, _AT
    ),
    "progress": Described("Nothing to tell up to here.", _STEP, _STEPPED, _AT),
    "poke": Described("Something changed.", _STEP, _STEPPED, _AT),
    "reset": Described(
        "Drop your copy: a snapshot follows.",
        {"sub": SUB, "reason": TEXT, "cursor": CURSOR},
        ("sub", "reason"),
        {"sub": "todo", "reason": "permissions-changed", "cursor": "1718000000123"},
    ),
    "unsubscribed": Described(
        "A subscription is over.",
        {
            "id": ID,
            "sub": SUB,
            "code": WHOLE,
            "errno": WHOLE,
            "reason": TEXT,
            "purge": {"type": "boolean", "description": "Drop your copy: it is not yours to see."},
        },
        ("sub", "code", "reason", "purge"),
        {"sub": "todo", "code": 403, "errno": 121, "reason": "Forbidden", "purge": True},
    ),
    "auth": Described(
        "Answers `auth`.", {"id": ID, "user": USER}, ("user",), {"id": 2, "user": None}
    ),
    "error": Described(
        "Something was refused; the members are those of an error of the API.",
        {
            "id": ID,
            "sub": SUB,
            "code": WHOLE,
            "errno": WHOLE,
            "error": TEXT,
            "message": TEXT,
            "details": ANY,
            "retry_after": {"type": "number", "description": "Seconds."},
        },
        ("code", "errno", "error"),
        {"id": 3, "code": 403, "errno": 121, "error": "Forbidden"},
    ),
    "ping": Described("Nothing was said for long; needs no answer."),
    "pong": Described("Answers `ping`.", {"id": ID, "t": ANY}, example={"t": 1}),
    "goodbye": Described(
        "The server is about to close.",
        {"reason": TEXT, "retry_after": NUMBER},
        ("reason", "retry_after"),
        {"reason": "restart", "retry_after": 3.2},
    ),
}
"""What the server says, by type."""
