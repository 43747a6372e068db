"""live.js in Node, against servers that say what is wrong, or go away."""

from collections.abc import Callable

import pytest

from tests.conftest import StartServer
from tests.processes import free_port
from tests.static.conftest import OpenNotes, settle
from tests.static.fakes import WELCOME, FakeServer, Message, Say, Script
from tests.static.followers import Follower

MakeFake = Callable[[Script], FakeServer]


def wanted(message: Message) -> list[Message]:
    """What a message subscribes to."""
    if message["type"] == "subscribe":
        return [message]
    return list(message.get("subscribe", []))


def begun(sub: str, mode: str, cursor: str) -> Message:
    return {"type": "subscribed", "sub": sub, "mode": mode, "cursor": cursor, "floor": "0"}


def snapshot(sub: str, cursor: str | None, *ids: str) -> Message:
    page: Message = {"type": "snapshot", "sub": sub, "prev": None, "more": cursor is None}
    page["data"] = [{"id": one} for one in ids]
    return page | ({} if cursor is None else {"cursor": cursor})


def event(sub: str, prev: str, cursor: str) -> Message:
    members = {"type": "event", "sub": sub, "prev": prev, "cursor": cursor}
    return {**members, "action": "update", "data": {"id": f"at-{cursor}"}}


def ready(sub: str, prev: str, cursor: str) -> Message:
    return {"type": "ready", "sub": sub, "prev": prev, "cursor": cursor}


def resumed(body: Message, *events: str) -> list[Say]:
    """A backfill, for one who has got as far as the first event's predecessor."""
    said: list[Say] = [begun(body["sub"], "backfill", events[-1])]
    prev = body["since"]
    for cursor in events:
        said.append(event(body["sub"], prev, cursor))
        prev = cursor
    return [*said, ready(body["sub"], prev, prev)]


def test_message_that_does_not_follow_its_last_is_dropped_and_read_again(
    fake: MakeFake, follower: Follower
) -> None:
    def script(_: int, message: Message) -> list[Say]:
        said: list[Say] = [WELCOME] if message["type"] == "hello" else []
        for body in wanted(message):
            sub = body["sub"]
            if "since" not in body:
                said += [begun(sub, "snapshot", "10"), snapshot(sub, "10", "a")]
                said += [ready(sub, "10", "10"), event(sub, "10", "11")]
                # The one after 11 is missing; what follows is not to be told either.
                said += [event(sub, "12", "13"), event(sub, "13", "14")]
            else:
                said += resumed(body, "12", "13", "14")
        return said

    server = fake(script)
    follower.connect(server.url)
    follower.subscribe("/buckets/b/collections/c/records")
    error = follower.wait_for("error").value
    assert (error["name"], error["code"], error["final"]) == ("LiveError", 0, False)
    follower.wait_until(lambda: follower.count("ready") == 2)
    assert [one[0] for one in follower.copy().events] == [11, 12, 13, 14]
    assert follower.copy().resets == []
    (first, *_), (*_, last) = (
        wanted(message) for _, message in server.heard if message["type"] != "unsubscribe"
    )
    assert last["since"] == "11"
    assert last["sub"] != first["sub"]
    left = [message["sub"] for _, message in server.heard if message["type"] == "unsubscribe"]
    assert left == [first["sub"]]


@pytest.mark.parametrize("agreed", [False, True])
def test_server_that_never_gets_it_right_is_asked_again_once_and_then_later(
    fake: MakeFake, follower: Follower, agreed: bool
) -> None:
    def script(_: int, message: Message) -> list[Say]:
        said: list[Say] = [WELCOME] if message["type"] == "hello" else []
        for body in wanted(message):
            said.append(begun(body["sub"], "live", "5"))
            if agreed or body["path"] == "/right":
                said.append(ready(body["sub"], "5", "5"))
            if body["path"] == "/wrong":
                said.append(event(body["sub"], "8", "9"))
        return said

    server = fake(script)
    # It draws how long it waits: longer than this test runs.
    follower.connect(server.url, drawn=1000)
    follower.subscribe("/wrong", "wrong")
    follower.wait_until(lambda: follower.count("error", "wrong") == 2)
    # Whatever is asked at once is asked before these.
    for number in range(10):
        follower.subscribe("/right", f"right-{number}")
        follower.wait_for("ready", f"right-{number}")
    asked = [body["path"] for _, message in server.heard for body in wanted(message)]
    assert asked.count("/wrong") == 2
    assert follower.count("event", "wrong") == 0


