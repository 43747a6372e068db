from collections.abc import Mapping
from typing import Any

import pytest

from notifier.followers import (
    Change,
    Follower,
    Interrupted,
    Poke,
    Progress,
    Ready,
    Refused,
    Reset,
    Wanted,
    refusal,
)
from server.core.json_text import load_json

LIST = "/buckets/b/collections/c/records"
RECORD = f"{LIST}/r"


def make(since: str | None = None, path: str = LIST, **options: Any) -> Follower:
    follower = Follower(Wanted(path, **options), since)
    assert follower.begin() == []
    return follower


def welcome(epoch: str = "e") -> dict[str, Any]:
    return {"type": "welcome", "heartbeat": 25, "epoch": epoch}


def subscribed(mode: str, cursor: str | None = "9", path: str = LIST) -> dict[str, Any]:
    return {"type": "subscribed", "path": path, "mode": mode, "cursor": cursor}


def page(*data: Any, cursor: str | None = "9", prev: str | None = None) -> dict[str, Any]:
    more = cursor is None
    return {"type": "snapshot", "prev": prev, "cursor": cursor, "data": data, "more": more}


def event(prev: str, cursor: str, action: str = "update", **members: Any) -> dict[str, Any]:
    told = {"prev": prev, "cursor": cursor, "action": action}
    return {"type": "event", **told, "uri": RECORD, "resource_name": "record", **members}


def feed(follower: Follower, *messages: Mapping[str, Any]) -> list[Any]:
    return [told for message in messages for told in follower.receive(message)]


def asked(follower: Follower) -> dict[str, Any]:
    """The body of the subscription that it asks for."""
    hello = load_json(follower.hello().encode())
    assert hello["type"] == "hello"
    (body,) = hello["subscribe"]
    assert isinstance(body, dict)
    return body


def test_snapshot_is_told_object_by_object_and_ready_has_the_cursor() -> None:
    follower = make()
    told = feed(
        follower,
        welcome(),
        subscribed("snapshot"),
        page({"id": "r", "last_modified": 5}, cursor=None),
        page({"id": "s"}),
        {"type": "ready", "prev": "9", "cursor": "9"},
    )
    assert told == [
        Change("snapshot", RECORD, "record", {"id": "r", "last_modified": 5}),
        Change("snapshot", f"{LIST}/s", "record", {"id": "s"}),
        Ready("9", "e"),
    ]
    assert (told[0].id, told[0].last_modified, told[0].removes) == ("r", 5, False)
    assert asked(follower)["since"] == "9"


def test_snapshot_of_an_object_has_its_own_uri() -> None:
    follower = make(path=RECORD)
    told = feed(follower, subscribed("snapshot", path=RECORD), page({"id": "r"}))
    assert told == [Change("snapshot", RECORD, "record", {"id": "r"})]


def test_snapshot_of_a_feed_says_what_each_object_is() -> None:
    path = "/buckets/b/changes"
    follower = make(path=path)
    entry = {"uri": "/buckets/b/groups/g", "resource_name": "group", "data": {"id": "g"}}
    told = feed(follower, subscribed("snapshot", path=f"{path}?x=1"), page(entry))
    assert told == [Change("snapshot", "/buckets/b/groups/g", "group", {"id": "g"})]


def test_event_has_what_was_asked_for() -> None:
    follower = make("7")
    extra = {"permissions": {"write": ["u"]}, "user_id": "u", "old": {"id": "r"}}
    told = feed(
        follower,
        subscribed("backfill"),
        event("7", "8-1", "enter", data={"id": "r"}, reason="filter", **extra),
        event("8-1", "9", "delete", data={"id": "r", "deleted": True}),
        event("9", "10", truncated=True),
    )
    assert told[0].reason == "filter"
    assert (told[0].permissions, told[0].user_id, told[0].old) == tuple(extra.values())
    assert told[1].removes
    assert (told[2].data, told[2].last_modified) == (None, None)
    assert [one.cursor for one in told] == ["8-1", "9", "10"]


