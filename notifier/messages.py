"""What a client says over WebSocket, as frozen dataclasses. Pure.

A message that cannot be understood is refused by the error of the table that
REST would give; what is no message at all (not JSON, no object) ends the
connection.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from server.core.errors import InvalidParameters, invalid
from server.core.json_text import BadJSON, parse_json

Deliver = Literal["data", "ids", "poke"]
History = Literal["latest", "all"]

_DELIVER = ("data", "ids", "poke")
_HISTORY = ("latest", "all")
_INCLUDE = ("permissions", "user_id", "old")
_ON_DENIED = ("close", "wait")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ID_MAX_LENGTH = 64
_SAFE_INTEGER = 1 << 53

T = TypeVar("T")
MessageId: TypeAlias = str | int | None


class NotAMessage(Exception):
    """The frame holds no JSON object: there is nothing to answer to."""


class BadMessage(Exception):
    """A message that cannot be understood.

    Attributes:
        id: by which its sender knows it, if it has one.
        sub: the subscription it names, if it does.
        error: what is wrong with it.
    """

    def __init__(self, message_id: MessageId, sub: str | None, error: InvalidParameters) -> None:
        super().__init__(error.message)
        self.id = message_id
        self.sub = sub
        self.error = error


@dataclass(frozen=True, slots=True)
class Options:
    """How a subscription wants to be told.

    Attributes:
        deliver: whole objects, their ids, or only that something changed.
        history: of a backfill: each object once, or every revision.
        include: what else an event has: ``permissions``, ``user_id``, ``old``.
        waits: whether it waits to be let in where it is refused.
    """

    deliver: Deliver = "data"
    history: History = "latest"
    include: frozenset[str] = frozenset()
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Begin a subscription.

    Attributes:
        id: of the message.
        sub: its name.
        path: of what it is about, with a query string.
        since: a cursor, ``now``, or None for a snapshot.
        options: how it wants to be told.
    """

    id: MessageId
    sub: str
    path: str
    since: str | None = None
    options: Options = Options()


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """End a subscription."""

    id: MessageId
    sub: str


@dataclass(frozen=True, slots=True)
class Hello:
    """Begin to talk.

    Attributes:
        id: of the message.
        authorization: as the header has it; None if it has none.
        subscribe: bodies of subscriptions, to be read by ``parse_subscribe``.
    """

    id: MessageId
    authorization: str | None = None
    subscribe: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Auth:
    """Be somebody else from now on."""

    id: MessageId
    authorization: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a ``pong``; ``t`` comes back as it is."""

    id: MessageId
    t: Any = None


Message = Hello | Auth | Subscribe | Unsubscribe | Ping


def parse_message(text: str) -> Message:
    """Read a message.

    Raises:
        NotAMessage: If it is no JSON object.
        BadMessage: If it is none of those that are known, or malformed.
    """
    try:
        body = parse_json(text)
    except BadJSON as error:
        raise NotAMessage(str(error)) from None
    if not isinstance(body, dict):
        raise NotAMessage("A message is a JSON object.")
    kind = body.get("type")
    parse = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parse is None:
        words = f"should be one of {', '.join(_PARSERS)}"
        raise BadMessage(_peek_id(body), None, invalid("body", "type", words))
    return _guard(body, parse)


def parse_subscribe(body: Any) -> Subscribe:
    """Read the body of a subscription, as ``hello`` may hold some.

    Raises:
        BadMessage: If it is malformed.
    """
    if not isinstance(body, dict):
        raise BadMessage(None, None, invalid("body", "subscribe", "should hold JSON objects"))
    return _guard(body, _subscribe)


def _guard(body: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], T]) -> T:
    try:
        return parse(body)
    except InvalidParameters as error:
        sub = body.get("sub")
        named = sub if isinstance(sub, str) and _NAME.fullmatch(sub) else None
        raise BadMessage(_peek_id(body), named, error) from None


def _peek_id(body: Mapping[str, Any]) -> MessageId:
    """The id of a message that is refused, if it is one."""
    try:
        return _id(body)
    except InvalidParameters:
        return None


def _id(body: Mapping[str, Any]) -> MessageId:
    found = body.get("id")
    if found is None or (isinstance(found, str) and len(found) <= _ID_MAX_LENGTH):
        return found
    if type(found) is int and abs(found) < _SAFE_INTEGER:
        return found
    raise invalid("body", "id", f"should be an integer or at most {_ID_MAX_LENGTH} characters")


def _text(body: Mapping[str, Any], name: str) -> str:
    found = body.get(name)
    if not isinstance(found, str):
        raise invalid("body", name, "Required" if found is None else "should be a string")
    return found


def _name(body: Mapping[str, Any]) -> str:
    name = _text(body, "sub")
    if not _NAME.fullmatch(name):
        raise invalid("body", "sub", "should be 1 to 64 letters, digits or any of _ . : -")
    return name


def _hello(body: Mapping[str, Any]) -> Hello:
    authorization = body.get("authorization")
    found = body.get("subscribe")
    wanted = [] if found is None else found
    if not isinstance(wanted, list):
        raise invalid("body", "subscribe", "should be a list")
    if authorization is not None:
        authorization = _text(body, "authorization")
    return Hello(_id(body), authorization, tuple(wanted))


def _auth(body: Mapping[str, Any]) -> Auth:
    return Auth(_id(body), _text(body, "authorization"))


def _unsubscribe(body: Mapping[str, Any]) -> Unsubscribe:
    return Unsubscribe(_id(body), _name(body))


def _ping(body: Mapping[str, Any]) -> Ping:
    return Ping(_id(body), body.get("t"))


def _subscribe(body: Mapping[str, Any]) -> Subscribe:
    since = body.get("since")
    if since is not None:
        since = _text(body, "since")
    return Subscribe(_id(body), _name(body), _text(body, "path"), since, parse_options(body))


_PARSERS: Mapping[str, Callable[[Mapping[str, Any]], Message]] = {
    "hello": _hello,
    "auth": _auth,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "ping": _ping,
}


def parse_options(body: Mapping[str, Any], location: str = "body", prefix: str = "") -> Options:
    """How a subscription wants to be told.

    Args:
        body: a message, or the parameters of a query string.
        location: which of the two.
        prefix: of the parameters' names.

    Raises:
        InvalidParameters: If a value is none of those that are known.
    """

    def choose(name: str, values: tuple[str, ...]) -> str:
        found = body.get(prefix + name)
        if found is None:
            return values[0]
        if found not in values:
            raise invalid(location, prefix + name, f"should be one of {', '.join(values)}")
        return str(found)

    found = body.get(prefix + "include")
    include = [] if found is None else found
    if not isinstance(include, list) or any(one not in _INCLUDE for one in include):
        words = f"should be a list of any of {', '.join(_INCLUDE)}"
        raise invalid(location, prefix + "include", words)
    deliver: Any = choose("deliver", _DELIVER)
    history: Any = choose("history", _HISTORY)
    waits = choose("on_denied", _ON_DENIED) == "wait"
    return Options(deliver, history, frozenset(include), waits)
