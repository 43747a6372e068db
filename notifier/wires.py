"""How the server's messages are spelled on the wire: WebSocket frames, and Server-Sent Events.

Pure. A frame that many subscribers get is made once: what differs between
them is spliced in front.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from server.core.json_text import dump_json
from server.core.positions import spell_cursor


class Wire(Protocol):
    """One way to spell messages.

    Attributes:
        name: tells it from others, where frames are kept to be shared.
    """

    name: str

    def event(self, sub: str, prev: int, cursor: int, tail: bytes) -> bytes:
        """An event.

        Args:
            sub: the subscription's name.
            prev: the position of its message before.
            cursor: the event's own.
            tail: the JSON text of the members that all subscribers get, without the
                brace before them.
        """

    def message(self, kind: str, members: Mapping[str, Any], body: bytes = b"") -> bytes:
        """Any other message.

        Args:
            kind: its type.
            members: of the message; those that are None are left out, but ``prev`` and ``user``.
            body: JSON text of further members, without braces.
        """


_NULLABLE = ("prev", "user")


def _members(members: Mapping[str, Any], body: bytes) -> bytes:
    kept = {k: v for k, v in members.items() if v is not None or k in _NULLABLE}
    text = dump_json(kept)[1:-1]
    return b"%b,%b" % (text, body) if text and body else text or body


class WebSocketWire:
    """Unmasked text frames of RFC 6455; see ``Wire``."""

    name = "ws"

    def event(self, sub: str, prev: int, cursor: int, tail: bytes) -> bytes:
        """See ``Wire``."""
        head = b'{"type":"event","sub":"%b","prev":"%b",'
        return make_frame(head % (sub.encode(), spell_cursor(prev).encode()) + tail)

    def message(self, kind: str, members: Mapping[str, Any], body: bytes = b"") -> bytes:
        """See ``Wire``."""
        rest = _members(members, body)
        text = b'{"type":"%b"%b%b}' % (kind.encode(), b"," if rest else b"", rest)
        return make_frame(text)


def make_frame(payload: bytes) -> bytes:
    """A text frame."""
    length = len(payload)
    if length < 126:
        return b"\x81%c%b" % (length, payload)
    if length < 1 << 16:
        return b"\x81\x7e%b%b" % (length.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (length.to_bytes(8, "big"), payload)


class EventStreamWire:
    """Server-Sent Events; see ``Wire``. The subscription has no name there."""

    name = "sse"

    def event(self, sub: str, prev: int, cursor: int, tail: bytes) -> bytes:
        """See ``Wire``."""
        head = b'event: event\nid: %b\ndata: {"prev":"%b",'
        return head % (spell_cursor(cursor).encode(), spell_cursor(prev).encode()) + tail + b"\n\n"

    def message(self, kind: str, members: Mapping[str, Any], body: bytes = b"") -> bytes:
        """See ``Wire``; the cursor of a consistent state is the event's id."""
        members = {k: v for k, v in members.items() if k not in ("id", "sub")}
        text = b"event: %b\n" % kind.encode()
        if kind in CONSISTENT and members.get("cursor"):
            text += b"id: %b\n" % members["cursor"].encode()
        return text + b"data: {%b}\n\n" % _members(members, body)


CONSISTENT = ("snapshot", "ready", "progress", "poke")
"""Messages after whose cursor a client may go on, beside events."""