def test_quoted_cursor_and_one_with_a_zero_are_what_they_stand_for() -> None:
    follower = make('"7-0"')
    assert asked(follower)["since"] == "7-0"
    told = feed(follower, subscribed("backfill"), {"type": "ready", "prev": "7", "cursor": "7"})
    assert told == [Ready("7")]


def test_live_only_begins_at_the_cursor_that_the_server_names() -> None:
    follower = make("now")
    assert asked(follower)["since"] == "now"
    told = feed(follower, subscribed("live"), {"type": "ready", "prev": "9", "cursor": "9"})
    assert told == [Ready("9")]


def test_progress_and_pokes_move_the_cursor() -> None:
    follower = make("7", deliver="poke")
    told = feed(
        follower,
        subscribed("backfill"),
        {"type": "progress", "prev": "7", "cursor": "8"},
        {"type": "poke", "prev": "8", "cursor": "9"},
    )
    assert told == [Progress("8"), Poke("9")]
    assert asked(follower)["since"] == "9"
    assert asked(follower)["deliver"] == "poke"


@pytest.mark.parametrize(
    "message",
    [
        event("8", "9"),
        {"type": "ready", "prev": "8", "cursor": "9"},
        {"type": "progress", "prev": None, "cursor": "9"},
        page(prev=None),
        {"type": "event", "prev": "7"},
        {"type": "snapshot", "prev": "7", "cursor": None},
        {"type": ["event"]},
    ],
)
def test_message_that_does_not_follow_interrupts_and_the_cursor_stays(message: Any) -> None:
    follower = make("7")
    follower.receive(subscribed("backfill"))
    with pytest.raises(Interrupted) as interruption:
        follower.receive(message)
    assert interruption.value.disagreed
    assert follower.begin() == []
    assert asked(follower)["since"] == "7"


def test_event_before_the_subscription_has_begun_interrupts() -> None:
    follower = make("now")
    with pytest.raises(Interrupted) as interruption:
        follower.receive(event("7", "8"))
    assert interruption.value.disagreed


def test_unknown_messages_are_ignored() -> None:
    assert feed(make("7"), {"type": "ping"}, {"type": "news"}, {}) == []


def test_interrupted_snapshot_is_dropped_before_it_begins_again() -> None:
    follower = make()
    feed(follower, subscribed("snapshot"), page({"id": "r"}, cursor=None))
    assert follower.begin() == [Reset("restarted")]
    assert "since" not in asked(follower)
    assert follower.begin() == []


def test_reset_of_the_server_is_told_and_what_follows_is_a_snapshot() -> None:
    follower = make("7")
    told = feed(
        follower,
        subscribed("snapshot"),
        {"type": "reset", "reason": "permissions-changed", "cursor": "9"},
        page({"id": "s"}),
    )
    assert told == [
        Reset("permissions-changed"),
        Change("snapshot", f"{LIST}/s", "record", {"id": "s"}),
    ]


@pytest.mark.parametrize(("details", "reason"), [({"reason": "ahead"}, "ahead"), (None, "floor")])
def test_cursor_that_expired_is_a_reset_and_a_new_beginning(details: Any, reason: str) -> None:
    follower = make("7")
    error = {"type": "error", "code": 410, "errno": 118, "error": "Gone", "details": details}
    with pytest.raises(Interrupted):
        feed(follower, welcome(), error)
    assert follower.begin() == [Reset(reason)]
    assert "since" not in asked(follower)


def test_another_epoch_is_a_reset_and_a_new_beginning() -> None:
    follower = make("7")
    feed(follower, welcome("e"), subscribed("backfill"))
    follower.begin()
    with pytest.raises(Interrupted):
        follower.receive(welcome("f"))
    assert follower.begin() == [Reset("epoch")]
    assert feed(follower, welcome("f"), subscribed("snapshot"), page({"id": "r"})) != []


