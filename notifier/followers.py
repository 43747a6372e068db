"""What a Python client knows of one path that it follows: messages in, what happened out. Pure.

A follower holds the cursor up to which its user was told everything. Whoever
carries its connection says ``hello`` with it, hands over each message, and
connects again when it is ``Interrupted``.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from server.core.errors import SyncError
from server.core.json_text import dump_json
from server.core.paths import ObjectPath, parse_path
from server.core.positions import parse_cursor

SUBSCRIPTION = "follow"
"""Its name; there is one on a connection."""

NOW = "now"

CURSOR_EXPIRED = 118
"""The errno of a cursor from which the server cannot go on."""

_REMOVALS = frozenset({"delete", "leave"})
_FINAL = frozenset({400, 401, 403, 404, 405, 410, 413})
"""Statuses that the same request would meet again."""

_TOO_MANY_SECONDS = 10.0
"""Before a server that was asked too much is asked again."""


@dataclass(frozen=True, slots=True)
class Change:
    """An object as it is now, or its going.

    Attributes:
        action: ``snapshot`` for an object that was there; ``create``, ``update``, or ``enter``
            for one that came into sight; ``delete``, or ``leave`` for one that went out of sight.
        uri: of the object.
        resource_name: ``bucket``, ``collection``, ``group`` or ``record``.
        data: the object, or of a ``delete`` its tombstone; of a ``leave`` only its ``id``. None
            if it is too large to be pushed: ``GET`` it.
        cursor: from which to go on once this was dealt with; None within a snapshot.
        reason: ``filter`` or ``permission``, of an ``enter`` or ``leave``.
        permissions: of the object, where they were asked for and are ours to see.
        user_id: who changed it, where that was asked for.
        old: the object as it was before, where that was asked for.
    """

    action: str
    uri: str
    resource_name: str
    data: Mapping[str, Any] | None
    cursor: str | None = None
    reason: str | None = None
    permissions: Mapping[str, Any] | None = None
    user_id: str | None = None
    old: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """The object's id."""
        return self.uri.rpartition("/")[2]

    @property
    def last_modified(self) -> int | None:
        """The object's timestamp, in milliseconds, where the change tells it."""
        return None if self.data is None else self.data.get("last_modified")

    @property
    def removes(self) -> bool:
        """Whether the object is to be removed from a copy; else it is put there."""
        return self.action in _REMOVALS


@dataclass(frozen=True, slots=True)
class Reset:
    """Drop your copy: what is there follows, as changes with the action ``snapshot``.

    Attributes:
        reason: ``permissions-changed``, ``floor``, ``ahead``, ``restarted``, ``epoch`` or
            ``denied``.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A copy that was made of all that was told is what the server had at ``cursor``.

    Attributes:
        cursor: from which to go on.
        epoch: of the server's database; a cursor means nothing in another.
    """

    cursor: str
    epoch: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """There was nothing to see up to ``cursor``."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Poke:
    """Something has changed; all that is told where only pokes were asked for."""

    cursor: str


Told: TypeAlias = Change | Reset | Ready | Progress | Poke


class Refused(Exception):
    """The server will not tell this, now or later: an error of its table.

    Attributes:
        code: status, as HTTP has it.
        errno: of the protocol; None where the server gave none.
        message: for a person.
        details: as the server sent them.
    """

    def __init__(self, code: int, errno: int | None, message: str, details: Any = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.errno = errno
        self.message = message
        self.details = details


class Interrupted(Exception):
    """The connection is of no use any more; another may be.

    Attributes:
        retry_after: seconds that the server wants to be left alone.
        disagreed: whether the server broke its promises.
    """

    def __init__(self, why: str, retry_after: float = 0, *, disagreed: bool = False) -> None:
        super().__init__(why)
        self.retry_after = retry_after
        self.disagreed = disagreed


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is followed, and how it is to be told; see ``follow``."""

    path: str
    deliver: str = "data"
    history: str = "latest"
    include: Collection[str] = ()
    wait: bool = False