def test_connection_lost_amid_a_snapshot_begins_it_anew(fake: MakeFake, follower: Follower) -> None:
    def script(number: int, message: Message) -> list[Say]:
        (body,) = wanted(message)
        sub = body["sub"]
        assert "since" not in body
        if number == 0:
            return [WELCOME, begun(sub, "snapshot", "9"), snapshot(sub, None, "a"), 0]
        said = [begun(sub, "snapshot", "10"), snapshot(sub, None, "b"), snapshot(sub, "10", "c")]
        return [WELCOME, *said, ready(sub, "10", "10")]

    follower.connect(fake(script).url)
    follower.subscribe("/buckets")
    assert follower.wait_for("snapshot").cursor is None
    assert follower.wait_for("reset").value["reason"] == "restarted"
    follower.wait_for("ready")
    assert set(follower.copy().records) == {"b", "c"}


def test_reset_takes_the_cursor_away_until_its_snapshot_is_whole(
    fake: MakeFake, follower: Follower
) -> None:
    def script(number: int, message: Message) -> list[Say]:
        (body,) = wanted(message)
        sub = body["sub"]
        if number == 0:
            reset = {"type": "reset", "sub": sub, "reason": "permissions-changed", "cursor": "20"}
            said = [begun(sub, "snapshot", "9"), snapshot(sub, "9", "a"), ready(sub, "9", "9")]
            return [WELCOME, *said, event(sub, "9", "10"), reset, 0]
        assert "since" not in body
        said = [begun(sub, "snapshot", "20"), snapshot(sub, "20", "c"), ready(sub, "20", "20")]
        return [WELCOME, *said]

    follower.connect(fake(script).url)
    follower.subscribe("/buckets")
    assert follower.wait_for("event").cursor == "10"
    assert follower.wait_for("reset").cursor is None
    assert follower.wait_for("ready").cursor == "20"
    assert follower.copy().resets == ["permissions-changed"]
    assert set(follower.copy().records) == {"c"}


@pytest.mark.parametrize("code", [4403, 4410, 4413])
def test_close_that_is_for_good_ends_everything(
    fake: MakeFake, follower: Follower, code: int
) -> None:
    follower.connect(fake(lambda *_: [WELCOME, code]).url)
    follower.subscribe("/buckets")
    closed = follower.wait_for("state", "live", state="closed").value
    assert (closed["code"], closed["reason"]) == (code, "as the test wants")
    assert follower.wait_for("end").value["code"] == code - 4000


@pytest.mark.parametrize("code", [0, 1011, 1012, 4400, 4408, 4500, 4503])
def test_close_that_is_for_a_while_is_followed_by_another_attempt(
    fake: MakeFake, follower: Follower, code: int
) -> None:
    def script(number: int, message: Message) -> list[Say]:
        (body,) = wanted(message)
        if number == 0:
            said = [begun(body["sub"], "live", "5"), ready(body["sub"], "5", "5")]
            return [WELCOME, *said, code]
        return [WELCOME, *resumed(body, "6")]

    follower.connect(fake(script).url)
    follower.subscribe("/buckets", since="now")
    waiting = follower.wait_for("state", "live", state="waiting").value
    assert waiting["code"] == (code or 1006)
    assert waiting["delay"] <= 1000
    assert follower.wait_for("event").cursor == "6"


def test_client_that_said_too_much_comes_back_much_later(
    fake: MakeFake, follower: Follower
) -> None:
    follower.connect(fake(lambda *_: [WELCOME, 4429]).url)
    assert follower.wait_for("state", "live", state="waiting").value["delay"] >= 30_000


def test_goodbye_says_when_to_come_back(fake: MakeFake, follower: Follower) -> None:
    goodbye = {"type": "goodbye", "reason": "restart", "retry_after": 0.123}

    def script(number: int, _: Message) -> list[Say]:
        return [WELCOME, goodbye, 1012] if number < 4 else [WELCOME]

    follower.connect(fake(script).url)
    for _ in range(4):
        waiting = follower.wait_for("state", "live", state="waiting").value
        assert (waiting["code"], waiting["delay"]) == (1012, 123)
    follower.wait_for("state", "live", state="open")


def test_attempts_come_later_and_later_until_the_server_has_said_goodbye(
    fake: MakeFake, follower: Follower
) -> None:
    goodbye = {"type": "goodbye", "reason": "restart", "retry_after": 0.007}
    last = 8

    def script(number: int, _: Message) -> list[Say]:
        return [WELCOME, goodbye, 1012] if number == last else [WELCOME, 0]

    # A thousandth of what it would be at most.
    follower.connect(fake(script).url, drawn=0.001)
    delays = [
        follower.wait_for("state", "live", state="waiting").value["delay"] for _ in range(last + 3)
    ]
    assert delays == [1, 2, 4, 8, 16, 30, 30, 30, 7, 1, 2]


