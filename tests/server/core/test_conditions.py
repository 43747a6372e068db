from typing import Any

import pytest

from server.core.conditions import (
    check_path,
    is_known,
    parse_condition,
    parse_date_condition,
    parse_number,
    parse_since,
)
from server.core.errors import InvalidParameters
from server.core.filters import Operator
from server.core.positions import make_position


def read(name: str, *values: str) -> tuple[str, str, Any]:
    condition = parse_condition(name, values, None)
    assert condition.parameter == name
    return condition.field, condition.operator, condition.value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a", "x", ("a", "eq", "x")),
        ("a", "", ("a", "eq", "")),
        ("a", "1", ("a", "eq", 1)),
        ("a", " 1", ("a", "eq", 1)),
        ("a", "01", ("a", "eq", "01")),
        ("a", '"1"', ("a", "eq", "1")),
        ("a", "true", ("a", "eq", True)),
        ("a", "null", ("a", "eq", None)),
        ("a", "NaN", ("a", "eq", "NaN")),
        ("a", "1e400", ("a", "eq", "1e400")),
        ("a", '{"$gt":1}', ("a", "eq", {"$gt": 1})),
        ("$where", "1", ("$where", "eq", 1)),
        ("not_a", "1", ("a", "not", 1)),
        ("lt_a.b", "1", ("a.b", "lt", 1)),
        ("gt__x", "1", ("_x", "gt", 1)),
        ("min_a", "1", ("a", "min", 1)),
        ("max_a", "1", ("a", "max", 1)),
        ("not_", "1", ("not_", "eq", 1)),
        ("nothing", "1", ("nothing", "eq", 1)),
        ("in_a", "1,x,true", ("a", "in", [1, "x", True])),
        ("in_a", '"v1","v2"', ("a", "in", ["v1", "v2"])),
        ("in_a", '"a,b",2', ("a", "in", ["a,b", 2])),
        ("in_a", '["a","b"]', ("a", "in", ["a", "b"])),
        ("in_a", "[]", ("a", "in", [])),
        ("in_a", "[1],[2]", ("a", "in", [[1], [2]])),
        ("in_a", "[1],x", ("a", "in", [[1], "x"])),
        ("in_a", "[x", ("a", "in", ["[x"])),
        ("in_a", "", ("a", "in", [""])),
        ("in_a", "x, y", ("a", "in", ["x", " y"])),
        ("exclude_a", "1,2", ("a", "exclude", [1, 2])),
        ("like_a", "x*", ("a", "like", "x*")),
        ("like_a", '"1"', ("a", "like", "1")),
        ("has_a", "true", ("a", "has", True)),
        ("has_a", "yes", ("a", "has", True)),
        ("has_a", "false", ("a", "has", False)),
        ("has_a", "", ("a", "has", False)),
        ("has_a", "0", ("a", "has", False)),
        ("contains_a", "1", ("a", "contains", [1])),
        ("contains_a", "[1,2]", ("a", "contains", [1, 2])),
        ("contains_any_a", "x", ("a", "contains_any", ["x"])),
        ("contains_any", "x", ("any", "contains", ["x"])),
        ("id", "x", ("id", "eq", "x")),
        ("id", "true", ("id", "eq", "true")),
        ("id", "{}", ("id", "eq", "{}")),
        ("not_id", "1", ("id", "not", "1")),
        ("gt_id", "12", ("id", "gt", "12")),
        ("in_id", "a,b", ("id", "in", ["a", "b"])),
        ("in_id", '["a"]', ("id", "in", ["a"])),
        ("like_id", "a*", ("id", "like", "a*")),
        ("has_id", "true", ("id", "has", True)),
        ("last_modified", "5", ("last_modified", "eq", 5)),
        ("gt_last_modified", '"5"', ("last_modified", "gt", 5)),
        ("min_last_modified", "1.5", ("last_modified", "min", 1.5)),
        ("in_last_modified", "1,2", ("last_modified", "in", [1, 2])),
    ],
)
def test_filter_is_read_as_field_operator_and_value(
    name: str, text: str, expected: tuple[str, str, Any]
) -> None:
    field, operator, value = read(name, text)
    assert (field, operator, value) == expected
    assert type(value) is type(expected[2])


@pytest.mark.parametrize(
    ("name", "values", "value"),
    [
        ("a", ("1", "x"), [1, "x"]),
        ("gt_a", ("1", "2"), [1, 2]),
        ("in_a", ("1,2", "3"), [1, 2, 3]),
        ("contains_a", ("1", "2"), [1, 2]),
        ("has_a", ("false", "false"), True),
        ("in_id", ("a", "b,c"), ["a", "b", "c"]),
    ],
)
def test_filter_given_more_than_once_is_of_the_list_of_its_values(
    name: str, values: tuple[str, ...], value: Any
) -> None:
    assert read(name, *values)[2] == value


