from collections.abc import Mapping
from typing import Any

import pytest

from server.core.json_text import MAX_DEPTH, HugeInteger, parse_json
from server.core.values import MISSING, find_value, longest_key, order_key

ASCENDING = [
    None,
    "",
    "A",
    "a",
    "é",
    "\uffff",
    "\U0001f600",
    HugeInteger("-" + "9" * 5000),
    -(2**64),
    -1.5,
    0,
    1,
    1.5,
    2**53,
    2**53 + 1,
    1e300,
    HugeInteger("1" + "0" * 5000),
    HugeInteger("1" + "0" * 4999 + "1"),
    False,
    True,
    [],
    [None],
    ["z"],
    [1],
    [1, 1],
    [1, 2],
    {},
    {"a": 1},
    {"a": 2},
    {"b": 0},
    {"a": 1, "b": 1},
    {"b": 2, "a": 1},
    MISSING,
]


@pytest.mark.parametrize("index", range(len(ASCENDING) - 1))
def test_every_value_sorts_before_all_that_follow_it(index: int) -> None:
    key = order_key(ASCENDING[index])
    assert all(key < order_key(later) for later in ASCENDING[index + 1 :])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (2**70, float(2**70)),
        (10**4100, HugeInteger("1" + "0" * 4100)),
        ([1, {"a": 2}], [1.0, {"a": 2.0}]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1], (1,)),
    ],
)
def test_equal_values_have_equal_keys_and_hashes(one: Any, other: Any) -> None:
    assert order_key(one) == order_key(other)
    assert hash(order_key(one)) == hash(order_key(other))


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), ("1", 1), ([1], [True])])
def test_values_of_different_types_are_never_equal(one: Any, other: Any) -> None:
    assert order_key(one) != order_key(other)


def test_deepest_values_that_are_stored_can_be_compared() -> None:
    deep = parse_json('[{"a":' * (MAX_DEPTH // 2) + "1" + "}]" * (MAX_DEPTH // 2))
    deeper = parse_json('[{"a":' * (MAX_DEPTH // 2) + "2" + "}]" * (MAX_DEPTH // 2))
    assert order_key(deep) < order_key(deeper)
    assert order_key(deep) == order_key(deep)


@pytest.mark.parametrize(
    ("data", "path", "expected"),
    [
        ({"a": 1}, "a", 1),
        ({"a": None}, "a", None),
        ({"a": 1}, "b", MISSING),
        ({"a": {"b": {"c": 1}}}, "a.b.c", 1),
        ({"a": {"b": 1}}, "a.c", MISSING),
        ({"a": {"b": 1}}, "a.b.c", MISSING),
        ({"a": [{"b": 1}]}, "a.b", MISSING),
        ({"a": [5]}, "a.0", MISSING),
        ({"a": "text"}, "a.b", MISSING),
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
        ({"a.b": {"c": 1}, "a": {"b.c": 2}}, "a.b.c", 1),
        ({"a": {"b.c": 2}}, "a.b.c", 2),
        ({"": 1}, "", 1),
        ({"": {"a": 1}}, ".a", 1),
        ({"a": {"": 1}}, "a.", 1),
        ({"$where": 1}, "$where", 1),
        ({"x": 1}, "a.b", MISSING),
    ],
)
def test_path_finds_what_the_longest_literal_keys_lead_to(
    data: Mapping[str, Any], path: str, expected: Any
) -> None:
    assert find_value(data, path) == expected


def test_longest_key_that_begins_a_path_wins_even_where_it_leads_nowhere() -> None:
    data = {"a.b": {"x": 1}, "a": {"b": {"c": 2}}}
    assert find_value(data, "a.b.c") is MISSING
    assert longest_key(data, "a.b.c") == "a.b"
    assert longest_key(data, "c.a") is None
