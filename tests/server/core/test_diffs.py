import time
from typing import Any

import jsonpatch
import pytest
from hypothesis import given

from server.core.diffs import FINE_MAX_BYTES, diff_values
from server.core.json_patch import is_equal
from server.core.json_text import HugeInteger, dump_json
from tests.server.core.jsons import objects

LARGE = FINE_MAX_BYTES + 1


def apply(operations: list[dict[str, Any]], old: Any) -> Any:
    return jsonpatch.apply_patch(old, operations)


@given(objects(), objects())
def test_patch_makes_the_new_value_of_the_old_one(old: Any, new: Any) -> None:
    for size in (0, LARGE):
        assert is_equal(apply(diff_values(old, new, size), old), new)


@given(objects())
def test_equal_values_differ_by_nothing(value: Any) -> None:
    assert diff_values(value, value, 0) == diff_values(value, value, LARGE) == []


def test_small_change_is_a_small_patch() -> None:
    old, new = {"a": {"b": [1, 2, 3]}, "c": 1}, {"a": {"b": [1, 3]}, "c": 1}
    assert diff_values(old, new, 0) == [{"op": "remove", "path": "/a/b/1"}]
    assert diff_values(old, new, LARGE) == [{"op": "remove", "path": "/a/b/1"}]


@pytest.mark.parametrize("size", [0, LARGE])
def test_true_is_not_one_and_a_huge_integer_is_a_value(size: int) -> None:
    assert diff_values({"a": 1}, {"a": True}, size) == [
        {"op": "replace", "path": "/a", "value": True}
    ]
    huge, other = HugeInteger("9" * 5000), HugeInteger("8" * 5000)
    assert diff_values({"a": huge}, {"a": huge}, size) == []
    assert diff_values({"a": huge}, {"a": other}, size)[0]["value"] == other


def test_arrays_that_the_library_tells_slowly_are_told_soon() -> None:
    old = {"a": [[number] for number in range(100_000)], "b": []}
    new = {"a": [], "b": [[-number] for number in range(1, 100_000)]}
    size = len(dump_json(old)) + len(dump_json(new))
    began = time.process_time()
    operations = diff_values(old, new, size)
    assert time.process_time() - began < 5
    assert len(operations) == 199_999


def test_nested_values_are_looked_at_once() -> None:
    old: Any = {"end": 1}
    new: Any = {"end": 2}
    for _ in range(190):
        row = list(range(500))
        old, new = {"row": row, "deep": old}, {"row": list(row), "deep": new}
    began = time.process_time()
    assert diff_values(old, new, LARGE) == [
        {"op": "replace", "path": "/deep" * 190 + "/end", "value": 2}
    ]
    assert time.process_time() - began < 3