@pytest.mark.parametrize(
    ("name", "values", "description"),
    [
        ("like_a", ("1",), "Invalid value for like_a"),
        ("like_a", ("a", "b"), "Invalid value for like_a"),
        ("id", ("1",), "1 is not a string: {'id': ''}"),
        ("id", ("a", "b"), "id is given twice"),
        ("like_id", ("1",), "Invalid value for like_id"),
        ("in_id", ("1,2",), "Invalid value for in_id"),
        ("exclude_id", ("1",), "Invalid value for exclude_id"),
        ("contains_id", ("a",), "Field 'id' is not an array"),
        ("contains_any_id", ("a",), "Field 'id' is not an array"),
        ("last_modified", ("",), "Invalid value for last_modified"),
        ("last_modified", ("null",), "Invalid value for last_modified"),
        ("last_modified", ("abc",), '"abc" is not a number'),
        ("last_modified", ("1", "2"), "last_modified is given twice"),
        ("gt_last_modified", ("-1",), "Invalid value for gt_last_modified"),
        ("min_last_modified", ("x",), "Invalid value for min_last_modified"),
        ("in_last_modified", ("a",), "Invalid value for in_last_modified"),
        ("in_last_modified", ("true",), "Invalid value for in_last_modified"),
        ("like_last_modified", ("1",), "Invalid value for like_last_modified"),
        ("has_last_modified", ("1",), "Invalid value for has_last_modified"),
        ("contains_last_modified", ("1",), "Invalid value for contains_last_modified"),
    ],
)
def test_value_that_the_field_cannot_have_is_refused_by_name(
    name: str, values: tuple[str, ...], description: str
) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_condition(name, values, None)
    [problem] = caught.value.problems
    assert (problem.location, problem.name) == ("querystring", name)
    assert problem.description == description


def test_unknown_field_of_a_fixed_schema_is_refused_and_a_nested_one_known_by_its_root() -> None:
    known = {"uri", "target"}
    assert parse_condition("target.data.x", ("1",), known).field == "target.data.x"
    with pytest.raises(InvalidParameters) as caught:
        parse_condition("in_foo", ("1",), known)
    assert caught.value.problems[0].description == "Unknown filter field 'in_foo'"
    assert is_known("anything", None)


@pytest.mark.parametrize("field", ["x" * 1025, "." * 201])
def test_field_too_long_to_look_up_is_refused(field: str) -> None:
    check_path("_sort", field[:-1])
    with pytest.raises(InvalidParameters):
        parse_condition(f"gt_{field}", ("1",), None)


@pytest.mark.parametrize(
    ("name", "text", "operator", "value"),
    [
        ("_since", "5", Operator.GT, 5),
        ("_since", '"5"', Operator.GT, 5),
        ("_since", " 05 ", Operator.GT, 5),
        ("_before", "1.5", Operator.LT, 1.5),
        ("_to", "5", Operator.LT, 5),
        ("_since", "null", Operator.GT, None),
        ("_before", "null", Operator.LT, None),
    ],
)
def test_since_and_its_like_are_conditions_on_last_modified(
    name: str, text: str, operator: Operator, value: Any
) -> None:
    condition = parse_date_condition(name, (text,))
    assert (condition.field, condition.operator) == ("last_modified", operator)
    assert condition.value == value
    assert condition.parameter == name


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("", "Invalid value for _since"),
        ('""', "Invalid value for _since"),
        ("9" * 41, "Invalid value for _since"),
        ("abc", '"abc" is not a number'),
        ('"', '""" is not a number'),
        ("true", '"true" is not a number'),
        ("5-1", '"5-1" is not a number'),
        ("١", '"١" is not a number'),
        ("-1", "-1 is less than minimum value 0"),
        (str(2**63), f"{2**63} is greater than maximum value {2**63 - 1}"),
    ],
)
def test_number_that_is_none_is_refused_in_the_protocols_words(text: str, description: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_number("_since", text)
    assert caught.value.problems[0].description == description
    assert caught.value.problems[0].name == "_since"


def test_date_given_twice_is_refused() -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_date_condition("_since", ("1", "2"))
    assert caught.value.message == "_since is given twice"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("1700000000000-4", make_position(1_700_000_000_000, 4)),
        ('"1700000000000-0"', make_position(1_700_000_000_000)),
        (" 5-1 ", make_position(5, 1)),
        ("1700000000000", None),
        ('"1700000000000"', None),
        ("-5", None),
        ('"-5"', None),
        ("null", None),
        ("", None),
    ],
)
def test_since_with_a_sequence_is_a_cursor(text: str, position: int | None) -> None:
    assert parse_since([text]) == position


@pytest.mark.parametrize(
    "text", ["5-", "5-x", "x-5", "5-1-1", "5--1", "1.5-2", '"5-1', "5-1048576"]
)
def test_since_that_looks_like_a_cursor_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_since([text])
    assert caught.value.problems[0].name == "_since"
