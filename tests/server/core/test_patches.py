import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.core.errors import InvalidParameters
from server.core.json_text import MAX_DEPTH, parse_json
from server.core.patches import (
    MERGE,
    OPERATIONS,
    PATCH_TYPES,
    SHALLOW,
    Behavior,
    Patch,
    Patched,
    apply_patch,
    gives_data,
    merge,
    parse_behavior,
    parse_patch,
    shape_answer,
)

NAMES = ("write", "read", "record:create")
DATA = {"id": "r", "last_modified": 5, "a": 1, "n": None, "o": {"x": 1, "y": 2}, "l": [1, 2]}
ACL = {"read": ("bob",), "write": ("al",), "record:create": ("zed",)}


def patch(content_type: str, body: Any, acl: dict[str, Sequence[str]] | None = None) -> Patched:
    """What the body makes of DATA and an ACL; holds that neither is changed."""
    permissions: dict[str, Sequence[str]] = {**ACL} if acl is None else acl
    parsed = parse_patch(content_type, body, NAMES)
    data, before = copy.deepcopy(DATA), copy.deepcopy((body, permissions))
    first = apply_patch(parsed, data, permissions)
    assert apply_patch(parsed, data, permissions) == first
    assert (data, body, permissions) == (DATA, *before)
    return first


def refused(content_type: str, body: Any) -> tuple[str, str]:
    """Where the body is wrong and what is said of it."""
    with pytest.raises(InvalidParameters) as caught:
        patch(content_type, body)
    (problem,) = caught.value.problems
    assert problem.location == "body"
    return problem.name, problem.description


def op(name: str, path: str, *value: Any) -> dict[str, Any]:
    return {"op": name, "path": path} | ({"value": value[0]} if value else {})


@pytest.mark.parametrize("content_type", [SHALLOW, MERGE])
def test_a_patch_of_neither_data_nor_permissions_is_refused(content_type: str) -> None:
    assert refused(content_type, {}) == ("data", "Provide at least one of data or permissions")


@pytest.mark.parametrize("content_type", [SHALLOW, MERGE])
@pytest.mark.parametrize(
    ("body", "name"),
    [
        ([], ""),
        ({"x": 1}, ""),
        ({"data": None}, "data"),
        ({"permissions": None}, "permissions"),
        ({"permissions": {"foo": None}}, "permissions"),
        ({"permissions": {"read": [1]}}, "permissions.read.0"),
    ],
)
def test_a_malformed_envelope_is_refused(content_type: str, body: Any, name: str) -> None:
    assert refused(content_type, body)[0] == name


@pytest.mark.parametrize("content_type", [SHALLOW, MERGE])
@pytest.mark.parametrize("body", [{"data": {}}, {"permissions": {}}])
def test_a_patch_that_changes_nothing_is_fine(content_type: str, body: Any) -> None:
    patched = patch(content_type, body)
    assert patched.data == DATA
    assert patched.permissions == (ACL if "permissions" in body else None)


def test_a_shallow_patch_replaces_members_and_stores_null() -> None:
    patched = patch(SHALLOW, {"data": {"a": None, "o": {"z": None}, "new": 1}})
    assert patched.data == {**DATA, "a": None, "o": {"z": None}, "new": 1}
    assert patched.permissions is None


def test_a_merge_patch_merges_objects_and_removes_by_null() -> None:
    body = {"data": {"a": None, "o": {"x": None, "z": 3}, "l": [None, {"b": None}], "zz": None}}
    expected = {**DATA, "o": {"y": 2, "z": 3}, "l": [None, {"b": None}]}
    del expected["a"]
    assert patch(MERGE, body).data == expected