class Follower:
    """One path that is followed, over as many connections as it takes.

    Attributes:
        cursor: up to which all was told; ``now`` before it is known; None where a
            snapshot is needed.
        epoch: of the database that it belongs to, once that is known.
        heartbeat: seconds after which the server says something at the latest.
        connected: whether the current connection was greeted.
    """

    def __init__(self, wanted: Wanted, since: str | None = None, epoch: str | None = None) -> None:
        """Begin; nothing is told before ``begin``.

        Raises:
            ValueError: If ``since`` is no cursor.
        """
        self.cursor = None if since is None else check_since(since)
        self.epoch = epoch
        self.heartbeat = 10.0
        self.connected = False
        self._wanted = wanted
        self._path = wanted.path
        self._holds = since is not None
        self._loss = "restarted"
        self._retry_after = 0.0
        self._handlers: dict[str, Callable[[Mapping[str, Any]], list[Told]]] = {
            "welcome": self._welcome,
            "subscribed": self._subscribed,
            "snapshot": self._snapshot,
            "event": self._event,
            "ready": self._ready,
            "progress": lambda message: [Progress(self._advance(message))],
            "poke": lambda message: self._hold([Poke(self._advance(message))]),
            "reset": self._reset,
            "unsubscribed": self._unsubscribed,
            "error": self._error,
            "goodbye": self._goodbye,
        }

    def begin(self) -> list[Told]:
        """What is to be told before another connection is tried."""
        self.connected = False
        self._retry_after = 0.0
        if self.cursor is not None or not self._holds:
            return []
        reason, self._loss = self._loss, "restarted"
        self._holds = False
        return [Reset(reason)]

    def hello(self) -> str:
        """The message to begin with."""
        wanted = self._wanted
        body = {
            "id": "subscribe",
            "sub": SUBSCRIPTION,
            "path": wanted.path,
            "since": self.cursor,
            "deliver": wanted.deliver,
            "history": wanted.history,
            "include": list(wanted.include),
            "on_denied": "wait" if wanted.wait else "close",
        }
        kept = {name: value for name, value in body.items() if value not in (None, [])}
        hello = {"type": "hello", "id": "hello", "client": "kintoun.follow", "subscribe": [kept]}
        return dump_json(hello).decode()

    def receive(self, message: Mapping[str, Any]) -> list[Told]:
        """What a message tells.

        Raises:
            Interrupted: If it is better to connect again.
            Refused: If that would help nothing.
        """
        try:
            handle = self._handlers.get(message.get("type", ""))
            return handle(message) if handle is not None else []
        except (KeyError, TypeError, ValueError) as error:
            raise Interrupted(f"a message is malformed: {error!r}", disagreed=True) from error

    def closed(self, code: int | None, reason: str | None) -> Exception:
        """What the end of a connection means.

        Args:
            code: of the close frame; None if there was none.
            reason: that it gives.
        """
        words = reason or "the connection is lost"
        status = (code or 0) - 4000
        if status in _FINAL:
            return Refused(status, None, words)
        return Interrupted(words, _TOO_MANY_SECONDS if status == 429 else self._retry_after)

    # Messages.

    def _welcome(self, message: Mapping[str, Any]) -> list[Told]:
        self.connected = True
        self.heartbeat = float(message.get("heartbeat") or self.heartbeat)
        known, self.epoch = self.epoch, message.get("epoch")
        if known not in (None, self.epoch) and self.cursor not in (None, NOW):
            raise self._lose("epoch", "the server's database is another one")
        return []

    def _lose(self, reason: str, why: str) -> Interrupted:
        """The cursor is worth nothing any more; begin again without."""
        self.cursor = None
        self._loss = reason
        return Interrupted(why)

    def _subscribed(self, message: Mapping[str, Any]) -> list[Told]:
        self._path = message["path"]
        if message["mode"] == "live":
            self.cursor = message["cursor"]
        elif message["mode"] == "snapshot":
            self.cursor = None
        return []

    def _advance(self, message: Mapping[str, Any]) -> str:
        """Go on to a message's cursor.

        Raises:
            Interrupted: If it does not follow what was told before.
        """
        self._check_prev(message)
        cursor: str = message["cursor"]
        self.cursor = cursor
        return cursor

    def _check_prev(self, message: Mapping[str, Any]) -> None:
        prev = message.get("prev")
        if self.cursor == NOW or _position(prev) != _position(self.cursor):
            words = f"a message follows {prev}, not {self.cursor}"
            raise Interrupted(words, disagreed=True)

    def _hold(self, told: list[Told]) -> list[Told]:
        self._holds = self._holds or bool(told)
        return told

    def _snapshot(self, message: Mapping[str, Any]) -> list[Told]:
        self._check_prev(message)
        if message.get("cursor") is not None:
            self.cursor = message["cursor"]
        path = self._path.partition("?")[0]
        if path.endswith("/changes"):
            return self._hold([_entry(one) for one in message["data"]])
        found = parse_path(path)
        kind = found.kind.name
        whole = isinstance(found, ObjectPath)
        uris = [path if whole else f"{path}/{one['id']}" for one in message["data"]]
        pairs = zip(uris, message["data"], strict=True)
        return self._hold([Change("snapshot", uri, kind, data) for uri, data in pairs])

    def _event(self, message: Mapping[str, Any]) -> list[Told]:
        cursor = self._advance(message)
        change = Change(
            message["action"],
            message["uri"],
            message["resource_name"],
            message.get("data"),
            cursor,
            *(message.get(name) for name in ("reason", "permissions", "user_id", "old")),
        )
        return self._hold([change])

    def _ready(self, message: Mapping[str, Any]) -> list[Told]:
        return [Ready(self._advance(message), self.epoch)]

    def _reset(self, message: Mapping[str, Any]) -> list[Told]:
        self.cursor = None
        self._holds = False
        return [Reset(message["reason"])]

    def _unsubscribed(self, message: Mapping[str, Any]) -> list[Told]:
        words = message.get("reason") or "unsubscribed"
        if self._wanted.wait and message["code"] in (401, 403, 404):
            raise self._lose("denied", words)
        raise _failure(message, words)

    def _error(self, message: Mapping[str, Any]) -> list[Told]:
        words = message.get("message") or message.get("error") or "error"
        if (message["code"], message.get("errno")) == (410, CURSOR_EXPIRED):
            details = message.get("details") or {}
            raise self._lose(details.get("reason") or "floor", words)
        raise _failure(message, words)

    def _goodbye(self, message: Mapping[str, Any]) -> list[Told]:
        self._retry_after = float(message.get("retry_after") or 0)
        return []


