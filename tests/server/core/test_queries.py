from typing import Any

import pytest

from server.core.errors import CursorExpired, InvalidParameters
from server.core.filters import Operator
from server.core.objects import Clock
from server.core.positions import make_position
from server.core.queries import (
    ListQuery,
    check_cursor,
    check_dates,
    check_kept,
    parse_at,
    parse_fields,
    parse_query,
)
from server.core.sorting import DEFAULT_ORDER, SortKey

DAY = 24 * 3600 * 1000
NOW = 1_700_000_000_000


def refused(*arguments: tuple[str, str], known: set[str] | None = None) -> InvalidParameters:
    with pytest.raises(InvalidParameters) as caught:
        parse_query(arguments, known_fields=known)
    return caught.value


def test_empty_query_string_asks_for_the_whole_list_in_default_order() -> None:
    query = parse_query(())
    assert query == ListQuery()
    assert query.order == DEFAULT_ORDER
    assert not query.wants_tombstones


def test_every_parameter_is_read_and_unknown_ones_with_an_underscore_are_ignored() -> None:
    query = parse_query(
        [
            ("_since", '"5"'),
            ("_sort", "a,-b.c"),
            ("_limit", "10"),
            ("_fields", "a,b.c"),
            ("_token", "tok"),
            (" min_a ", "1"),
            ("_foo", "1"),
            ("_foo", "2"),
        ]
    )
    assert [(c.field, c.operator, c.value) for c in query.conditions] == [
        ("last_modified", Operator.GT, 5),
        ("a", Operator.MIN, 1),
    ]
    assert query.sort == (SortKey("a"), SortKey("b.c", descending=True))
    assert query.order == (*query.sort, *DEFAULT_ORDER)
    assert (query.limit, query.fields, query.token) == (10, ("a", "b.c"), "tok")
    assert query.wants_tombstones
    assert not query.uses_to


@pytest.mark.parametrize(
    "name", ["_since", "_before", "_to", "last_modified", "not_last_modified", "in_last_modified"]
)
def test_any_filter_on_last_modified_asks_for_tombstones(name: str) -> None:
    query = parse_query([(name, "5")])
    assert query.wants_tombstones
    assert query.uses_to is (name == "_to")


def test_other_filters_do_not_ask_for_tombstones() -> None:
    assert not parse_query([("deleted", "true")]).wants_tombstones


@pytest.mark.parametrize(
    "name", ["_limit", "_since", "_before", "_to", "_sort", "_fields", "_token"]
)
def test_parameter_of_the_protocol_given_twice_is_refused_by_name(name: str) -> None:
    error = refused((name, "1"), (name, "1"))
    assert error.message == f"{name} is given twice"
    assert error.problems[0].name == name


def test_filter_given_twice_is_of_the_list() -> None:
    assert parse_query([("i", "1"), ("a", "x"), ("i", "2")]).conditions[0].value == [1, 2]


def test_ten_thousand_parameters_are_refused_and_a_thousand_are_not() -> None:
    arguments = [(f"f{i}", "1") for i in range(10_000)]
    assert len(parse_query(arguments[:1000]).conditions) == 1000
    assert "1000 parameters" in str(refused(*arguments).message)


@pytest.mark.parametrize(
    ("text", "limit"),
    [("5", 5), ("0", 0), ('"5"', 5), ("2.5", 2), ("", None), ('""', None), ("null", None)],
)
def test_limit_is_read(text: str, limit: int | None) -> None:
    assert parse_query([("_limit", text)]).limit == limit


@pytest.mark.parametrize("text", ["-1", "abc", "true", "1,2", str(2**63)])
def test_limit_that_is_no_number_of_objects_is_refused(text: str) -> None:
    assert refused(("_limit", text)).problems[0].name == "_limit"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("-", []),
        ("--a", []),
        ("a b", []),
        ("a,,-b", ["a", "-b"]),
        (" a , b", ["a", "b"]),
        ("+a", ["a"]),
        ("a,-a", ["a"]),
        ("a-b,_x,$set,a.b", ["a-b", "_x", "$set", "a.b"]),
    ],
)
def test_sort_keys_are_read_and_malformed_ones_ignored(text: str, expected: list[str]) -> None:
    sort = parse_query([("_sort", text)]).sort
    assert [("-" if key.descending else "") + key.field for key in sort] == expected


def test_more_sort_keys_or_fields_than_can_be_meant_are_refused() -> None:
    names = ",".join(f"f{i}" for i in range(1001))
    assert refused(("_sort", names)).problems[0].name == "_sort"
    assert refused(("_fields", names)).problems[0].name == "_fields"


@pytest.mark.parametrize("name", ["_sort", "_fields"])
def test_path_too_long_to_look_up_is_refused(name: str) -> None:
    assert refused((name, "x" * 1025)).problems[0].name == name


@pytest.mark.parametrize(
    ("text", "fields"),
    [("", None), (",", None), ("a", ("a",)), (" a ,,b.c,a", ("a", "b.c"))],
)
def test_fields_are_read_the_same_for_lists_and_objects(
    text: str, fields: tuple[str, ...] | None
) -> None:
    assert parse_query([("_fields", text)]).fields == fields
    assert parse_fields([("_fields", text), ("_since", "abc")]) == fields


def test_object_without_fields_is_whole() -> None:
    assert parse_fields(()) is None
    assert parse_fields([("_limit", "abc")]) is None


def test_empty_token_is_none() -> None:
    assert parse_query([("_token", "")]).token is None