@pytest.mark.parametrize(
    ("target", "change", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_rfc_7396_hold(target: Any, change: Any, result: Any) -> None:
    assert merge(target, change) == result


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON_VALUES, JSON_VALUES)
@settings(max_examples=100, deadline=None)
def test_merging_twice_is_merging_once_and_changes_no_argument(target: Any, change: Any) -> None:
    before = copy.deepcopy((target, change))
    once = merge(target, change)
    assert merge(once, change) == once
    assert (target, change) == before


def test_the_deepest_patch_is_merged() -> None:
    deepest = parse_json('{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH)
    assert merge({}, deepest) == deepest
    assert merge(deepest, deepest) == deepest


@pytest.mark.parametrize(
    ("content_type", "permissions", "changes"),
    [
        (SHALLOW, {"read": ["q", "p", "q"]}, {"read": ("q", "p")}),
        (SHALLOW, {"read": []}, {"read": ()}),
        (SHALLOW, {"read": None}, {}),
        (MERGE, {"read": ["q"]}, {"read": ("q",)}),
        (MERGE, {"read": []}, {"read": ()}),
        (MERGE, {"read": None}, {"read": ()}),
    ],
)
def test_only_the_listed_permissions_are_replaced(
    content_type: str, permissions: Any, changes: dict[str, tuple[str, ...]]
) -> None:
    patched = patch(content_type, {"permissions": permissions})
    expected = {**ACL, **changes}
    assert patched.permissions == {name: value for name, value in expected.items() if value}
    assert patched.data == DATA


def test_an_empty_list_of_operations_changes_nothing() -> None:
    assert patch(OPERATIONS, []) == Patched(DATA, None, DATA)


def test_operations_change_data_and_permissions_in_one() -> None:
    patched = patch(
        OPERATIONS,
        [op("test", "/data/a", 1), op("add", "/data/b", 2), op("add", "/permissions/read/al")],
    )
    assert patched.data == {**DATA, "b": 2}
    assert patched.permissions == {**ACL, "read": ("bob", "al")}


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        ([op("add", "/permissions/read/x", 5)], {"read": ("bob", "x")}),
        ([op("add", "/permissions/read/bob")], {}),
        ([op("add", "/permissions/read/~1buckets~1b")], {"read": ("bob", "/buckets/b")}),
        ([op("replace", "/permissions/read/bob", {})], {}),
        ([op("remove", "/permissions/read/bob")], {"read": ()}),
        ([op("remove", "/permissions/read")], {"read": ()}),
        ([op("add", "/permissions/read", ["q", "q"])], {"read": ("q",)}),
        ([op("add", "/permissions/read", {"q": {}})], {"read": ("q",)}),
        ([op("add", "/permissions/record:create/x", {})], {"record:create": ("zed", "x")}),
        (
            [
                {
                    "op": "move",
                    "from": "/permissions/read/bob",
                    "path": "/permissions/write/bob",
                }
            ],
            {"read": (), "write": ("al", "bob")},
        ),
        ([op("remove", "/permissions")], {"read": (), "write": (), "record:create": ()}),
        (
            [op("replace", "/permissions", {"read": ["k"]})],
            {"read": ("k",), "write": (), "record:create": ()},
        ),
        (
            [op("add", "/permissions/read/x"), op("test", "/permissions/read/x", {})],
            {"read": ("bob", "x")},
        ),
        ([op("test", "/permissions/read/bob"), op("add", "/permissions/write/al")], {}),
    ],
)
def test_operations_name_principals_as_members(
    rows: list[Any], changes: dict[str, tuple[str, ...]]
) -> None:
    expected = {**ACL, **changes}
    assert patch(OPERATIONS, rows).permissions == {k: v for k, v in expected.items() if v}


def test_a_principal_can_be_added_to_read_and_write_where_nobody_has_them() -> None:
    rows = [op("add", "/permissions/read/x"), op("add", "/permissions/write/y")]
    assert patch(OPERATIONS, rows, {}).permissions == {"read": ("x",), "write": ("y",)}


def test_a_move_out_of_the_permissions_changes_them() -> None:
    row = {"op": "move", "from": "/permissions/read", "path": "/data/p"}
    patched = patch(OPERATIONS, [row])
    assert patched.data["p"] == {"bob": "bob"}
    assert patched.permissions == {"write": ("al",), "record:create": ("zed",)}


@pytest.mark.parametrize(
    "row",
    [
        op("test", "/permissions/read/bob"),
        {"op": "copy", "from": "/permissions/read", "path": "/data/p"},
    ],
)
def test_permissions_that_are_only_read_count_as_not_mentioned(row: Any) -> None:
    assert patch(OPERATIONS, [row]).permissions is None


@pytest.mark.parametrize(
    ("row", "name", "description"),
    [
        (op("remove", "/data"), "data", "Required"),
        (
            op("replace", "/data", []),
            "data",
            '"[]" is not a mapping type: Does not implement dict-like functionality.',
        ),
        (op("add", "/foo", 1), "", "Unrecognized keys in mapping: \"{'foo': 1}\""),
        (
            op("add", "/permissions", None),
            "permissions",
            '"None" is not a mapping type: Does not implement dict-like functionality.',
        ),
        (
            op("add", "/permissions/foo", ["x"]),
            "permissions",
            '"foo" is not one of read, write, record:create',
        ),
        (op("add", "/permissions/read", "x"), "permissions.read", '"x" is not iterable'),
        (op("add", "/permissions/read", 5), "permissions.read", '"5" is not iterable'),
        (op("add", "/permissions/read", [5]), "permissions.read.0", "5 is not a string"),
        (op("add", "/permissions/read/"), "permissions.read.1", "Required"),
        (
            op("remove", "/permissions/read/al"),
            "",
            "JSON Patch operation failed: can't remove a non-existent object 'al'",
        ),
        (
            op("test", "/permissions/record:create/zed", {}),
            "",
            "JSON Patch operation failed: zed is not equal to tested value {}",
        ),
    ],
)
def test_operations_that_leave_no_object_or_no_permissions_are_refused(
    row: Any, name: str, description: str
) -> None:
    assert refused(OPERATIONS, [row]) == (name, description)


