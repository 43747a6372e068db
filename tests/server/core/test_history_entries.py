from typing import Any

import pytest

from server.core.errors import InvalidParameters
from server.core.filters import matches
from server.core.history_entries import (
    FIELDS,
    Span,
    find_span,
    is_in_order,
    make_entry,
    make_target,
    matches_head,
    needs_target,
    parse_history_query,
    spell_moment,
    split_conditions,
)
from server.core.paths import object_path
from server.core.positions import last_position, make_position
from server.core.queries import ListQuery
from tests.server.storage.scenes import NOW, make_revision

BUCKET = object_path("/buckets/b")
ALL = Span(make_position(100), make_position(10_000))


def parse(query: str) -> ListQuery:
    pairs = [(name, value) for name, _, value in (p.partition("=") for p in query.split("&") if p)]
    return parse_history_query(pairs)


def test_entry_tells_what_was_done_and_to_what() -> None:
    assert make_entry(make_revision()) == {
        "id": str(NOW),
        "last_modified": NOW,
        "date": "2023-11-14T22:13:20.000+00:00",
        "action": "update",
        "uri": "/buckets/b/groups/g",
        "user_id": "basicauth:alice",
        "resource_name": "group",
        "group_id": "g",
    }


@pytest.mark.parametrize(
    ("uri", "ids"),
    [
        ("/buckets/b", {"bucket_id": "b"}),
        ("/buckets/b/collections/c", {"collection_id": "c"}),
        ("/buckets/b/collections/c/records/r", {"collection_id": "c", "record_id": "r"}),
    ],
)
def test_entry_names_the_ids_below_the_bucket(uri: str, ids: dict[str, str]) -> None:
    entry = make_entry(make_revision(uri=uri))
    assert {n: v for n, v in entry.items() if n.endswith("_id") and n != "user_id"} == ids


def test_entry_of_an_anonymous_user_has_no_id_of_one() -> None:
    assert make_entry(make_revision(by=""))["user_id"] is None


def test_entry_of_a_cascade_says_how_much_went() -> None:
    entry = make_entry(make_revision(uri="/buckets/b/collections/c", action="delete", took=7))
    assert entry["removed"] == {"records": 7}


def test_target_is_the_object_with_the_permissions_that_are_shown() -> None:
    target = make_target(make_revision(), {"read": ("x", "y")})
    assert target == {"data": {"id": "g", "x": 1}, "permissions": {"read": ["x", "y"]}}


def test_members_of_every_entry_can_be_asked_for() -> None:
    revision = make_revision(uri="/buckets/b/collections/c", took=1)
    assert {*make_entry(revision), "target"} <= set(FIELDS)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "1970-01-01T00:00:00.000+00:00"), (1_700_000_000_007, "2023-11-14T22:13:20.007+00:00")],
)
def test_moment_is_spelled_to_the_millisecond(ms: int, text: str) -> None:
    assert spell_moment(ms) == text


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("record_id=7", "7"),
        ("record_id=007", "007"),
        ("record_id=1e5", "1e5"),
        ('record_id="7"', "7"),
        ("user_id=null", None),
        ("not_collection_id=true", "true"),
        ("like_record_id=12", "12"),
        ("in_record_id=1,x", ["1", "x"]),
        ('in_record_id="1","x"', ["1", "x"]),
        ('exclude_id=["1"]', ["1"]),
        ("target.data.n=7", 7),
        ("gt_target.data.last_modified=7", 7),
        ("has_record_id=true", True),
    ],
)
def test_ids_and_names_are_texts_whatever_they_look_like(query: str, value: Any) -> None:
    (condition,) = parse(query).conditions
    assert condition.value == value
    assert type(condition.value) is type(value)


@pytest.mark.parametrize("query", ["foo=1", "gt_foo.bar=1", "_sort=foo", "_fields=foo"])
def test_what_no_entry_has_is_refused(query: str) -> None:
    with pytest.raises(InvalidParameters):
        parse(query)


