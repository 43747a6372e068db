import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.wires import CONSISTENT, EventStreamWire, WebSocketWire, make_frame
from server.core.json_text import dump_json
from server.core.positions import make_position

TAIL = b'"cursor":"2","action":"create","data":{"id":"r"}}'
KINDS = ("welcome", "subscribed", "snapshot", "ready", "progress", "poke", "reset", "error", "ping")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def unframe(frame: bytes) -> bytes:
    """The payload, read as RFC 6455 says."""
    length, start = frame[1], 2
    if length >= 126:
        start = 4 if length == 126 else 10
        length = int.from_bytes(frame[2:start], "big")
    assert len(frame) == start + length
    return frame[start:]


def read_stream(text: bytes) -> list[dict[str, str]]:
    """The fields of each event, read as an EventSource does."""
    events = []
    for block in text.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n") if line]
        if lines:
            assert len({name for name, _, _ in lines}) == len(lines)
            events.append({name: value for name, _, value in lines})
    return events


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, b"\x81\x00"),
        (1, b"\x81\x01"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (255, b"\x81\x7e\x00\xff"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_frame_has_the_shortest_length_that_holds_its_payload(length: int, head: bytes) -> None:
    payload = b"x" * length
    assert make_frame(payload) == head + payload


def test_event_over_websocket_begins_with_what_differs_between_subscribers() -> None:
    frame = WebSocketWire().event("s.1", make_position(1, 3), make_position(2), TAIL)
    assert unframe(frame) == b'{"type":"event","sub":"s.1","prev":"1-3",' + TAIL


def test_event_stream_has_an_events_cursor_as_its_id() -> None:
    text = EventStreamWire().event("s", make_position(1), make_position(2, 1), TAIL)
    assert text == b'event: event\nid: 2-1\ndata: {"prev":"1",' + TAIL + b"\n\n"


@pytest.mark.parametrize(
    ("members", "body", "expected"),
    [
        ({}, b"", {}),
        ({"id": None, "reason": "x", "retry_after": None}, b"", {"reason": "x"}),
        ({"id": 0, "more": False, "sub": ""}, b"", {"id": 0, "more": False, "sub": ""}),
        ({"prev": None, "cursor": "1"}, b"", {"prev": None, "cursor": "1"}),
        ({"user": None}, b"", {"user": None}),
        ({"sub": "s"}, b'"data":[]', {"sub": "s", "data": []}),
        ({"cursor": None}, b'"data":[1]', {"data": [1]}),
    ],
)
def test_message_leaves_out_what_is_none_but_where_null_means_something(
    members: Mapping[str, Any], body: bytes, expected: Mapping[str, Any]
) -> None:
    told = json.loads(unframe(WebSocketWire().message("ready", members, body)))
    assert told == {"type": "ready", **expected}
    (event,) = read_stream(EventStreamWire().message("ready", members, body))
    unnamed = {name: one for name, one in expected.items() if name not in ("id", "sub")}
    assert json.loads(event["data"]) == unnamed
    assert event["event"] == "ready"


@pytest.mark.parametrize("kind", KINDS)
def test_event_stream_gives_an_id_only_to_what_a_client_may_go_on_from(kind: str) -> None:
    wire = EventStreamWire()
    (event,) = read_stream(wire.message(kind, {"cursor": "5-1"}))
    assert event.get("id") == ("5-1" if kind in CONSISTENT else None)
    (unfinished,) = read_stream(wire.message(kind, {"cursor": None, "more": True}))
    assert "id" not in unfinished


@settings(max_examples=50, deadline=None, derandomize=True)
@given(kind=st.sampled_from(KINDS), members=st.dictionaries(st.text(), JSON), data=JSON)
def test_event_stream_has_one_line_of_data_whatever_is_in_it(
    kind: str, members: dict[str, Any], data: Any
) -> None:
    for name in ("id", "sub", "cursor", "data"):
        members.pop(name, None)
    wire = EventStreamWire()
    text = wire.message(kind, members, b'"data":%b' % dump_json(data))
    text += wire.event("s", 0, make_position(1), b'"data":%b}' % dump_json(data))
    first, second = read_stream(text)
    nullable = {k: v for k, v in members.items() if v is not None or k in ("prev", "user")}
    assert json.loads(first["data"]) == {**nullable, "data": data}
    assert json.loads(second["data"]) == {"prev": "0", "data": data}