def test_a_principal_cannot_be_added_to_an_absent_permission_of_another_name() -> None:
    with pytest.raises(InvalidParameters, match="member 'record:create' not found"):
        patch(OPERATIONS, [op("add", "/permissions/record:create/x", {})], {})


@pytest.mark.parametrize(
    ("content_type", "body", "object_id"),
    [
        (SHALLOW, {"data": {"id": None}}, None),
        (MERGE, {"data": {"id": None}}, "absent"),
        (MERGE, {"data": {"id": 7}}, 7),
        (OPERATIONS, [op("remove", "/data/id")], "absent"),
        (OPERATIONS, [op("replace", "/data/id", "zz")], "zz"),
        (OPERATIONS, [op("replace", "/data", {"b": 1})], "absent"),
    ],
)
def test_a_changed_id_is_left_to_the_caller(content_type: str, body: Any, object_id: Any) -> None:
    assert patch(content_type, body).data.get("id", "absent") == object_id


@pytest.mark.parametrize(
    ("header", "behavior"),
    [
        (None, Behavior.FULL),
        ("", Behavior.FULL),
        ("full", Behavior.FULL),
        ("light", Behavior.LIGHT),
        ("diff", Behavior.DIFF),
    ],
)
def test_the_behavior_is_read(header: str | None, behavior: Behavior) -> None:
    assert parse_behavior(header) is behavior


@pytest.mark.parametrize("header", ["foo", "LIGHT", "light, diff"])
def test_an_unknown_behavior_is_refused(header: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_behavior(header)
    expected = f'Response-Behavior in header: "{header}" is not one of full, light, diff'
    assert caught.value.message == expected


@pytest.mark.parametrize(
    ("content_type", "body", "light", "diff"),
    [
        (SHALLOW, {"data": {"a": 2, "n": None}}, ["a"], []),
        (SHALLOW, {"data": {"a": True, "l": [1.0, 2]}}, ["a"], []),
        (
            SHALLOW,
            {"data": {"s": "new", "last_modified": 3}},
            ["s", "last_modified"],
            ["last_modified"],
        ),
        (SHALLOW, {"permissions": {}}, [], []),
        (MERGE, {"data": {"o": {"x": 9}, "b": 1}}, ["o", "b"], ["o"]),
        (MERGE, {"data": {"a": None, "n": 1}}, ["n"], []),
        (OPERATIONS, [op("add", "/data/b", 1)], ["last_modified", "b"], ["last_modified"]),
        (OPERATIONS, [op("remove", "/data/a")], ["last_modified"], ["last_modified"]),
    ],
)
def test_the_answer_shows_what_its_behavior_asks(
    content_type: str, body: Any, light: list[str], diff: list[str]
) -> None:
    patched = patch(content_type, body)
    after = {**patched.data, "last_modified": 6}
    shown = {b: shape_answer(b, patched.sent, DATA, after) for b in Behavior}
    assert shown[Behavior.FULL] == after
    assert shown[Behavior.LIGHT] == {name: after[name] for name in light}
    assert shown[Behavior.DIFF] == {name: after[name] for name in diff}


def test_there_are_three_types_of_patch() -> None:
    assert PATCH_TYPES == (
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
    )


def test_what_came_of_a_patch_is_itself_one_that_makes_the_same_of_anything() -> None:
    made = Patched({"id": "r", "a": 2}, {"read": ("x",)}, {"a": 2})
    assert apply_patch(made, dict(DATA), ACL) is made


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (parse_patch(SHALLOW, {"data": {}}, NAMES), True),
        (parse_patch(MERGE, {"permissions": {}}, NAMES), False),
        (parse_patch(OPERATIONS, [], NAMES), True),
        (Patched({"a": 1}, None, {"a": 1}), True),
        (Patched({"a": 1}, {}, {}), False),
    ],
)
def test_patch_of_permissions_alone_gives_no_data(made: Patch, expected: bool) -> None:
    assert gives_data(made) is expected