def test_everything_is_said_again_where_something_was_not_heard(
    fake: MakeFake, follower: Follower
) -> None:
    error: Message = {"type": "error", "code": 429, "errno": 117, "message": "Too many messages."}

    def script(number: int, message: Message) -> list[Say]:
        if number == 0:
            return [WELCOME, {**error, "retry_after": 0.2}]
        said: list[Say] = [WELCOME]
        for body in wanted(message):
            said += [begun(body["sub"], "live", "5"), ready(body["sub"], "5", "5")]
        return said

    follower.connect(fake(script).url)
    follower.subscribe("/buckets", "one", since="now")
    follower.subscribe("/buckets", "two", since="now")
    waiting = follower.wait_for("state", "live", state="waiting").value
    assert waiting["delay"] >= 200
    assert waiting["error"]["errno"] == 117
    follower.wait_for("ready", "one")
    follower.wait_for("ready", "two")


@pytest.mark.parametrize("code", [429, 500, 503])
def test_subscription_that_cannot_begin_now_is_asked_for_again(
    fake: MakeFake, follower: Follower, code: int
) -> None:
    def script(_: int, message: Message) -> list[Say]:
        error = {"type": "error", "code": code, "message": "Not now", "retry_after": 1}
        if message["type"] == "hello":
            return [WELCOME, *({**error, "sub": body["sub"]} for body in wanted(message))]
        return resumed(message, "4")

    follower.connect(fake(script).url)
    follower.subscribe("/buckets", since="3")
    error = follower.wait_for("error").value
    assert (error["code"], error["retryAfter"], error["final"]) == (code, 1, False)
    assert follower.wait_for("event").cursor == "4"
    assert follower.count("state", "live") == 1


def test_subscription_that_the_server_cannot_go_on_with_is_resumed(
    fake: MakeFake, follower: Follower
) -> None:
    def script(_: int, message: Message) -> list[Say]:
        if message["type"] != "hello":
            return resumed(message, "5")
        (body,) = wanted(message)
        end = {"type": "unsubscribed", "sub": body["sub"], "code": 500, "reason": "Unforeseen"}
        return [WELCOME, *resumed(body, "4"), {**end, "purge": False}]

    follower.connect(fake(script).url)
    follower.subscribe("/buckets", since="3")
    assert follower.wait_for("error").value["code"] == 500
    follower.wait_until(lambda: follower.count("ready") == 2)
    assert [one[0] for one in follower.copy().events] == [4, 5]
    assert follower.count("end") == 0


def test_answer_that_is_no_message_ends_the_connection_and_it_comes_back(
    fake: MakeFake, follower: Follower
) -> None:
    def script(number: int, _: Message) -> list[Say]:
        return [WELCOME] if number else ["no message"]

    follower.connect(fake(script).url)
    follower.wait_for("state", "live", state="waiting")
    follower.wait_for("state", "live", state="open")


def test_unknown_messages_and_members_are_ignored(fake: MakeFake, follower: Follower) -> None:
    def script(_: int, message: Message) -> list[Say]:
        (body,) = wanted(message)
        news = {"type": "news", "sub": body["sub"], "prev": "1", "cursor": "99"}
        return [WELCOME, {"type": "news"}, news, *resumed(body, "4", "5"), {"type": "ping"}]

    follower.connect(fake(script).url)
    follower.subscribe("/buckets", since='"3"')
    follower.wait_for("ready")
    assert [one[0] for one in follower.copy().events] == [4, 5]
    assert follower.count("error") == 0


def test_server_that_is_killed_or_stopped_and_started_again_loses_nothing(
    start_server: StartServer,
    open_notes: OpenNotes,
    follower: Follower,
    mongo_uri: str,
    mongo_database: str,
) -> None:
    port = free_port()
    environ = {"MONGODB_URI": mongo_uri, "KINTO_MONGODB_DATABASE": mongo_database}
    server = start_server("--port", str(port), environ=environ)
    notes = open_notes(server.url.rstrip("/"))
    notes.write("a", "at first")
    follower.connect(server.url)
    follower.subscribe(notes.records)
    follower.wait_for("ready")
    for end, code in (("kill", 1006), ("terminate", 1012)):
        notes.write(f"before-{end}", "the end")
        getattr(server, end)()
        follower.wait_for("state", "live", state="waiting", code=code)
        server = start_server("--port", str(port), environ=environ)
        notes = open_notes(server.url.rstrip("/"), notes.bucket)
        notes.write(f"after-{end}", "the start")
        settle(follower, notes)
    assert follower.copy().resets == []
