from typing import Any

import pytest

from server.core.errors import MissingAuth, ParentMissing
from server.transfer.entries import Entry, Problem, Stamp, parse_item, spell_error

RECORD = "/buckets/b/collections/c/records/r"
MARK = ("line", 7)


def parse(value: Any) -> Any:
    return parse_item(value, "line 7", MARK)


def test_object_is_read_with_its_date_and_permissions() -> None:
    value = {
        "uri": RECORD,
        "data": {"id": "r", "last_modified": 5, "a": 1},
        "permissions": {"read": ["x"]},
    }
    entry = parse(value)
    assert isinstance(entry, Entry)
    assert (entry.path.uri, entry.place, entry.mark) == (RECORD, "line 7", MARK)
    content = entry.content
    assert (content.fields, content.date, content.permissions) == ({"a": 1}, 5, {"read": ("x",)})


def test_object_without_permissions_has_none_that_are_known() -> None:
    assert parse({"uri": RECORD, "data": {}}).content.permissions is None


def test_object_that_says_it_is_deleted_in_its_data_is_no_tombstone() -> None:
    entry = parse({"uri": RECORD, "data": {"deleted": True}})
    assert not entry.deleted
    assert entry.content.fields == {"deleted": True}


def test_tombstone_has_only_a_date() -> None:
    entry = parse({"uri": RECORD, "data": {"last_modified": 5, "x": 1}, "deleted": True})
    assert entry.deleted
    assert (entry.content.date, entry.content.fields) == (5, None)


def test_timestamp_of_a_list_is_read() -> None:
    stamp = parse({"uri": "/buckets/b/groups", "timestamp": 9})
    assert isinstance(stamp, Stamp)
    assert (stamp.path.uri, stamp.timestamp) == ("/buckets/b/groups", 9)


def test_hash_of_an_account_is_taken_out_of_its_data() -> None:
    entry = parse({"uri": "/accounts/a@b.c", "data": {"password": "$2b$04$x", "n": 1}})
    assert entry.content.secret == "$2b$04$x"
    assert (entry.content.fields, entry.content.text) == ({"n": 1}, b'{"n":1}')
    assert entry.content.permissions == {"write": ("account:a@b.c",)}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "it is no JSON object with a uri"),
        ({"uri": 1}, "it is no JSON object with a uri"),
        ({"uri": "/nothing/x"}, "/nothing/x is no path of an object"),
        ({"uri": "/buckets//x"}, "/buckets//x is no path of an object"),
        ({"uri": RECORD, "data": []}, "is not a mapping type"),
        ({"uri": RECORD, "data": {"id": "other"}}, "Object id does not match existing object"),
        ({"uri": RECORD, "data": {"last_modified": -1}}, "should be between"),
        ({"uri": RECORD, "data": {"x": "y" * (5 << 20)}}, "at most 4194304 bytes"),
        ({"uri": RECORD, "permissions": {"fly": []}}, '"fly" is not one of read, write'),
        ({"uri": RECORD, "secret": 1}, "unknown member secret"),
        ({"uri": RECORD, "deleted": 1}, "deleted should be true or false"),
        ({"uri": RECORD, "deleted": True, "data": 3}, "data should be an object"),
        ({"uri": RECORD, "deleted": True, "data": {"id": "s"}}, "Object id does not match"),
        ({"uri": "/buckets/b/groups"}, "timestamp should be an integer"),
        ({"uri": "/buckets/b/groups", "timestamp": True}, "timestamp should be an integer"),
        ({"uri": "/buckets/b/groups", "data": {}}, "unknown member data"),
        ({"uri": "/buckets/b/groups/g", "data": {"members": 1}}, "is not iterable"),
        ({"uri": "/api-keys/k", "data": {}}, "objects of /api-keys are not moved"),
        ({"uri": "/accounts/a", "data": {}}, "no bcrypt hash"),
        ({"uri": "/accounts/a", "data": {"password": "plain"}}, "no bcrypt hash"),
    ],
)
def test_what_cannot_be_loaded_is_a_problem_with_its_reason(value: Any, reason: str) -> None:
    problem = parse(value)
    assert isinstance(problem, Problem)
    assert reason in problem.reason
    assert (problem.place, problem.mark) == ("line 7", MARK)


def test_error_of_the_protocol_is_told_in_a_sentence() -> None:
    words = "the collection c that it lies in does not exist here"
    assert spell_error(ParentMissing("c", "collection")) == words
    assert spell_error(MissingAuth())