def _entry(entry: Mapping[str, Any]) -> Change:
    return Change("snapshot", entry["uri"], entry["resource_name"], entry["data"])


def _failure(message: Mapping[str, Any], words: str) -> Exception:
    """The exception that a message's error is."""
    if message["code"] in _FINAL:
        return Refused(message["code"], message.get("errno"), words, message.get("details"))
    return Interrupted(words, float(message.get("retry_after") or 0))


def refusal(status: int, body: Any, retry_after: float = 0) -> Exception:
    """The exception that an answer of HTTP is, where a WebSocket was asked for.

    Args:
        status: of the answer.
        body: its JSON; None if it has none.
        retry_after: seconds, of its header.
    """
    known = body if isinstance(body, Mapping) else {}
    titles = {one.value: one.phrase for one in HTTPStatus}
    words = known.get("message") or known.get("error") or titles.get(status, "no answer")
    # A proxy that is restarting says 404 too; but so does a wrong address, for ever.
    if status < 500 and status not in (408, 425, 429, 599):
        return Refused(status, known.get("errno"), words, known.get("details"))
    return Interrupted(words, retry_after)


def check_since(since: str) -> str:
    """A cursor, or ``now``, as it is sent.

    Raises:
        ValueError: If it is neither.
    """
    if since == NOW:
        return since
    _position(since)
    return since.strip('"')


def _position(cursor: str | None) -> int | None:
    """Where a cursor stands, however it is spelled.

    Raises:
        ValueError: If it is none.
    """
    if cursor is None:
        return None
    try:
        return parse_cursor(cursor)
    except SyncError:
        raise ValueError(f"{cursor!r} is no cursor") from None
