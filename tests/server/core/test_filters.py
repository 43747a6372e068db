from typing import Any

import pytest

from server.core.filters import Condition, Operator, matches
from server.core.json_text import HugeInteger

ABSENT: Any = object()
ARRAY_OPERATORS = {Operator.IN, Operator.EXCLUDE, Operator.CONTAINS, Operator.CONTAINS_ANY}


def holds(operator: str, value: Any, found: Any) -> bool:
    data = {"id": "r", "last_modified": 1}
    if found is not ABSENT:
        data["v"] = found
    return matches([Condition("v", Operator(operator), value)], data)


@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        ("eq", "a", "a"),
        ("eq", 1, 1.0),
        ("eq", None, None),
        ("eq", [1, 2], [1, 2]),
        ("eq", {"$gt": 1}, {"$gt": 1}),
        ("eq", HugeInteger("9" * 5000), HugeInteger("9" * 5000)),
        ("not", "a", "b"),
        ("not", "a", None),
        ("not", 1, True),
        ("not", "a", ["a"]),
        ("lt", 2, 1),
        ("lt", 2, "9"),
        ("lt", 2, None),
        ("lt", "b", "a"),
        ("gt", 1, 2),
        ("gt", 1, True),
        ("gt", 1, []),
        ("gt", 2**70, 2**70 + 1),
        ("min", 1, 1),
        ("min", None, 0),
        ("max", 1, 1),
        ("max", True, 10**30),
        ("max", [1], [0]),
        ("in", ["a", 1], "a"),
        ("in", ["a", 1], 1.0),
        ("in", [[1], {"x": 1}], [1]),
        ("in", [[1], {"x": 1}], {"x": 1}),
        ("exclude", ["a", 1], "b"),
        ("exclude", ["a", 1], True),
        ("exclude", [], None),
        ("like", "BC", "abcd"),
        ("like", "", "anything"),
        ("like", "a*", "Abc"),
        ("like", "*c", "abc"),
        ("like", "a*c", "ac"),
        ("like", "a*b*c", "a1b2b3c"),
        ("like", "**", ""),
        ("like", "straße", "STRASSE"),
        ("like", "a.c", "xa.cx"),
        ("has", True, None),
        ("has", True, 0),
        ("contains", [1, "a"], ["a", 2, 1.0]),
        ("contains", [1, 1], [1]),
        ("contains", [], []),
        ("contains", [[1], {"x": 1}], [{"x": 1}, [1]]),
        ("contains_any", [1, "a"], ["b", "a"]),
        ("contains_any", [1, None], [None]),
    ],
)
def test_condition_that_holds_matches(operator: str, value: Any, found: Any) -> None:
    assert holds(operator, value, found)


@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        ("eq", "a", "A"),
        ("eq", 1, True),
        ("eq", True, 1),
        ("eq", "1", 1),
        ("eq", {"$gt": 1}, 2),
        ("eq", [1, 2], [2, 1]),
        ("eq", 1, [1]),
        ("eq", 2**53, 2**53 + 1),
        ("not", "a", "a"),
        ("not", 1, 1.0),
        ("lt", 1, 1),
        ("lt", 1, False),
        ("lt", "a", 0),
        ("gt", 1, 1),
        ("gt", 1, "z"),
        ("min", 1, 0),
        ("max", 1, 2),
        ("max", "z", 1),
        ("in", ["a", 1], "1"),
        ("in", ["a", 1], True),
        ("in", ["a"], 1),
        ("in", [1], 2),
        ("in", [], None),
        ("exclude", ["a", 1], 1),
        ("like", "b", "a"),
        ("like", "b", None),
        ("like", "1", 1),
        ("like", "*", None),
        ("like", "ab*", "xab"),
        ("like", "*ab", "abx"),
        ("like", "aba*aba", "aba"),
        ("like", "a*x*c", "abc"),
        ("like", "a.c", "abc"),
        ("has", False, None),
        ("contains", [1, 2], [1]),
        ("contains", [1], 1),
        ("contains", [], {}),
        ("contains_any", [], [1]),
        ("contains_any", [1], [True]),
        ("contains_any", ["a"], "a"),
    ],
)
def test_condition_that_fails_does_not_match(operator: str, value: Any, found: Any) -> None:
    assert not holds(operator, value, found)


@pytest.mark.parametrize("operator", list(Operator))
def test_missing_field_matches_only_not_exclude_gt_and_min(operator: Operator) -> None:
    value: Any = [1] if operator in ARRAY_OPERATORS else "a" if operator == "like" else 1
    assert holds(operator, value, ABSENT) is (operator in {"not", "exclude", "gt", "min"})


@pytest.mark.parametrize("value", [None, "a", {"a": 1}, False])
def test_missing_field_is_greater_than_every_value_and_equal_to_none(value: Any) -> None:
    assert holds("gt", value, ABSENT)
    assert holds("not", value, ABSENT)
    assert not holds("max", value, ABSENT)
    assert not holds("eq", value, ABSENT)


def test_missing_field_is_what_has_false_asks_for() -> None:
    assert holds("has", False, ABSENT)


def test_all_conditions_have_to_hold_and_none_at_all_matches_everything() -> None:
    data = {"a": {"b": 1}, "c": "x"}
    one, other = Condition("a.b", Operator.EQ, 1), Condition("c", Operator.EQ, "y")
    assert matches([], data)
    assert matches([one], data)
    assert not matches([one, other], data)


def test_wildcards_that_would_make_an_expression_backtrack_are_decided_at_once() -> None:
    text = "a" * 100_000
    assert not holds("like", "*a" * 500 + "b", text)
    assert holds("like", "*a" * 500, text)


def test_large_array_of_numbers_with_one_hash_is_searched_all_the_same() -> None:
    modulus = 2**61 - 1
    colliding = [i * modulus for i in range(20_000)]
    assert holds("contains", colliding[:3000], colliding)
    assert not holds("contains_any", [1, *colliding[:3000]], [x + 2 for x in colliding])


def test_conditions_are_equal_and_hash_by_what_they_mean() -> None:
    one = Condition("a", Operator.EQ, [1], "a")
    same = Condition("a", Operator.EQ, [1.0], "eq_a")
    assert one == same
    assert hash(one) == hash(same)
    assert Condition("a", Operator.EQ, 1) != Condition("a", Operator.EQ, True)
    assert Condition("a", Operator.EQ, 1) != Condition("a", Operator.NOT, 1)