@pytest.mark.parametrize(
    ("name", "value", "description"),
    [
        ("foo", "1", "Unknown filter field 'foo'"),
        ("_sort", "uri,-foo", "Unknown sort field 'foo'"),
        ("_fields", "uri,foo,bar", "Fields bar,foo do not exist"),
    ],
)
def test_unknown_field_of_a_fixed_schema_is_refused(
    name: str, value: str, description: str
) -> None:
    assert refused((name, value), known={"uri"}).problems[0].description == description


def test_known_fields_of_a_fixed_schema_are_accepted_everywhere() -> None:
    query = parse_query(
        [("target.data.x", "1"), ("_sort", "uri"), ("_fields", "target.data"), ("_since", "1")],
        known_fields={"uri", "target"},
    )
    assert len(query.conditions) == 2


@pytest.mark.parametrize("name", ["_since", "_before", "_to", "gt_last_modified", "last_modified"])
def test_date_a_day_ahead_is_refused_unless_the_list_is_dated_there(name: str) -> None:
    query = parse_query([("a", "9"), (name, str(NOW + DAY))])
    check_dates(query, NOW + DAY, NOW)
    check_dates(query, NOW, NOW + 1)
    with pytest.raises(InvalidParameters) as caught:
        check_dates(query, NOW, NOW)
    assert caught.value.message == f"Invalid value for {name}"


def test_null_and_lists_of_dates_are_never_too_late() -> None:
    late = str(NOW + 2 * DAY)
    query = parse_query([("_since", "null"), ("in_last_modified", late), ("n", late)])
    check_dates(query, NOW, NOW)


def test_cursor_is_no_filter_but_asks_for_tombstones() -> None:
    query = parse_query([("_since", '"5-1"'), ("a", "1")])
    assert (query.cursor, query.since) == (make_position(5, 1), None)
    assert [condition.field for condition in query.conditions] == ["a"]
    assert query.wants_tombstones


@pytest.mark.parametrize(("text", "since"), [("5", 5), ('"5"', 5), ("5.9", 5), ("null", None)])
def test_since_as_an_etag_is_a_number(text: str, since: int | None) -> None:
    query = parse_query([("_since", text)])
    assert (query.cursor, query.since) == (None, since)


def test_filter_on_last_modified_is_no_since() -> None:
    assert parse_query([("gt_last_modified", "5")]).since is None


def test_malformed_cursor_and_one_given_twice_are_refused() -> None:
    assert refused(("_since", "5-x")).problems[0].name == "_since"
    assert refused(("_since", "5-1"), ("_since", "5-1")).message == "_since is given twice"


CLOCK = Clock(make_position(NOW, 3), floor=make_position(NOW - 9))


@pytest.mark.parametrize("cursor", [f"{NOW - 9}-0", f"{NOW}-0", f"{NOW}-3", str(NOW + 9), ""])
def test_cursor_between_floor_and_clock_is_good_and_an_etag_always(cursor: str) -> None:
    check_cursor(parse_query([("_since", cursor)] if cursor else []), CLOCK)


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [("0-0", "floor"), (f"{NOW - 10}-1048575", "floor"), (f"{NOW}-4", "ahead")],
)
def test_cursor_beyond_them_is_expired_and_told_where_they_are(cursor: str, reason: str) -> None:
    with pytest.raises(CursorExpired) as caught:
        check_cursor(parse_query([("_since", cursor)]), CLOCK)
    expected = {"floor": str(NOW - 9), "cursor": f"{NOW}-3", "reason": reason}
    assert caught.value.details == expected


@pytest.mark.parametrize(
    ("text", "position"),
    [("5", (5, 0)), ('"5"', (5, 0)), ("5-2", (5, 2)), ('"5-2"', (5, 2)), (" 7 ", (7, 0))],
)
def test_state_that_is_asked_for_is_a_cursor_or_an_etag(text: str, position: Any) -> None:
    assert parse_query([("_at", text)]).at == make_position(*position)
    assert parse_at([("x", "1"), ("_at", text)]) == make_position(*position)
    assert not parse_query([("_at", text)]).wants_tombstones


def test_no_state_is_asked_for_without_the_parameter() -> None:
    assert parse_query([("at", "5")]).at is None
    assert parse_at([("_since", "5")]) is None


@pytest.mark.parametrize(
    "arguments",
    [
        [("_at", "")],
        [("_at", "yesterday")],
        [("_at", "-5")],
        [("_at", "5-")],
        [("_at", "99999999999999")],
        [("_at", "5"), ("_at", "6")],
        [("_at", "5"), ("_since", "4")],
        [("_since", "4-1"), ("_at", "5")],
        [("_at", "5"), ("_wait", "4")],
    ],
)
def test_state_that_cannot_be_understood_or_has_no_changes_to_tell_is_refused(
    arguments: list[tuple[str, str]],
) -> None:
    assert "_at" in str(refused(*arguments).message)
    with pytest.raises(InvalidParameters):
        parse_at(arguments)


def test_resource_with_a_fixed_schema_has_no_past() -> None:
    assert "_at" in str(refused(("_at", "5"), known={"uri"}).message)


@pytest.mark.parametrize(("cursor", "reason"), [(9, "floor"), (21, "ahead")])
def test_state_outside_of_what_is_kept_is_gone(cursor: int, reason: str) -> None:
    clock = Clock(make_position(20), floor=make_position(5), kept=make_position(10))
    with pytest.raises(CursorExpired) as caught:
        check_kept(make_position(cursor), clock)
    assert caught.value.details == {"floor": "10", "cursor": "20", "reason": reason}
    for inside in (10, 20):
        check_kept(make_position(inside), clock)