def test_given_epoch_counts_from_the_first_welcome() -> None:
    follower = Follower(Wanted(LIST), "7", "e")
    with pytest.raises(Interrupted):
        follower.receive(welcome("f"))
    assert follower.begin() == [Reset("epoch")]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 413])
def test_error_that_would_come_again_ends_it(code: int) -> None:
    error = {"type": "error", "code": code, "errno": 107, "error": "No", "message": "Never"}
    with pytest.raises(Refused, match="Never") as refused:
        make().receive({**error, "details": [1]})
    assert (refused.value.code, refused.value.errno) == (code, 107)
    assert (refused.value.message, refused.value.details) == ("Never", [1])


def test_error_that_passes_is_an_interruption() -> None:
    error = {"type": "error", "code": 503, "errno": 201, "error": "Later", "retry_after": 7}
    with pytest.raises(Interrupted, match="Later") as interruption:
        make().receive(error)
    assert interruption.value.retry_after == 7


def test_lost_right_ends_it() -> None:
    follower = make("7")
    with pytest.raises(Refused) as refused:
        follower.receive({"type": "unsubscribed", "code": 403, "errno": 121, "reason": "Forbidden"})
    assert (refused.value.code, refused.value.errno) == (403, 121)


def test_lost_right_is_waited_for_where_that_was_asked_for() -> None:
    follower = make("7", wait=True)
    assert asked(follower)["on_denied"] == "wait"
    with pytest.raises(Interrupted):
        follower.receive({"type": "unsubscribed", "code": 404, "errno": 111, "reason": "Gone"})
    assert follower.begin() == [Reset("denied")]
    waiting = subscribed("waiting", None)
    assert feed(follower, waiting, subscribed("snapshot"), page(cursor="3")) == []
    assert follower.cursor == "3"


@pytest.mark.parametrize("code", [4400, 4401, 4403, 4410, 4413])
def test_closing_for_good_ends_it(code: int) -> None:
    ended = make().closed(code, "enough")
    assert isinstance(ended, Refused)
    assert (ended.code, ended.errno, ended.message) == (code - 4000, None, "enough")


@pytest.mark.parametrize("code", [None, 1000, 1006, 1012, 4408, 4429, 4500, 4503])
def test_other_ends_are_interruptions(code: int | None) -> None:
    ended = make().closed(code, None)
    assert isinstance(ended, Interrupted)
    assert (ended.retry_after > 0) is (code == 4429)


def test_goodbye_says_when_to_come_back_once() -> None:
    follower = make()
    follower.receive({"type": "goodbye", "reason": "restart", "retry_after": 3.5})
    ended = follower.closed(1012, "restart")
    assert isinstance(ended, Interrupted)
    assert ended.retry_after == 3.5
    follower.begin()
    again = follower.closed(1006, None)
    assert isinstance(again, Interrupted)
    assert again.retry_after == 0


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"errno": 104, "message": "Who?"}, Refused(401, 104, "Who?")),
        (404, None, Refused(404, None, "Not Found")),
        (302, ["?"], Refused(302, None, "Found")),
        (429, {"error": "Slowly"}, Interrupted("Slowly", 4)),
        (503, None, Interrupted("Service Unavailable", 4)),
        (599, None, Interrupted("no answer", 4)),
    ],
)
def test_answer_of_http_is_final_or_not(status: int, body: Any, expected: Exception) -> None:
    found = refusal(status, body, 4)
    assert (type(found), vars(found)) == (type(expected), vars(expected))
    assert str(found) == str(expected)


@pytest.mark.parametrize("since", ["", "x", "1-", "-1"])
def test_since_that_is_no_cursor_is_an_error_at_once(since: str) -> None:
    with pytest.raises(ValueError, match="is no cursor"):
        Follower(Wanted(LIST), since)
