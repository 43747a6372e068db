from typing import Any

import pytest

from server.core.contents import (
    NO_ID,
    NOTHING,
    OBJECT_MAX_BYTES,
    Content,
    check_date,
    check_new_id,
    check_same_id,
    check_size,
    complete_data,
    parse_content,
    parse_date,
    without_assigned,
)
from server.core.errors import InvalidParameters, TooLarge
from server.core.json_text import HugeInteger, parse_json

MISMATCH = "Object id does not match existing object"


def names_in(error: InvalidParameters) -> list[str]:
    return [problem.name for problem in error.problems]


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("record", {}, NOTHING),
        ("record", {"data": {}}, Content({}, b"{}")),
        ("record", {"data": {"a": None, "": 1}}, Content({"a": None, "": 1}, b'{"a":null,"":1}')),
        (
            "record",
            {"data": {"id": "r", "last_modified": 7, "deleted": True}},
            Content({"deleted": True}, b'{"deleted":true}', "r", 7),
        ),
        ("record", {"permissions": {}}, Content(permissions={})),
        (
            "collection",
            {"permissions": {"record:create": ["b", "a", "b"], "read": [], "write": None}},
            Content(permissions={"record:create": ("b", "a"), "read": ()}),
        ),
        ("group", {}, NOTHING),
        ("group", {"data": {}}, Content({"members": []}, b'{"members":[]}')),
        (
            "group",
            {"data": {"members": ["b", "a", "b", "system.Authenticated"]}},
            Content(
                {"members": ["b", "a", "b", "system.Authenticated"]},
                b'{"members":["b","a","b","system.Authenticated"]}',
            ),
        ),
        (
            "collection",
            {"data": {"schema": {"type": "object"}, "cache_expires": 1.5, "members": 1}},
            Content(
                {"schema": {"type": "object"}, "cache_expires": 1.5, "members": 1},
                b'{"schema":{"type":"object"},"cache_expires":1.5,"members":1}',
            ),
        ),
        ("collection", {"data": {"cache_expires": None}}, Content({}, b"{}")),
    ],
)
def test_a_well_formed_body_is_read(kind: str, body: Any, expected: Content) -> None:
    assert parse_content(kind, body) == expected


@pytest.mark.parametrize("kind", ["bucket", "record"])
def test_what_collections_and_groups_are_asked_for_is_free_elsewhere(kind: str) -> None:
    data = {"schema": 1, "cache_expires": "x", "members": 2}
    assert parse_content(kind, {"data": data}).fields == data


