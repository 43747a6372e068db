import json
from typing import Any

import pytest

from notifier.messages import (
    Auth,
    BadMessage,
    Hello,
    Message,
    NotAMessage,
    Options,
    Ping,
    Subscribe,
    Unsubscribe,
    parse_message,
    parse_options,
    parse_subscribe,
)
from server.core.errors import InvalidParameters

SUBSCRIBE = {"type": "subscribe", "id": 7, "sub": "s", "path": "/buckets"}


def parse(body: Any) -> Message:
    return parse_message(json.dumps(body))


def refuse(body: Any) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        parse(body)
    return caught.value


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "hello"}, Hello(None)),
        (
            {"type": "hello", "id": "h", "authorization": "Basic x", "subscribe": [{}, 1]},
            Hello("h", "Basic x", ({}, 1)),
        ),
        (
            {"type": "hello", "id": None, "authorization": None, "subscribe": None},
            Hello(None),
        ),
        ({"type": "auth", "id": 1, "authorization": "Basic x"}, Auth(1, "Basic x")),
        (SUBSCRIBE, Subscribe(7, "s", "/buckets")),
        (
            {
                **SUBSCRIBE,
                "since": "12-3",
                "deliver": "ids",
                "history": "all",
                "include": ["old", "user_id", "old"],
                "on_denied": "wait",
            },
            Subscribe(
                7,
                "s",
                "/buckets",
                "12-3",
                Options("ids", "all", frozenset(["old", "user_id"]), waits=True),
            ),
        ),
        (
            {**SUBSCRIBE, "since": None, "deliver": None, "include": None, "on_denied": "close"},
            Subscribe(7, "s", "/buckets"),
        ),
        ({"type": "unsubscribe", "sub": "s"}, Unsubscribe(None, "s")),
        ({"type": "ping"}, Ping(None)),
        ({"type": "ping", "id": 2, "t": {"a": [1]}}, Ping(2, {"a": [1]})),
    ],
)
def test_message_of_each_type_is_read(body: Any, expected: Message) -> None:
    assert parse(body) == expected
    assert parse({**body, "unknown": 1, "client": "me"}) == expected


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", '{"a": NaN}', "01", '"\\ud800"'])
def test_text_that_is_no_json_is_no_message(text: str) -> None:
    with pytest.raises(NotAMessage, match="Invalid JSON"):
        parse_message(text)


@pytest.mark.parametrize("text", ["[]", "null", '"hello"', "1", '[{"type":"ping"}]'])
def test_json_that_is_no_object_is_no_message(text: str) -> None:
    with pytest.raises(NotAMessage, match="A message is a JSON object"):
        parse_message(text)


@pytest.mark.parametrize("kind", ["HELLO", "event", "", None, 1, ["hello"], {}])
def test_unknown_type_is_refused_with_the_id_of_its_message(kind: Any) -> None:
    error = refuse({"type": kind, "id": 5, "sub": "s"})
    assert error.id == 5
    assert error.error.details == [
        {
            "location": "body",
            "name": "type",
            "description": "should be one of hello, auth, subscribe, unsubscribe, ping",
        }
    ]
    assert refuse({"id": 5}).error.details == error.error.details


@pytest.mark.parametrize(
    ("body", "name", "words"),
    [
        ({"type": "hello", "authorization": 1}, "authorization", "should be a string"),
        ({"type": "hello", "subscribe": {}}, "subscribe", "should be a list"),
        ({"type": "hello", "subscribe": ""}, "subscribe", "should be a list"),
        ({"type": "auth"}, "authorization", "Required"),
        ({"type": "auth", "authorization": None}, "authorization", "Required"),
        ({"type": "auth", "authorization": []}, "authorization", "should be a string"),
        ({**SUBSCRIBE, "sub": None}, "sub", "Required"),
        ({**SUBSCRIBE, "sub": 1}, "sub", "should be a string"),
        ({**SUBSCRIBE, "sub": ""}, "sub", "should be 1 to 64 letters"),
        ({**SUBSCRIBE, "sub": "s" * 65}, "sub", "should be 1 to 64 letters"),
        ({**SUBSCRIBE, "sub": "a b"}, "sub", "should be 1 to 64 letters"),
        ({**SUBSCRIBE, "sub": "a\n"}, "sub", "should be 1 to 64 letters"),
        ({**SUBSCRIBE, "sub": 'a"'}, "sub", "should be 1 to 64 letters"),
        ({**SUBSCRIBE, "sub": "ä"}, "sub", "should be 1 to 64 letters"),
        ({**SUBSCRIBE, "path": None}, "path", "Required"),
        ({**SUBSCRIBE, "path": 1}, "path", "should be a string"),
        ({**SUBSCRIBE, "since": 12}, "since", "should be a string"),
        ({**SUBSCRIBE, "deliver": "all"}, "deliver", "should be one of data, ids, poke"),
        ({**SUBSCRIBE, "deliver": ["data"]}, "deliver", "should be one of data, ids, poke"),
        ({**SUBSCRIBE, "deliver": ""}, "deliver", "should be one of data, ids, poke"),
        ({**SUBSCRIBE, "history": True}, "history", "should be one of latest, all"),
        ({**SUBSCRIBE, "on_denied": "stay"}, "on_denied", "should be one of close, wait"),
        ({**SUBSCRIBE, "include": "old"}, "include", "should be a list of any of permissions"),
        ({**SUBSCRIBE, "include": ""}, "include", "should be a list of any of permissions"),
        ({**SUBSCRIBE, "include": ["new"]}, "include", "should be a list of any of permissions"),
        ({**SUBSCRIBE, "include": [["old"]]}, "include", "should be a list of any of"),
        ({"type": "unsubscribe"}, "sub", "Required"),
        ({"type": "unsubscribe", "sub": "?"}, "sub", "should be 1 to 64 letters"),
    ],
)
def test_malformed_field_is_refused_by_its_name(body: Any, name: str, words: str) -> None:
    error = refuse({**body, "id": "i"})
    assert error.id == "i"
    ((location, found, description),) = [tuple(row.values()) for row in error.error.details]
    assert (location, found) == ("body", name)
    assert description.startswith(words)
    assert str(error) == error.error.message


