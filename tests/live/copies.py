"""What a client has: the fold of what it was told, and the chain of its cursors."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

Message = dict[str, Any]


class Broken(AssertionError):
    """The server broke a promise."""


def check(promise: object, *facts: object) -> None:
    """Check a promise of the server.

    Raises:
        Broken: If it was broken; it says the facts.
    """
    if not promise:
        raise Broken(" ".join(str(one) for one in facts))


def position_of(cursor: str) -> int:
    """A cursor as a number that sorts as it does."""
    t, _, n = cursor.partition("-")
    return (int(t) << 20) + int(n or 0)


@dataclass(frozen=True)
class Filter:
    """A filter whose meaning is said a second time.

    Attributes:
        query: as it is sent.
        field: that it looks at.
        values: that pass.
    """

    query: str
    field: str
    values: tuple[Any, ...]

    def passes(self, data: Message) -> bool:
        return self.field in data and data[self.field] in self.values


@dataclass(frozen=True)
class Topic:
    """What is subscribed to.

    Attributes:
        kind: ``list``, ``object`` or ``feed``.
        path: of the list or object; of a feed, the bucket's.
        filter: of a list or feed.
        fields: wanted of each object; None for all.
        ids: whether only identities are delivered.
    """

    kind: str
    path: str
    filter: Filter | None = None
    fields: tuple[str, ...] | None = None
    ids: bool = False

    @property
    def target(self) -> str:
        """Path and query."""
        query = [self.filter.query] if self.filter else []
        if self.fields is not None:
            query.append("_fields=" + ",".join(self.fields))
        path = f"{self.path}/changes" if self.kind == "feed" else self.path
        return f"{path}?{'&'.join(query)}" if query else path

    @property
    def list(self) -> str:
        """URI of the list whose order its cursor counts in."""
        return self.path if self.kind == "list" else self.path.rpartition("/")[0]

    def show(self, data: Message) -> Message:
        """An object as a subscriber gets it."""
        wanted = ("id", "last_modified", "deleted") if self.ids else self.fields
        if wanted is None:
            return data
        return {k: v for k, v in data.items() if k in (*wanted, "id", "last_modified")}

    def uri_of(self, entry: Message) -> str:
        """The URI of an entry of a snapshot."""
        if self.kind == "feed":
            return str(entry["uri"])
        return self.path if self.kind == "object" else f"{self.path}/{entry['id']}"


class Copy:
    """The fold of one subscription's messages, across reconnections.

    Beside the server's messages it hears three of its own: ``begin`` (``since``), ``cut``
    and ``drop``.

    Attributes:
        state: objects by URI.
        cursor: from which it may resume; None where it has to begin anew.
        consistent: whether it was told so, and is live since.
        announced: cursor of the last ``subscribed`` or ``reset``: of what follows it.
        subscribed: whether the server has a subscription for it, or is about to.
    """

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.state: dict[str, Message] = {}
        self.cursor: str | None = None
        self.consistent = False
        self.announced: str | None = None
        self.subscribed = False
        self.poked: str | None = None
        self._asked: str | None = None
        self._prev: str | None = None
        self._page: dict[str, Message] = {}
        self._must_reset = False

    def hear(self, message: Message) -> None:
        """Follow a message.

        Raises:
            Broken: If it does not fit to those before.
        """
        if message["type"] not in ("ping", "goodbye"):
            getattr(self, f"_on_{message['type']}")(message)

    # Of its own.

    def _on_begin(self, message: Message) -> None:
        self._asked = message["since"]
        self.consistent = False
        self.subscribed = True
        self._page = {}

    def _on_cut(self, message: Message) -> None:
        self.consistent = False
        self.subscribed = False
        self._page = {}

    def _on_drop(self, message: Message) -> None:
        self.state, self.cursor = {}, None
        self._on_cut(message)

    # The server's.

    def _on_subscribed(self, message: Message) -> None:
        mode = message["mode"]
        self.announced = message.get("cursor")
        if mode == "waiting":
            return
        check(unquote(message["path"]) == self.topic.target, "path", message["path"])
        self._must_reset = mode == "snapshot" and self._asked is not None
        if mode == "live":
            self._prev = self.cursor = message["cursor"]
        elif mode == "backfill":
            check(self._asked is not None, "a backfill without since")
            self._prev = self.cursor = self._asked
        else:
            self._prev = None
            if not self._must_reset:
                self.state, self.cursor = {}, None

    def _chain(self, message: Message) -> None:
        check(not self._must_reset, "no reset after a snapshot was announced")
        prev = message["prev"]
        check(prev is not None and self._prev is not None, "prev is null")
        check(
            position_of(prev) == position_of(self._prev or ""),
            "prev is",
            prev,
            "and should be",
            self._prev,
        )
        now = position_of(message["cursor"])
        slack = 0 if message["type"] in ("ready", "progress", "poke") else 1
        check(now >= position_of(prev) + slack, "the cursor does not grow")
        self._prev = self.cursor = message["cursor"]

    def _on_snapshot(self, message: Message) -> None:
        check(not self._must_reset and self._prev is None, "a snapshot out of place")
        check(message["prev"] is None, "prev of a snapshot")
        check((message.get("cursor") is None) == message["more"], "cursor of a page")
        for entry in message["data"]:
            uri = self.topic.uri_of(entry)
            check(uri not in self._page, uri, "twice in a snapshot")
            self._page[uri] = entry["data"] if self.topic.kind == "feed" else entry
        if not message["more"]:
            self.state, self._page = self._page, {}
            self._prev = self.cursor = message["cursor"]

    def _on_event(self, message: Message) -> None:
        self._chain(message)
        uri = message["uri"]
        if message["action"] in ("create", "update", "enter"):
            self.state[uri] = message["data"]
            return
        check(message["data"]["id"] == uri.rpartition("/")[2], "whose", message["action"])
        self.state.pop(uri, None)
        if message["action"] == "delete":
            # What was in it goes with it.
            for inside in [one for one in self.state if one.startswith(uri + "/")]:
                del self.state[inside]

    def _on_ready(self, message: Message) -> None:
        check(not self.consistent, "ready twice")
        self._chain(message)
        self.consistent = True

    def _on_progress(self, message: Message) -> None:
        self._chain(message)

    def _on_poke(self, message: Message) -> None:
        self._chain(message)
        self.poked = message["cursor"]

    def _on_reset(self, message: Message) -> None:
        self.announced = message["cursor"]
        self.state, self.cursor, self._prev = {}, None, None
        self._page = {}
        self.consistent = self._must_reset = False

    def _on_unsubscribed(self, message: Message) -> None:
        if message["purge"]:
            self._on_drop(message)
        else:
            self._on_cut(message)

    def _on_error(self, message: Message) -> None:
        check(message["code"] in (401, 403, 404, 410, 503), "an error", message)
        if message["code"] == 503:
            self._on_cut(message)
        else:
            self._on_drop(message)