@pytest.mark.parametrize(
    ("kind", "body", "names"),
    [
        ("record", [], [""]),
        ("record", {"frob": 1}, [""]),
        ("record", {"data": 1}, ["data"]),
        ("record", {"permissions": {"record:create": []}}, ["permissions"]),
        ("group", {"data": {"members": 1}}, ["data.members"]),
        ("group", {"data": {"members": None}}, ["data.members"]),
        ("group", {"data": {"members": "x"}}, ["data.members"]),
        ("group", {"data": {"members": {}}}, ["data.members"]),
        (
            "group",
            {"data": {"members": 1}, "permissions": {"frob": []}},
            ["data.members", "permissions"],
        ),
        ("group", {"data": 1, "permissions": {"frob": []}}, ["data"]),
        (
            "collection",
            {"data": {"schema": [], "cache_expires": "x"}},
            ["data.cache_expires", "data.schema"],
        ),
        ("collection", {"data": {"schema": None}}, ["data.schema"]),
        ("collection", {"data": {"schema": "{}"}}, ["data.schema"]),
        ("collection", {"data": {"cache_expires": True}}, ["data.cache_expires"]),
        ("collection", {"data": {"cache_expires": [1]}}, ["data.cache_expires"]),
        ("record", {"data": {"last_modified": -1}}, ["data.last_modified"]),
    ],
)
def test_what_is_wrong_with_a_body_is_told_by_name(kind: str, body: Any, names: list[str]) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_content(kind, body)
    assert names_in(caught.value) == names


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("", "Required"),
        (None, "Required"),
        (1, "1 is not a string"),
        ("system.Everyone", "'system.Everyone' is not a valid user ID."),
        ("/buckets/b/groups/g", "'/buckets/b/groups/g' is not a valid user ID."),
    ],
)
def test_what_cannot_be_a_member_of_a_group_is_told_with_its_place(member: Any, words: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_content("group", {"data": {"members": ["alice", member]}})
    assert caught.value.message == f"data.members.1 in body: {words}"


@pytest.mark.parametrize("sent", [None, 7, "", "b b", "r"])
def test_the_id_of_a_body_is_handed_on_as_it_was_sent(sent: Any) -> None:
    assert parse_content("record", {"data": {"id": sent}}).id == sent


def test_a_body_without_an_id_has_none_not_even_null() -> None:
    assert parse_content("record", {"data": {"a": 1}}).id is NO_ID
    assert parse_content("record", {}).id is NO_ID


def test_a_good_id_may_name_a_new_object() -> None:
    assert check_new_id("a-b_9") == "a-b_9"


@pytest.mark.parametrize("value", [None, 7, "", "b b", "-a", ["r"], True])
def test_a_bad_id_cannot_name_a_new_object(value: Any) -> None:
    with pytest.raises(InvalidParameters) as caught:
        check_new_id(value)
    assert caught.value.message == "path: Invalid object id"
    assert caught.value.problems[0].name == ""


@pytest.mark.parametrize("value", [NO_ID, "r"])
def test_a_body_may_leave_out_or_repeat_the_id_of_the_url(value: Any) -> None:
    check_same_id(value, "r")


@pytest.mark.parametrize("value", [None, 7, "", "R", "s", ["r"], {"r": 1}])
def test_a_body_may_not_name_another_id_than_the_url(value: Any) -> None:
    with pytest.raises(InvalidParameters) as caught:
        check_same_id(value, "r")
    assert caught.value.body()["details"] == [
        {"location": "body", "name": "id", "description": MISMATCH}
    ]
    assert caught.value.message == MISMATCH


@pytest.mark.parametrize(
    ("value", "date"),
    [
        (0, 0),
        (1 << 42, 1 << 42),
        ("12", None),
        (1.5, None),
        (12.0, None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_a_date_is_an_integer_and_everything_else_is_dropped(value: Any, date: int | None) -> None:
    assert parse_date({"last_modified": value}) == date


def test_data_without_a_date_has_none() -> None:
    assert parse_date({}) is None


@pytest.mark.parametrize(
    "value",
    [-1, (1 << 42) + 1, 1 << 43, 1 << 60, HugeInteger("9" * 5000), HugeInteger("-" + "9" * 5000)],
    ids=["negative", "2^42+1", "2^43", "2^60", "5000 digits", "minus 5000 digits"],
)
def test_an_integer_that_is_no_date_is_refused(value: Any) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_date({"last_modified": value})
    assert names_in(caught.value) == ["data.last_modified"]


def test_a_date_in_the_query_is_refused_by_its_own_name() -> None:
    check_date("querystring", "last_modified", 0)
    with pytest.raises(InvalidParameters) as caught:
        check_date("querystring", "last_modified", -1)
    assert caught.value.problems[0].location == "querystring"
    assert caught.value.problems[0].name == "last_modified"


def test_what_the_server_assigns_is_taken_out_and_the_order_kept() -> None:
    sent = {"b": 1, "id": "r", "a": 2, "last_modified": 3}
    assert list(without_assigned(sent)) == ["b", "a"]
    assert list(sent) == ["b", "id", "a", "last_modified"]


def test_integers_of_any_size_are_stored_digit_by_digit() -> None:
    digits = "9" * 5000
    body = parse_json(f'{{"data":{{"n":{digits}}}}}')
    assert parse_content("record", body).text == f'{{"n":{digits}}}'.encode()


def test_a_collection_may_expire_after_a_huge_number_of_seconds() -> None:
    fields = {"cache_expires": HugeInteger("9" * 5000)}
    assert complete_data("collection", dict(fields)) == fields


def test_an_object_may_have_as_many_bytes_as_are_stored_and_no_more() -> None:
    frame = len(b'{"a":""}')
    content = parse_content("record", {"data": {"a": "x" * (OBJECT_MAX_BYTES - frame)}})
    assert len(content.text) == OBJECT_MAX_BYTES
    with pytest.raises(TooLarge):
        parse_content("record", {"data": {"a": "x" * (OBJECT_MAX_BYTES - frame + 1)}})
    check_size(b"x" * OBJECT_MAX_BYTES)


def test_the_parsed_body_is_not_changed() -> None:
    body = {"data": {"id": "g"}}
    parse_content("group", body)
    assert body == {"data": {"id": "g"}}
