import time
from typing import Any

import pytest
from hypothesis import given

from server.core.json_patch import is_equal
from server.core.merges import Held, merge_change, merge_permissions, merge_values
from server.core.patches import Patched
from server.core.values import MISSING
from tests.server.core.jsons import objects


@given(objects(), objects())
def test_change_of_one_side_alone_is_taken_whole(base: Any, mine: Any) -> None:
    for merge in (merge_values(base, mine, base), merge_values(base, base, mine)):
        assert merge.conflicts == ()
        assert is_equal(merge.value, mine)


@given(objects(), objects())
def test_change_that_both_made_is_no_conflict(base: Any, mine: Any) -> None:
    merge = merge_values(base, mine, mine)
    assert merge.conflicts == ()
    assert is_equal(merge.value, mine)


@given(objects(), objects(), objects())
def test_conflicts_are_the_same_from_either_side_and_so_is_what_has_none(
    base: Any, mine: Any, theirs: Any
) -> None:
    one, other = merge_values(base, mine, theirs), merge_values(base, theirs, mine)
    assert one.conflicts == other.conflicts
    if not one.conflicts:
        assert is_equal(one.value, other.value)


@given(objects(), objects(), objects())
def test_edits_of_different_members_commute(base: Any, mine: Any, theirs: Any) -> None:
    base = {"left": base, "right": base}
    merge = merge_values(base, {**base, "left": mine}, {**base, "right": theirs})
    assert merge.conflicts == ()
    assert is_equal(merge.value, {"left": mine, "right": theirs})


@given(objects(), objects(), objects())
def test_nothing_that_is_passed_is_changed(base: Any, mine: Any, theirs: Any) -> None:
    before = repr((base, mine, theirs))
    merge_values(base, mine, theirs)
    assert repr((base, mine, theirs)) == before


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "value", "conflicts"),
    [
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 1}}, {"a": {"b": 1, "c": 3}},
         {"a": {"b": 2, "c": 3}}, ()),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": 3}}, {"a": {"b": 3}}, ("/a/b",)),
        ({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}, ()),
        ({"a": 1}, {}, {"a": 2}, {"a": 2}, ("/a",)),
        ({"a": 1}, {"a": 2}, {}, {}, ("/a",)),
        ({}, {"a": 1}, {"a": 2}, {"a": 2}, ("/a",)),
        ({}, {"a": {"x": 1}}, {"a": {"y": 1}}, {"a": {"y": 1}}, ("/a",)),
        ({}, {"a": {"x": 1}}, {"a": {"x": 1}}, {"a": {"x": 1}}, ()),
        ({"a": [1, 2]}, {"a": [1, 2, 3]}, {"a": [0, 1, 2]}, {"a": [0, 1, 2]}, ("/a",)),
        ({"a": {"b": 1}}, {"a": 5}, {"a": {"b": 2}}, {"a": {"b": 2}}, ("/a",)),
        ({"a": 0}, {"a": 1}, {"a": True}, {"a": True}, ("/a",)),
        ({"a/b": 0, "m~n": 0, "": 0}, {"a/b": 1, "m~n": 1, "": 1}, {"a/b": 2, "m~n": 2, "": 2},
         {"a/b": 2, "m~n": 2, "": 2}, ("/", "/a~1b", "/m~0n")),
    ],
)  # fmt: skip
def test_both_changes_are_in_the_value_or_the_conflict_is_named(
    base: Any, mine: Any, theirs: Any, value: Any, conflicts: tuple[str, ...]
) -> None:
    merge = merge_values(base, mine, theirs)
    assert is_equal(merge.value, value)
    assert merge.conflicts == conflicts


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "value", "conflicts"),
    [
        ({"read": ["a"]}, None, {"read": ["b"]}, {"read": ["b"]}, ()),
        ({"read": ["a"]}, {"read": ("a",), "write": ("c",)}, {"read": ["b"]},
         {"read": ("b",), "write": ("c",)}, ()),
        ({"read": ["a", "b"]}, {"read": ("b", "a")}, {"read": ["a"]}, {"read": ("a",)}, ()),
        ({"read": ["a"]}, {"read": ("b", "c")}, {"read": ["c", "b"]}, {"read": ("c", "b")}, ()),
        ({"read": ["a"]}, {"read": ("b",)}, {"read": ["c"]}, {"read": ("c",)},
         ("/permissions/read",)),
        ({"read": ["a"]}, {}, {"read": ["c"]}, {"read": ("c",)}, ("/permissions/read",)),
        ({"read": ["a"]}, {}, {"read": ["a"]}, {}, ()),
        ({}, {"record:create": ("a",)}, {"write": ["b"]},
         {"write": ("b",), "record:create": ("a",)}, ()),
    ],
)  # fmt: skip
def test_principals_of_a_permission_are_one_value_in_any_order(
    base: Any, mine: Any, theirs: Any, value: Any, conflicts: tuple[str, ...]
) -> None:
    merge = merge_permissions(base, mine, theirs)
    assert (merge.value, merge.conflicts) == (value, conflicts)


def test_what_the_server_assigns_is_the_present_one_unless_the_patch_changed_it() -> None:
    base = Held({"id": "r", "last_modified": 1, "a": 1}, {})
    theirs = Held({"id": "r", "last_modified": 5, "a": 2}, {"write": ["x"]})
    untouched = Patched({"id": "r", "last_modified": 1, "a": 1, "b": 1}, None, {"b": 1})
    merged, conflicts = merge_change(base, untouched, theirs)
    assert merged.data == {"id": "r", "last_modified": 5, "a": 2, "b": 1}
    assert (merged.permissions, merged.sent, conflicts) == (None, {"b": 1}, ())
    dated = Patched({"last_modified": 9, "a": 1}, {"read": ("y",)}, {})
    merged, conflicts = merge_change(base, dated, theirs)
    assert (merged.data.get("id", MISSING), merged.data["last_modified"]) == (MISSING, 9)
    assert merged.permissions == {"write": ("x",), "read": ("y",)}
    assert conflicts == ()


def test_conflicts_of_data_and_of_permissions_are_told_together() -> None:
    base = Held({"a": 1}, {"read": ["x"]})
    mine = Patched({"a": 2}, {"read": ("y",)}, {})
    theirs = Held({"a": 3}, {"read": ["z"]})
    assert merge_change(base, mine, theirs)[1] == ("/a", "/permissions/read")


def test_nested_objects_are_looked_at_once() -> None:
    base: Any = {"end": 1}
    mine: Any = {"end": 2}
    theirs: Any = {"end": 1, "more": 1}
    for _ in range(190):
        row = {str(number): number for number in range(300)}
        base, mine, theirs = ({"row": dict(row), "deep": one} for one in (base, mine, theirs))
    began = time.process_time()
    merge = merge_values(base, mine, theirs)
    assert time.process_time() - began < 3
    assert merge.conflicts == ()