@pytest.mark.parametrize(
    ("query", "after", "upto"),
    [
        ("", make_position(100), make_position(10_000)),
        ("_since=200", last_position(200), make_position(10_000)),
        ("_since=200-3", make_position(200, 3), make_position(10_000)),
        ("_since=5", make_position(100), make_position(10_000)),
        ("min_last_modified=200", make_position(200) - 1, make_position(10_000)),
        ("_before=200", make_position(100), make_position(200) - 1),
        ("max_last_modified=200", make_position(100), last_position(200)),
        ("last_modified=200", make_position(200) - 1, last_position(200)),
        ("not_last_modified=200", make_position(100), make_position(10_000)),
        ("_since=200.5", make_position(100), make_position(10_000)),
        ("_before=9223372036854775807", make_position(100), make_position(10_000)),
    ],
)
def test_span_is_cut_by_times(query: str, after: int, upto: int) -> None:
    span = find_span(parse(query), BUCKET, ALL)
    assert (span.after, span.upto) == (after, upto)


@pytest.mark.parametrize(
    ("query", "uri"),
    [
        ("uri=/buckets/b/groups/g", "/buckets/b/groups/g"),
        ("uri=/buckets/b", "/buckets/b"),
        ("uri=/buckets/other", None),
        ("uri=/buckets/b/groups", None),
        ("uri=nonsense", None),
        ("not_uri=/buckets/b", None),
        ("record_id=r&collection_id=c", "/buckets/b/collections/c/records/r"),
        ("record_id=r", None),
        ("record_id=r/x&collection_id=c", None),
    ],
)
def test_span_of_one_object_is_told_by_its_address(query: str, uri: str | None) -> None:
    assert find_span(parse(query), BUCKET, ALL).uri == uri


@pytest.mark.parametrize(
    ("query", "plural", "by"),
    [
        ("resource_name=group", "groups", None),
        ("resource_name=record&collection_id=c", "collections/c/records", None),
        ("resource_name=record&collection_id=.*", "records", None),
        ("resource_name=unknown", None, None),
        ("user_id=basicauth:x", None, "basicauth:x"),
        ("user_id=null", None, None),
    ],
)
def test_span_is_narrowed_by_kind_and_user(query: str, plural: str | None, by: str | None) -> None:
    span = find_span(parse(query), BUCKET, ALL)
    assert (span.plural, span.by) == (plural, by)


def test_log_stands_in_the_default_order_and_its_reverse() -> None:
    assert is_in_order(parse(""))
    assert is_in_order(parse("_sort=-last_modified"))
    assert is_in_order(parse("_sort=last_modified"))
    assert not is_in_order(parse("_sort=uri"))


def test_objects_are_needed_only_where_something_asks_for_them() -> None:
    assert needs_target(parse(""))
    assert needs_target(parse("_fields=target.data.x"))
    assert needs_target(parse("_fields=uri&_sort=target.data.x"))
    assert not needs_target(parse("_fields=uri&_sort=action&target.data.x=1"))
    head, of_target = split_conditions(parse("target.data.x=1&action=create").conditions)
    assert [one.field for one in head + of_target] == ["action", "target.data.x"]


@pytest.mark.parametrize(
    ("query", "matched"),
    [
        ("action=update&resource_name=record&record_id=r", True),
        ("collection_id=c&uri=/buckets/b/collections/c/records/r", True),
        (f"last_modified={NOW}&user_id=basicauth:alice", True),
        ("has_record_id=false", False),
        ("has_group_id=false", True),
        ("not_record_id=r", False),
        ("like_date=2023-*", True),
    ],
)
def test_head_is_matched_as_the_entry_would_be(query: str, matched: bool) -> None:
    uri = "/buckets/b/collections/c/records/r"
    revision = make_revision(uri=uri, list=uri.rpartition("/")[0])
    conditions = parse(query).conditions
    assert matches_head(conditions, revision) is matched
    assert matches(conditions, make_entry(revision)) is matched


def test_what_is_no_record_has_no_id_of_one() -> None:
    assert matches_head(parse("has_record_id=false").conditions, make_revision())
    assert not matches_head(parse("record_id=g").conditions, make_revision())
