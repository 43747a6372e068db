import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from handlers.streams import wants_stream
from server.core.errors import Unavailable
from tests.handlers.conftest import ALICE, BOB
from tests.handlers.lives import (
    EVENTS,
    B,
    C,
    Event,
    Hesitant,
    LiveServer,
    R,
    Talk,
    open_live,
    run_live,
)

pytestmark = pytest.mark.gen_test(timeout=60)

EVERYBODY = {"read": ["system.Everyone"]}


@pytest.fixture(params=["memory", "mongo"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[LiveServer]:
    yield from run_live(request, io_loop, includes="default_bucket")


def fold(events: list[Event], copy: dict[str, Any]) -> None:
    """Apply what was heard to somebody's copy, objects by id."""
    for event in events:
        if event.type == "reset":
            copy.clear()
        elif event.type == "snapshot":
            copy.update({one["id"]: one for one in event.data["data"]})
        elif event.type == "event":
            data = event.data["data"]
            if event.data["action"] in ("create", "update", "enter"):
                copy[data["id"]] = data
            else:
                copy.pop(data["id"], None)


async def test_stream_of_a_list_tells_what_is_there_and_what_becomes_of_it(
    server: LiveServer,
) -> None:
    await server.furnish()
    await server.put(f"{R}/a", {"n": 1})
    talk = await server.listen(R)
    assert talk.status == 200
    assert talk.headers["content-type"] == "text/event-stream"
    assert talk.headers["cache-control"] == "no-store"
    assert talk.headers["x-accel-buffering"] == "no"
    assert talk.headers["access-control-allow-origin"] == "*"
    assert "content-length" not in talk.headers
    assert await talk.block() == [("retry", "3000")]
    subscribed, snapshot, ready = await talk.until("ready")
    assert (subscribed.type, subscribed.data["mode"]) == ("subscribed", "snapshot")
    assert subscribed.data["path"] == R
    assert [one["id"] for one in snapshot.data["data"]] == ["a"]
    assert snapshot.id == ready.id == ready.data["cursor"]
    await server.put(f"{R}/a", {"n": 2})
    await server.put(f"{R}/b")
    await server.ask(f"DELETE {R}/b")
    told = [await talk.event() for _ in range(3)]
    assert [one.data["action"] for one in told] == ["update", "create", "delete"]
    assert told[0].data["prev"] == ready.id
    assert told[0].data["data"]["n"] == 2
    assert [one.id for one in told] == [one.data["cursor"] for one in told]
    assert not {"sub", "type"}.intersection(told[0].data)


async def test_streams_of_an_object_and_of_a_bucket_tell_of_them(server: LiveServer) -> None:
    await server.furnish()
    await server.put(f"{R}/a")
    of_object = await server.listen(f"{R}/a")
    of_bucket = await server.listen(f"{B}/changes")
    for talk in (of_object, of_bucket):
        await talk.until("ready")
    await server.put(f"{R}/other")
    await server.put(f"{R}/a", {"n": 2})
    assert (await of_object.event()).data["data"]["n"] == 2
    assert (await of_bucket.event()).data["uri"] == f"{R}/other"
    assert (await of_bucket.event()).data["uri"] == f"{R}/a"


async def test_stream_of_the_default_bucket_makes_it_and_says_its_own_id(
    server: LiveServer,
) -> None:
    talk = await server.listen("/buckets/default/collections/c/records")
    subscribed, *_ = await talk.until("ready")
    assert "/default/" not in subscribed.data["path"]
    await server.put("/buckets/default/collections/c/records/a")
    assert (await talk.event()).data["data"]["id"] == "a"
    feed = await server.listen("/buckets/default/changes")
    assert feed.status == 200


@pytest.mark.parametrize(
    ("query", "first", "later"),
    [
        ("?_since=now", "subscribed ready", {"id": "b", "s": "x"}),
        ("?s=x", "subscribed snapshot ready", {"id": "b", "s": "x"}),
        ("?_fields=s", "subscribed snapshot ready", {"id": "b", "s": "x"}),
        ("?_deliver=ids", "subscribed snapshot ready", {"id": "b"}),
    ],
)
async def test_query_string_says_what_is_told(
    query: str, first: str, later: dict[str, Any], server: LiveServer
) -> None:
    await server.furnish()
    await server.put(f"{R}/a", {"s": "y"})
    talk = await server.listen(R + query)
    assert " ".join(one.type for one in await talk.until("ready")) == first
    if "s=x" in query:
        await server.put(f"{R}/c", {"s": "z"})
    await server.put(f"{R}/b", {"s": "x"})
    told = (await talk.event()).data["data"]
    assert told.pop("last_modified")
    assert told == later


async def test_pokes_and_all_of_history_and_who_did_it(server: LiveServer) -> None:
    await server.furnish()
    begin = (await server.put(f"{R}/a", {"n": 1})).headers["cursor"]
    for n in (2, 3):
        await server.put(f"{R}/a", {"n": n})
    talk = await server.listen(f"{R}?_since={begin}&_history=all&_include=user_id,old")
    told = [one.data for one in await talk.until("ready") if one.type == "event"]
    assert [(one["data"]["n"], one["old"]["n"]) for one in told] == [(2, 1), (3, 2)]
    assert told[0]["user_id"] == await server.user_id(ALICE)
    poked = await server.listen(f"{R}?_deliver=poke")
    await poked.until("ready")
    await server.put(f"{R}/b")
    poke = await poked.event()
    assert (poke.type, set(poke.data)) == ("poke", {"prev", "cursor"})
    assert poke.id == poke.data["cursor"]


@pytest.mark.parametrize(
    ("path", "user", "headers", "status", "errno"),
    [
        (R, None, {}, 401, 104),
        (R, BOB, {}, 403, 121),
        (f"{B}/changes", BOB, {}, 403, 121),
        (f"{B}/collections/none/records", ALICE, {}, 404, 111),
        (f"{R}/none", ALICE, {}, 404, 110),
        (f"{R}?_since=x", ALICE, {}, 400, 107),
        (f"{R}?_since=1&_since=2", ALICE, {}, 400, 107),
        (f"{R}?_since=x", BOB, {}, 403, 121),
        (f"{B}/changes?_since=x", BOB, {}, 403, 121),
        (f"{R}?_deliver=everything", ALICE, {}, 400, 107),
        (f"{R}?_include=a,b", ALICE, {}, 400, 107),
        (f"{R}?_limit=5", ALICE, {}, 400, 107),
        (f"{R}/not%20one", ALICE, {}, 400, 107),
        (f"{R}?_since=9000000000000", ALICE, {}, 400, 107),
        (f"{R}?_since=4398046511104", ALICE, {}, 410, 118),
        (R, ALICE, {"Last-Event-ID": "x"}, 400, 107),
        (R, BOB, {"Last-Event-ID": "5"}, 403, 121),
    ],
)
async def test_what_is_refused_is_refused_before_the_stream_begins(
    path: str,
    user: str | None,
    headers: dict[str, str],
    status: int,
    errno: int,
    server: LiveServer,
) -> None:
    await server.furnish()
    answer = await server.ask(f"GET {path}", user=user, headers={**EVENTS, **headers})
    assert (answer.status, answer.json["errno"]) == (status, errno)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert server.live.hub.count == 0
    assert not server.live.clients


async def test_stream_goes_on_after_the_last_event_id_whatever_since_says(
    server: LiveServer,
) -> None:
    await server.furnish()
    first = (await server.put(f"{R}/a")).headers["cursor"]
    await server.put(f"{R}/b")
    talk = await server.listen(f"{R}?_since=4398046511104", headers={"Last-Event-ID": first})
    told = await talk.until("ready")
    assert [one.data["data"]["id"] for one in told if one.type == "event"] == ["b"]


async def test_last_event_id_that_cannot_be_resumed_gets_a_reset_and_a_snapshot(
    server: LiveServer,
) -> None:
    await server.furnish()
    await server.put(f"{R}/a")
    talk = await server.listen(R, headers={"Last-Event-ID": "4398046511104"})
    assert talk.status == 200
    told = await talk.until("ready")
    assert [one.type for one in told] == ["subscribed", "reset", "snapshot", "ready"]
    assert told[1].data["reason"] == "ahead"
    assert [one["id"] for one in told[2].data["data"]] == ["a"]


async def test_browser_that_comes_back_to_what_is_gone_is_told_to_stop(server: LiveServer) -> None:
    await server.furnish()
    for path in (f"{B}/collections/none/records", f"{R}/none"):
        answer = await server.ask(f"GET {path}", headers={**EVENTS, "Last-Event-ID": "5"})
        assert (answer.status, answer.body) == (204, b"")


async def test_browser_that_comes_back_while_the_database_is_away_is_sent_round_again(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.furnish()

    def be_away() -> None:
        raise Unavailable("The database cannot be reached.", 7)

    monkeypatch.setattr(server.live.storage, "snapshot", be_away)
    talk = await server.listen(R, headers={"Last-Event-ID": "5"})
    assert (talk.status, await talk.rest()) == (200, b"retry: 7000\n\n")
    assert (await server.ask(f"GET {R}", headers=EVENTS)).status == 503


async def test_reader_who_loses_the_right_is_told_and_the_response_ends(server: LiveServer) -> None:
    bob = await server.user_id(BOB)
    await server.furnish({"read": [bob]})
    talk = await server.listen(R, user=BOB)
    await talk.until("ready")
    await server.ask(f"PATCH {B}", {"permissions": {"read": []}})
    ended = await talk.event()
    assert (ended.type, ended.data["code"], ended.data["purge"]) == ("unsubscribed", 403, True)
    assert await talk.rest() == b""
    await server.until(lambda: not server.live.clients)


async def test_list_that_is_deleted_ends_its_streams(server: LiveServer) -> None:
    await server.furnish()
    talk = await server.listen(R)
    await talk.until("ready")
    await server.ask(f"DELETE {C}")
    ended = await talk.event()
    assert (ended.type, ended.data["code"], ended.data["errno"]) == ("unsubscribed", 404, 111)
    assert await talk.rest() == b""


async def test_client_that_goes_away_leaves_nothing_behind(server: LiveServer) -> None:
    await server.furnish()
    talks = [await server.listen(R) for _ in range(5)]
    for talk in talks:
        await talk.until("ready")
    assert (server.live.hub.count, len(server.live.clients)) == (5, 5)
    for talk in talks:
        talk.cut()
    await server.until(lambda: not server.live.clients)
    assert server.live.hub.count == 0


async def test_client_that_goes_away_before_the_stream_begins_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "request.summary")
    storage = Hesitant()
    async with open_live({"KINTO_STORAGE_BACKEND": "memory"}, storage) as server:
        await server.furnish()
        storage.passes = 0
        talk = await server.connect()
        talk.send(f"GET {R}", headers=EVENTS)
        await storage.stopped.wait()
        talk.cut()
        storage.passes = None
        other = await server.ask("GET /", user=None)
        assert other.status == 200
        storage.goes_on.set()
        await server.until(lambda: f"GET /v1{R} 200" in caplog.text)
        assert server.live.hub.count == 0
        assert not server.live.clients


async def test_reconnecting_with_the_last_event_id_loses_nothing(server: LiveServer) -> None:
    await server.furnish()
    copy: dict[str, Any] = {}
    last: str | None = None
    cuts = 0

    async def write() -> None:
        for n in range(120):
            uri = f"{R}/r{n % 30}"
            if n % 7 == 3:
                await server.ask(f"DELETE {uri}")
            else:
                await server.put(uri, {"n": n})
        await server.put(f"{R}/end")

    async def hear(talk: Talk) -> None:
        nonlocal last
        for _ in range(9):
            event = await talk.event()
            if event.type == "event" and "prev" in event.data and last is not None:
                assert event.data["prev"] == last
            fold([event], copy)
            last = event.id or last
            if "end" in copy:
                return

    writing = asyncio.ensure_future(write())
    while "end" not in copy:
        talk = await server.listen(R, headers={} if last is None else {"Last-Event-ID": last})
        await hear(talk)
        talk.cut()
        cuts += 1
    await writing
    assert cuts > 5
    assert copy == {one["id"]: one for one in (await server.ask(f"GET {R}")).data}


async def test_reader_who_takes_nothing_for_a_while_gets_everything_in_the_end(
    server: LiveServer,
) -> None:
    await server.furnish()
    talk = await server.listen(R)
    await talk.until("ready")
    text = "x" * 50_000
    for n in range(200):
        await server.put(f"{R}/r{n % 150}", {"text": text, "n": n})
    copy: dict[str, Any] = {}
    while copy.get("r49", {}).get("n") != 199 or len(copy) < 150:
        fold([await talk.event()], copy)
    assert copy == {one["id"]: one for one in (await server.ask(f"GET {R}")).data}


async def test_server_that_stops_says_goodbye_and_ends_the_streams(
    request: pytest.FixtureRequest,
) -> None:
    async with open_live({"KINTO_STORAGE_BACKEND": "memory"}) as server:
        await server.furnish()
        talks = [await server.listen(path) for path in (R, f"{B}/changes")]
        for talk in talks:
            await talk.until("ready")
        await asyncio.wait_for(server.server.stop(), 15)
        for talk in talks:
            goodbye = await talk.event()
            assert (goodbye.type, goodbye.data["reason"]) == ("goodbye", "restart")
            assert await talk.rest() == b""
        assert server.live.hub.count == 0


async def test_stream_that_begins_while_the_server_stops_ends_with_goodbye() -> None:
    async with open_live({"KINTO_STORAGE_BACKEND": "memory"}) as server:
        await server.furnish()
        talk = await server.connect()
        talk.send("GET /")
        await talk.answer()
        server.live.stopping.set()
        talk.send(f"GET {R}", headers=EVENTS)
        await talk.head()
        assert (await talk.until("goodbye"))[0].type == "subscribed"
        assert await talk.rest() == b""


async def test_quiet_stream_has_comments_and_pings() -> None:
    environ = {"KINTO_STORAGE_BACKEND": "memory"}
    async with open_live(environ, live_ping_seconds=0.1, live_heartbeat_seconds=1.5) as server:
        await server.furnish()
        talk = await server.listen(R)
        await talk.until("ready")
        assert await talk.block() == [("", "")]
        assert (await talk.event()).type == "ping"


async def test_head_is_answered_as_get_and_has_no_body(server: LiveServer) -> None:
    await server.furnish()
    talk = await server.listen(R, method="HEAD")
    assert (talk.status, talk.headers["content-type"]) == (200, "text/event-stream")
    assert await talk.rest() == b""
    refused = await server.ask(f"HEAD {R}", user=BOB, headers=EVENTS)
    assert refused.status == 403
    assert server.live.hub.count == 0


async def test_client_of_http_1_0_gets_the_stream_too(server: LiveServer) -> None:
    await server.furnish(EVERYBODY)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
    writer.write(f"GET /v1{R} HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n".encode())
    text = await asyncio.wait_for(reader.readuntil(b"event: ready\n"), 20)
    assert b" 200 OK\r\n" in text
    assert b"event: snapshot\n" in text
    writer.transport.abort()


async def test_stream_is_refused_in_a_batch_and_where_get_is_switched_off(
    server: LiveServer,
) -> None:
    await server.furnish()
    part = {"method": "GET", "path": R, "headers": EVENTS}
    answer = await server.ask("POST /batch", {"requests": [part]})
    assert answer.json["responses"][0]["status"] == 400
    environ = {"KINTO_STORAGE_BACKEND": "memory", "KINTO_PLURAL_RECORD_GET_ENABLED": "false"}
    async with open_live(environ) as other:
        await other.furnish()
        for target in (f"GET {R}", f"DELETE {B}/changes"):
            refused = await other.ask(target, headers=EVENTS)
            assert (refused.status, refused.json["errno"]) == (405, 115), target
        assert (await other.ask(f"POST {R}", headers=EVENTS)).status == 406
        assert (await other.listen(C)).status == 200


async def test_stream_is_logged_when_it_begins(
    server: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    await server.furnish()
    with caplog.at_level(logging.INFO, "request.summary"):
        talk = await server.listen(R)
        await talk.until("ready")
    assert f"GET /v1{R} 200" in caplog.text


async def test_cors_counts_for_streams_as_for_all() -> None:
    environ = {"KINTO_STORAGE_BACKEND": "memory"}
    async with open_live(environ, cors_origins="https://a.example") as server:
        await server.furnish()
        for origin, allowed in (("https://a.example", "https://a.example"), ("https://b", None)):
            talk = await server.listen(R, headers={"Origin": origin})
            assert talk.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/*", False),
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("text/event-stream, */*", True),
        ("*/*, text/event-stream", True),
        ("application/json, text/event-stream", False),
        ("text/event-stream, application/json", True),
        ("text/event-stream;q=0.5, application/json", False),
        ("application/json;q=0.5, text/event-stream;q=0.9", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0, application/json;q=0", False),
        ("text/event-stream;q=x", False),
        ("text/event-streams", False),
    ],
)
def test_client_wants_events_where_it_names_them_before_json(
    accept: str | None, wanted: bool
) -> None:
    assert wants_stream(accept) is wanted


async def test_list_that_is_asked_for_as_json_and_events_is_json(server: LiveServer) -> None:
    await server.furnish()
    headers = {"Accept": "application/json, text/event-stream"}
    assert json.loads((await server.ask(f"GET {R}", headers=headers)).body) == {"data": []}
