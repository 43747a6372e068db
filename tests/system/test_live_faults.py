"""What a subscriber of WebSocket must not notice but by waiting, and how it hears of the rest."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.processes import free_port
from tests.system.clients import Client
from tests.system.conftest import COLLECTION, LoadedServer, Pair, RunServer, make_collection
from tests.system.listeners import Audience, Listener, audience
from tests.system.stubborn import StubbornWriters, read_log

Mongo = MongoClient[dict[str, Any]]

RECORDS = f"{COLLECTION}/records"
FEED = "/buckets/b/changes"
BETWEEN_FAULTS = 40
"""Writes that are acknowledged before the next fault."""

STREAMING = ("getMore", "aggregate")
"""Commands by which a server reads the log live."""

EXCEEDED_TIME = 262
HISTORY_LOST = 286
"""The code of a place that is no more in the database's own log."""

SUBSCRIBERS = 200
STOP_SECONDS = 25.0


@pytest.fixture
def room() -> Iterator[Audience]:
    with audience() as room:
        yield room


def get_copy(client: Client, path: str = RECORDS, **filters: str) -> dict[str, Any]:
    """What a list holds, by URI, as REST tells it."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return {f"{path}/{one['id']}": one for one in client.get(f"{path}?{query}").data}


def spell(listener: Listener) -> list[tuple[str, str, Any]]:
    """What a listener was told, as ``read_log`` has it."""
    kinds = {"create": "create", "update": "update", "delete": "delete"}
    return [(one["cursor"], kinds[one["action"]], one["data"]) for one in listener.events]


def spell_log(mongo: Mongo, database: str, records: str = RECORDS) -> list[tuple[str, str, Any]]:
    """The log, with the creation of what was deleted before as one."""
    live: set[str] = set()
    told = []
    for cursor, action, data in read_log(mongo, database, records):
        deleted = action == "delete"
        word = "delete" if deleted else "update" if data["id"] in live else "create"
        (live.discard if deleted else live.add)(data["id"])
        told.append((cursor, word, data))
    return told


# Faults of the database.


def step_down(mongo: Mongo, database: str) -> None:
    """The primary gives up, and is elected again a second later."""
    mongo.admin.command({"replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": True})


def kill_streams(mongo: Mongo, database: str) -> None:
    """Kill the cursors of the change streams, whether they are read now or not."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleCursors": True}},
        {"$match": {"ns": f"{database}.revisions", "cursor.tailable": True}},
    ]
    cursors = [one["cursor"]["cursorId"] for one in mongo.admin.aggregate(pipeline)]
    assert cursors
    killed = mongo[database].command({"killCursors": "revisions", "cursors": cursors})
    assert killed["cursorsKilled"]


def kill_sessions(mongo: Mongo, database: str) -> None:
    mongo.admin.command({"killAllSessions": []})


def cut_streams(mongo: Mongo, database: str) -> None:
    """Close the connections that read next, without an answer."""
    fail(mongo, 3, "getMore", closeConnection=True)


def refuse_streams(mongo: Mongo, database: str) -> None:
    """Refuse to read on, and to begin again, for a while."""
    labels = ["ResumableChangeStreamError"]
    wait_until_met(mongo, fail(mongo, 4, *STREAMING, errorCode=EXCEEDED_TIME, errorLabels=labels))


def lose_history(mongo: Mongo, database: str) -> None:
    """The place in the log is gone; until a new stream begins, changes are missed."""
    wait_until_met(mongo, fail(mongo, 4, *STREAMING, errorCode=HISTORY_LOST))


def fail(mongo: Mongo, times: int, *commands: str, **how: Any) -> int:
    """Let the database fail the server's next commands of these names.

    Returns:
        What ``wait_until_met`` needs to know.
    """
    data = {"failCommands": commands, "appName": "kintoun", **how}
    point = {"configureFailPoint": "failCommand", "mode": {"times": times}}
    met: int = mongo.admin.command({**point, "data": data})["count"]
    return met + times


def wait_until_met(mongo: Mongo, times: int) -> None:
    """Wait until the failures that were ordered have happened."""
    words = {"waitForFailPoint": "failCommand", "timesEntered": times, "maxTimeMS": 30_000}
    mongo.admin.command(words)


def stop_failing(mongo: Mongo) -> None:
    mongo.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def is_primary(mongo: Mongo) -> bool:
    try:
        return bool(mongo.admin.command("hello")["isWritablePrimary"])
    except PyMongoError:
        return False


@pytest.fixture
def mongo(mongo_client: Mongo) -> Iterator[Mongo]:
    """The database, which is as it was afterwards."""
    yield mongo_client
    stop_failing(mongo_client)
    end = time.monotonic() + 30
    while not is_primary(mongo_client):
        assert time.monotonic() < end
        time.sleep(0.05)


Fault = Callable[[Mongo, str], None]


@pytest.mark.parametrize(
    "fault",
    [step_down, kill_streams, kill_sessions, cut_streams, refuse_streams, lose_history],
    ids=lambda fault: fault.__name__,
)
def test_fault_of_the_database_is_a_delay_and_nothing_is_lost_or_told_twice(
    run_server: RunServer, mongo_uri: str, mongo: Mongo, database: str, room: Audience, fault: Fault
) -> None:
    server = run_server(mongo_uri)
    client = server.connect()
    make_collection(client)
    whole = room.listen(server.url, RECORDS, history="all")
    even = room.listen(server.url, f"{RECORDS}?even=true")
    feed = room.listen(server.url, FEED, history="all")
    writers = StubbornWriters(server.url, RECORDS, seed=1)
    with writers.writing():
        for _ in range(2):
            writers.progress.wait_for(BETWEEN_FAULTS)
            fault(mongo, database)
        writers.progress.wait_for(BETWEEN_FAULTS)
    last = writers.write_last()
    for listener in (whole, even, feed):
        room.wait_for(listener, last)
        assert (listener.breaks, listener.resets, listener.closed) == ([], 0, None)
    log = spell_log(mongo, database)
    assert spell(whole) == log
    assert [one["data"] for one in feed.events] == [data for _, _, data in log]
    assert whole.copy == writers.live() == get_copy(client)
    assert even.copy == get_copy(client, even="true")


