"""GET /__asyncapi__: the live protocol's description, as AsyncAPI 3.0."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from handlers.asyncapi_messages import CLIENT, SERVER, Described
from handlers.live import SUBPROTOCOL
from handlers.messages import ApiRequest, ApiResponse, json_response
from handlers.plans import Plan
from handlers.routes import Place
from server.core.targets import PREFIX

Part = dict[str, Any]

_ABOUT = """\
Every committed change is told once, in the order of commits, to whoever may see it. Each message
that moves a subscription on has a cursor, from which it can be resumed: the list's ETag is one.

A connection may have {subscriptions} subscriptions. A message from a client may have {message}
bytes; an object that has more than {event} comes without its data."""


@dataclass(frozen=True, slots=True)
class AsyncApiOptions:
    """What the operator has set.

    Attributes:
        title: name of the project.
        security: ways to authenticate, by name, as ``securitySchemes`` has them.
        subscriptions: of a connection.
        message_bytes: of a client's message.
        event_bytes: of an object in an event.
        docs: link to documentation.
    """

    title: str = "kinto"
    security: Mapping[str, Part] = field(default_factory=dict)
    subscriptions: int = 128
    message_bytes: int = 65536
    event_bytes: int = 1 << 20
    docs: str = ""


def describe_live(options: AsyncApiOptions, root: str) -> Part:
    """The document.

    Args:
        options: what the operator has set.
        root: absolute URL of the API, without a slash at its end.
    """
    return {
        "asyncapi": "3.0.0",
        "info": _info(options),
        "servers": _servers(options, root),
        "defaultContentType": "application/json",
        "channels": {"live": _socket(), "stream": _stream()},
        "operations": {
            "hear": _operation("receive", "live", "client", CLIENT, "What a client says."),
            "tell": _operation("send", "live", "server", SERVER, "What the server says."),
            "stream": _operation(
                "send", "stream", "server", _STREAMED, "The same, as Server-Sent Events."
            ),
        },
        "components": {
            "messages": {
                **{f"client.{kind}": _message(kind, one) for kind, one in CLIENT.items()},
                **{f"server.{kind}": _message(kind, one) for kind, one in SERVER.items()},
            },
            "securitySchemes": dict(options.security),
        },
    }


_STREAMED = {
    kind: one for kind, one in SERVER.items() if kind not in ("welcome", "auth", "error", "pong")
}


def _info(options: AsyncApiOptions) -> Part:
    about = _ABOUT.format(
        subscriptions=options.subscriptions,
        message=options.message_bytes,
        event=options.event_bytes,
    )
    docs = {"externalDocs": {"url": options.docs}} if options.docs else {}
    return {
        "title": f"{options.title}: live changes",
        "version": SUBPROTOCOL.rpartition(".v")[2],
        "description": about,
        "license": {"name": "Apache-2.0"},
        **docs,
    }


def _servers(options: AsyncApiOptions, root: str) -> Part:
    found = urlsplit(root)
    where = {"host": found.netloc, "pathname": found.path or PREFIX}
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in options.security]
    secured = {"security": security} if security else {}
    sockets = "wss" if found.scheme == "https" else "ws"
    return {
        "websocket": {**where, "protocol": sockets, **secured},
        "http": {**where, "protocol": found.scheme, **secured},
    }


def _socket() -> Part:
    messages = {
        **{f"client.{kind}": _ref("messages", f"client.{kind}") for kind in CLIENT},
        **{f"server.{kind}": _ref("messages", f"server.{kind}") for kind in SERVER},
    }
    protocol = {"type": "string", "enum": [SUBPROTOCOL]}
    headers = {"type": "object", "properties": {"Sec-WebSocket-Protocol": protocol}}
    return {
        "address": "/live",
        "title": "WebSocket",
        "description": "Text frames, one JSON object each, with a `type`.",
        "servers": [{"$ref": "#/servers/websocket"}],
        "messages": messages,
        "bindings": {"ws": {"method": "GET", "headers": headers, "bindingVersion": "0.1.0"}},
    }


def _stream() -> Part:
    return {
        "address": "/{path}",
        "title": "Server-Sent Events",
        "description": "`GET` of a list, an object or a bucket's `changes` with"
        " `Accept: text/event-stream`. There is one subscription, so neither `sub` nor `id`;"
        " `type` is the event's name.",
        "servers": [{"$ref": "#/servers/http"}],
        "parameters": {"path": {"description": "Such as `buckets/b/changes`."}},
        "messages": {f"server.{kind}": _ref("messages", f"server.{kind}") for kind in _STREAMED},
    }


def _ref(section: str, name: str) -> Part:
    return {"$ref": f"#/components/{section}/{name}"}


def _operation(
    action: str, channel: str, side: str, messages: Mapping[str, Described], about: str
) -> Part:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": about,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{side}.{kind}"} for kind in messages],
    }


def _message(kind: str, one: Described) -> Part:
    return {
        "name": kind,
        "title": kind,
        "summary": one.about,
        "contentType": "application/json",
        "payload": one.payload(kind),
        "examples": [{"name": kind, "payload": {"type": kind, **one.example}}],
    }


class AsyncApiEndpoint:
    """Plans ``/__asyncapi__``."""

    def __init__(self, options: AsyncApiOptions) -> None:
        self._options = options

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """The description, with this server's own address."""

        async def alone() -> ApiResponse:
            return json_response(describe_live(self._options, request.root))

        return Plan(alone=alone)
