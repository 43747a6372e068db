"""What a subscription's messages add up to, and whether each follows from the one before."""

import json
from typing import Any

_CONSISTENT = ("event", "snapshot", "ready", "progress")


class Fold:
    """The state that a reader has after the messages so far.

    Attributes:
        state: objects by id.
        faults: messages that do not follow from the one before.
        sample: the text of the last event; empty if there was none.
    """

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.faults: list[str] = []
        self.sample = ""
        self._cursor: str | None = None

    def add(self, text: bytes) -> None:
        """Count a message in."""
        message = json.loads(text)
        kind = message["type"]
        if kind in _CONSISTENT:
            if self._cursor is not None and message["prev"] != self._cursor:
                self.faults.append(f"after {self._cursor}: {text.decode()[:200]}")
            self._cursor = message.get("cursor", self._cursor)
        if kind == "event":
            self._apply(message)
            self.sample = text.decode()
        elif kind == "snapshot":
            self.state |= {one["id"]: one for one in message["data"]}
        elif kind == "reset":
            self.state, self._cursor = {}, None

    def _apply(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["action"] in ("delete", "leave"):
            self.state.pop(data["id"], None)
        else:
            self.state[data["id"]] = data