@pytest.mark.parametrize("found", [0, -1, 2**53 - 1, 1 - 2**53, "", "i" * 64, "ä\n"])
@pytest.mark.parametrize("kind", ["ping", "hello", "nonsense"])
def test_id_comes_back_as_it_is(found: str | int, kind: str) -> None:
    if kind == "nonsense":
        assert refuse({"type": kind, "id": found}).id == found
    else:
        assert parse({"type": kind, "id": found}).id == found


@pytest.mark.parametrize(
    "found", [True, 1.0, 2**53, -(2**53), 10**5000, "i" * 65, [1], {"a": 1}], ids=lambda _: ""
)
@pytest.mark.parametrize(
    "body",
    [
        {"type": "hello"},
        {"type": "auth", "authorization": "Basic x"},
        {"type": "unsubscribe", "sub": "s"},
        {"type": "ping"},
        SUBSCRIBE,
    ],
    ids=lambda body: str(body["type"]),
)
def test_malformed_id_is_refused_and_does_not_come_back(body: Any, found: Any) -> None:
    # Spelled here: json refuses numbers of so many digits.
    spelled = "1" + "0" * 5000 if type(found) is int and found > 2**60 else json.dumps(found)
    text = json.dumps({**body, "id": None}).replace("null", spelled)
    with pytest.raises(BadMessage) as caught:
        parse_message(text)
    assert caught.value.id is None
    assert [row["name"] for row in caught.value.error.details] == ["id"]


def test_refusal_names_the_subscription_if_its_name_is_one() -> None:
    assert refuse({**SUBSCRIBE, "path": 1}).sub == "s"
    assert refuse({**SUBSCRIBE, "path": 1, "sub": "a b"}).sub is None
    assert refuse({**SUBSCRIBE, "sub": 1}).sub is None


def test_body_of_a_subscription_in_hello_needs_no_type() -> None:
    body = {"id": 1, "sub": "a.b:c-d_9", "path": "/buckets", "since": "now"}
    assert parse_subscribe(body) == Subscribe(1, "a.b:c-d_9", "/buckets", "now")


@pytest.mark.parametrize("body", [None, 1, "s", [], [{}]])
def test_body_of_a_subscription_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_subscribe(body)
    assert (caught.value.id, caught.value.sub) == (None, None)
    assert [row["name"] for row in caught.value.error.details] == ["subscribe"]


def test_malformed_body_of_a_subscription_is_refused_like_a_message() -> None:
    with pytest.raises(BadMessage) as caught:
        parse_subscribe({"id": 3, "sub": "s"})
    assert (caught.value.id, caught.value.sub) == (3, "s")
    assert [row["name"] for row in caught.value.error.details] == ["path"]


def test_options_of_a_query_string_are_named_with_its_prefix() -> None:
    given = {"_deliver": "poke", "_history": "all", "_include": ["permissions"]}
    assert parse_options(given, "querystring", "_") == Options(
        "poke", "all", frozenset(["permissions"])
    )
    assert parse_options({"deliver": "poke"}, "querystring", "_") == Options()


@pytest.mark.parametrize("name", ["_deliver", "_history", "_include", "_on_denied"])
def test_malformed_option_of_a_query_string_is_refused_by_its_name_there(name: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_options({name: "x"}, "querystring", "_")
    (problem,) = caught.value.problems
    assert (problem.location, problem.name) == ("querystring", name)
