from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.json_text import HugeInteger, dump_json, parse_json
from server.core.sorting import (
    DEFAULT_ORDER,
    Order,
    SortKey,
    full_order,
    is_after,
    keys_of,
    sort_key,
    sort_key_at,
)

NEWEST_FIRST = SortKey("last_modified", descending=True)


def ordered(order: Order, objects: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in sorted(objects, key=lambda one: sort_key(order, one))]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ((), DEFAULT_ORDER),
        ((SortKey("a"),), (SortKey("a"), NEWEST_FIRST, SortKey("id"))),
        ((SortKey("last_modified"),), (SortKey("last_modified"), SortKey("id"))),
        ((SortKey("id", descending=True),), (SortKey("id", descending=True), NEWEST_FIRST)),
    ],
)
def test_implicit_keys_follow_unless_they_are_named(sort: Order, expected: Order) -> None:
    assert full_order(sort) == expected


def test_resource_with_another_unique_field_is_ordered_by_it_last() -> None:
    assert full_order((), unique="uri") == (NEWEST_FIRST, SortKey("uri"))


def test_default_order_is_newest_first_then_by_id() -> None:
    objects = [{"id": i, "last_modified": t} for i, t in (("b", 1), ("a", 1), ("c", 2))]
    assert ordered(DEFAULT_ORDER, objects) == ["c", "a", "b"]


def test_values_of_all_types_sort_both_ways_with_the_missing_at_the_end_of_the_greater() -> None:
    values: list[Any] = [None, "a", "b", 1, 2.5, 10**5, False, True, [], [1], {}, {"a": 1}]
    values.insert(6, HugeInteger("9" * 5000))
    objects = [{"id": f"{i:02}", "v": value} for i, value in enumerate(values)]
    objects.append({"id": "99"})
    ascending = [one["id"] for one in objects]
    assert ordered((SortKey("v"),), objects[::-1]) == ascending
    assert ordered((SortKey("v", descending=True),), objects) == ascending[::-1]


def test_huge_integers_that_differ_in_the_last_digit_sort_descending_exactly() -> None:
    digits = "9" * 5000
    objects = [{"id": last, "v": HugeInteger(digits + last)} for last in "021"]
    assert ordered((SortKey("v", descending=True),), objects) == ["2", "1", "0"]


def test_nested_fields_and_several_keys_sort_one_after_the_other() -> None:
    order = (SortKey("n.x", descending=True), SortKey("s"))
    objects = [
        {"id": "1", "n": {"x": "a"}, "s": 1},
        {"id": "2", "n": {"x": "b"}, "s": 2},
        {"id": "3", "n": {"x": "b"}, "s": 1},
    ]
    assert ordered(order, objects) == ["3", "2", "1"]


def test_raw_keys_tell_null_and_missing_apart() -> None:
    order = (SortKey("a"), SortKey("b"), SortKey("c.d"))
    keys = keys_of(order, {"a": None, "c": {"d": [1]}})
    assert keys == [[None], [], [[1]]]
    assert sort_key_at(order, keys) == sort_key(order, {"a": None, "c": {"d": [1]}})


def test_reversed_keys_are_equal_only_to_their_like() -> None:
    order = (SortKey("a", descending=True),)
    assert sort_key(order, {"a": "x"}) == sort_key(order, {"a": "x"})
    assert sort_key(order, {"a": "x"}) != sort_key(order, {"a": "y"})
    assert sort_key(order, {"a": "x"})[0][1] != "x"
    with pytest.raises(TypeError):
        hash(sort_key(order, {"a": "x"}))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
documents = st.lists(st.dictionaries(st.sampled_from("ab"), json_values, max_size=2), max_size=8)
orders = st.lists(st.builds(SortKey, st.sampled_from("ab"), st.booleans()), max_size=2)


@given(documents, orders)
def test_walking_page_by_page_through_written_keys_finds_each_object_once(
    values: list[dict[str, Any]], sort: list[SortKey]
) -> None:
    objects: list[dict[str, Any]] = [
        {"id": str(i), "last_modified": 1, **value} for i, value in enumerate(values)
    ]
    order = full_order(sort)
    expected = ordered(order, objects)
    walked: list[str] = []
    rest = objects
    while rest:
        first = min(rest, key=lambda one: sort_key(order, one))
        walked.append(first["id"])
        last = parse_json(dump_json(keys_of(order, first)))
        rest = [one for one in objects if is_after(order, one, last)]
    assert walked == expected