def test_missed_changes_are_caught_up_by_everybody(
    run_server: RunServer, mongo_uri: str, mongo: Mongo, database: str, room: Audience
) -> None:
    server = run_server(mongo_uri)
    client = server.connect()
    make_collection(client)
    listeners = room.listen_many(server.url, RECORDS, [None] * 20)
    client.put(f"{RECORDS}/before")
    for listener in listeners:
        room.wait_for(listener, f"{RECORDS}/before")
    # It finds no new place while these are written: no stream will tell them.
    endless = 10**6
    met = fail(mongo, endless, *STREAMING, errorCode=HISTORY_LOST) - endless
    wait_until_met(mongo, met + 2)
    client.put(f"{RECORDS}/missed")
    client.ask("DELETE", f"{RECORDS}/before")
    told = [len(listener.events) for listener in listeners]
    stop_failing(mongo)
    server.wait_for("changes were missed")
    client.put(f"{RECORDS}/after")
    expected = get_copy(client)
    assert expected.keys() == {f"{RECORDS}/missed", f"{RECORDS}/after"}
    for listener, before in zip(listeners, told, strict=True):
        room.wait_for(listener, f"{RECORDS}/after")
        assert listener.copy == expected
        assert [one["data"]["id"] for one in listener.events[before:]] == [
            "missed",
            "before",
            "after",
        ]
        assert (listener.breaks, listener.resets, listener.closed) == ([], 0, None)


# More than one server, and servers that end.


def test_subscribers_of_one_server_see_the_writes_of_the_other(
    pair: Pair, collection: str, mongo_client: Mongo, database: str, room: Audience
) -> None:
    records = f"{collection}/records"
    listeners = [room.listen(server.url, records) for server in pair.servers]
    writers = [
        StubbornWriters(server.url, records, seed)
        for seed, server in enumerate(pair.servers, start=1)
    ]
    with writers[0].writing(2), writers[1].writing(2):
        for writer in writers:
            writer.progress.wait_for(100)
    last = [writer.write_last() for writer in writers][-1]
    final = pair.connect().get(last).data["last_modified"]
    log = spell_log(mongo_client, database, records)
    for listener in listeners:
        room.wait(listener, lambda one=listener: one.copy[last]["last_modified"] == final)  # type: ignore[misc]
        assert spell(listener) == log
        assert listener.breaks == []


def check_farewell(listeners: list[Listener]) -> None:
    """Everybody was told to come back, at different times, and closed upon as a restart is."""
    goodbyes = [one.goodbye for one in listeners if one.goodbye is not None]
    assert len(goodbyes) == len(listeners)
    assert {one["reason"] for one in goodbyes} == {"restart"}
    assert {one.closed for one in listeners} == {1012}
    pauses = {one["retry_after"] for one in goodbyes}
    assert len(pauses) > len(listeners) / 2
    assert min(pauses) >= 0
    assert max(pauses) <= STOP_SECONDS


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_server_that_ends_loses_nothing_for_its_subscribers(
    run_server: RunServer,
    mongo_uri: str,
    mongo_client: Mongo,
    database: str,
    room: Audience,
    end: str,
) -> None:
    port = free_port()
    server = run_server(mongo_uri, PORT=str(port))
    make_collection(server.connect())
    listeners = room.listen_many(server.url, RECORDS, [None] * SUBSCRIBERS)
    writers = StubbornWriters(server.url, RECORDS, seed=1)
    with writers.writing():
        writers.progress.wait_for(BETWEEN_FAULTS)
        asked = time.monotonic()
        getattr(server, end)()
        assert time.monotonic() - asked < STOP_SECONDS
        other = run_server(mongo_uri, PORT=str(port))
        writers.progress.wait_for(BETWEEN_FAULTS)
    last = writers.write_last()
    for listener in listeners:
        room.wait_closed(listener)
        assert listener.breaks == []
    if end == "terminate":
        check_farewell(listeners)
    check_resumed(room, other, listeners, last)
    copy = get_copy(other.connect())
    assert copy == writers.live()
    # Somebody who has heard all of it so far, and goes on from there.
    heard = spell(listeners[0])
    resumed = room.listen(other.url, RECORDS, since=listeners[0].cursor, history="all")
    assert heard + spell(resumed) == spell_log(mongo_client, database)


def check_resumed(
    room: Audience, server: LoadedServer, listeners: list[Listener], last: str
) -> None:
    """Whoever goes on from its cursor ends with what the list holds."""
    cursors = [one.cursor for one in listeners]
    expected = get_copy(server.connect())
    for old, new in zip(listeners, room.listen_many(server.url, RECORDS, cursors), strict=True):
        room.wait(new, lambda one=new: last in one.copy)  # type: ignore[misc]
        assert (new.breaks, new.resets) == ([], 0)
        copy = dict(old.copy)
        for event in new.events:
            if event["action"] in ("delete", "leave"):
                copy.pop(event["uri"], None)
            else:
                copy[event["uri"]] = event["data"]
        assert copy == expected
