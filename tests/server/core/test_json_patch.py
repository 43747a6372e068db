import copy
import json
from typing import Any

import pytest

from server.core.errors import InvalidParameters, TooLarge
from server.core.json_patch import (
    MAX_OPERATIONS,
    MAX_WORK,
    Operation,
    apply_operations,
    is_equal,
    parse_operations,
)
from server.core.json_text import MAX_DEPTH, HugeInteger, parse_json


def apply(document: Any, *rows: Any) -> Any:
    """The document after the rows; holds that neither is changed."""
    document_before, rows_before = copy.deepcopy(document), copy.deepcopy(rows)
    try:
        return apply_operations(parse_operations(list(rows)), document)
    finally:
        assert (document, rows) == (document_before, rows_before)


def refused(document: Any, *rows: Any) -> str:
    """What is said of a patch that cannot be applied."""
    with pytest.raises(InvalidParameters) as caught:
        apply(document, *rows)
    (problem,) = caught.value.problems
    assert (problem.location, problem.name) == ("body", "")
    assert problem.description.startswith("JSON Patch operation failed: ")
    return problem.description.removeprefix("JSON Patch operation failed: ")


def op(name: str, path: str, *value: Any) -> dict[str, Any]:
    return {"op": name, "path": path} | ({"value": value[0]} if value else {})


def take(name: str, source: str, path: str) -> dict[str, Any]:
    return {"op": name, "from": source, "path": path}


DOCUMENT: dict[str, Any] = {
    "a": 1,
    "n": None,
    "o": {"x": 1, "y": {"z": 2}},
    "l": [1, [2], 3],
    "s": "t",
}


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        ([], {}),
        ([op("add", "/b", {"c": 1})], {"b": {"c": 1}}),
        ([op("add", "/a", None)], {"a": None}),
        ([op("add", "/o/", 9)], {"o": {"x": 1, "y": {"z": 2}, "": 9}}),
        ([op("add", "/o/~0~1", 9)], {"o": {"x": 1, "y": {"z": 2}, "~/": 9}}),
        ([op("add", "/o/~01", 9)], {"o": {"x": 1, "y": {"z": 2}, "~1": 9}}),
        ([op("add", "/o/-", 9)], {"o": {"x": 1, "y": {"z": 2}, "-": 9}}),
        ([op("add", "/l/-", 4)], {"l": [1, [2], 3, 4]}),
        ([op("add", "/l/3", 4)], {"l": [1, [2], 3, 4]}),
        ([op("add", "/l/0", 0)], {"l": [0, 1, [2], 3]}),
        ([op("add", "/l/1/0", 0)], {"l": [1, [0, 2], 3]}),
        ([op("remove", "/l/1/0")], {"l": [1, [], 3]}),
        ([op("remove", "/l/2")], {"l": [1, [2]]}),
        ([op("remove", "/o/y/z")], {"o": {"x": 1, "y": {}}}),
        ([op("replace", "/n", 5)], {"n": 5}),
        ([op("replace", "/l/2", 5)], {"l": [1, [2], 5]}),
        ([take("copy", "/o", "/o/o")], {"o": {**DOCUMENT["o"], "o": DOCUMENT["o"]}}),
        ([take("copy", "/l/1", "/l/-")], {"l": [1, [2], 3, [2]]}),
        ([take("move", "/l/2", "/l/0")], {"l": [3, 1, [2]]}),
        ([take("move", "/o/y", "/o")], {"o": {"z": 2}}),
        ([take("move", "/o", "/o")], {}),
        ([op("test", "/l/1", [2.0]), op("add", "/a", 2)], {"a": 2}),
        ([op("test", "/o/y", {"z": 2}), op("test", "/n", None)], {}),
        ([op("add", "/m", {}), op("add", "/m/k", []), op("add", "/m/k/-", 1)], {"m": {"k": [1]}}),
    ],
)
def test_a_patch_changes_what_it_names_and_nothing_else(
    rows: list[Any], changes: dict[str, Any]
) -> None:
    assert apply(DOCUMENT, *rows) == {**DOCUMENT, **changes}


def test_a_move_takes_the_value_away_from_where_it_was() -> None:
    assert apply({"a": {"b": 1}, "c": {}}, take("move", "/a/b", "/c/d")) == {"a": {}, "c": {"d": 1}}


def test_a_copy_is_independent_of_its_source() -> None:
    result = apply(
        {"a": {"b": [1]}},
        take("copy", "/a", "/c"),
        op("add", "/c/b/-", 2),
        op("add", "/a/b/-", 3),
    )
    assert result == {"a": {"b": [1, 3]}, "c": {"b": [1, 2]}}


def test_a_value_of_the_patch_that_is_changed_later_on_stays_as_it_was_sent() -> None:
    operations = parse_operations([op("add", "/a", {"b": []}), op("add", "/a/b/-", 1)])
    for _ in range(2):
        assert apply_operations(operations, {}) == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (op("replace", "/zz", 1), "can't replace a non-existent object 'zz'"),
        (op("remove", "/zz"), "can't remove a non-existent object 'zz'"),
        (op("add", "/zz/y", 1), "member 'zz' not found"),
        (op("test", "/zz", None), "member 'zz' not found"),
        (take("move", "/zz", "/y"), "can't remove a non-existent object 'zz'"),
        (take("move", "/zz", "/zz"), "member 'zz' not found"),
        (take("copy", "/zz", "/y"), "member 'zz' not found"),
        (op("add", "/l/4", 1), "index 4 is outside of the list"),
        (op("replace", "/l/3", 1), "index 3 is outside of the list"),
        (op("remove", "/l/3"), "index 3 is outside of the list"),
        (op("test", "/l/3", 1), "index 3 is outside of the list"),
        (op("add", "/l/01", 1), "'01' is not a valid sequence index"),
        (op("add", "/l/-1", 1), "'-1' is not a valid sequence index"),
        (op("add", "/l/x", 1), "'x' is not a valid sequence index"),
        (op("add", "/l/١", 1), "'١' is not a valid sequence index"),
        (op("add", f"/l/{'1' * 5000}", 1), f"'{'1' * 60}' is not a valid sequence index"),
        (op("remove", "/l/-"), "'-' is not a valid sequence index"),
        (op("replace", "/l/-", 1), "'-' is not a valid sequence index"),
        (op("test", "/l/-", 3), "'-' is not a valid sequence index"),
        (op("add", "/a/b", 1), "nothing is at 'b' in 1, which has no members"),
        (op("add", "/s/0", 1), "nothing is at '0' in t, which has no members"),
        (op("test", "/s/0", "t"), "nothing is at '0' in t, which has no members"),
        (op("test", "/a", 2), "1 is not equal to tested value 2"),
        (op("test", "/a", True), "1 is not equal to tested value True"),
        (take("move", "/o", "/o/y/k"), "Cannot move values into their own children"),
        (op("add", "/b"), "The operation does not contain a 'value' member"),
        (op("replace", "/a"), "The operation does not contain a 'value' member"),
        (op("test", "/n"), "The operation does not contain a 'value' member"),
        (op("add", "/o/~2", 1), "Found invalid escape ~2"),
        (op("add", "/o/~", 1), "Found invalid escape ~"),
        (op("add", "/o/~\n", 1), "Found invalid escape ~\n"),
    ],
)
def test_an_operation_that_cannot_be_done_fails_the_patch(row: Any, reason: str) -> None:
    assert refused(DOCUMENT, op("add", "/a", 1), row) == reason


@pytest.mark.parametrize(
    ("body", "name", "description"),
    [
        (None, "", "Should be a JSON object or an array"),
        ("x", "", "Should be a JSON object or an array"),
        ({}, "", '"{}" is not iterable'),
        (
            [1],
            "0",
            '"1" is not a mapping type: Does not implement dict-like functionality.',
        ),
        ([{"path": "/a"}], "0.op", "Required"),
        ([{"op": None, "path": "/a"}], "0.op", "Required"),
        ([{"op": [], "path": "/a"}], "0.op", "[] is not a string"),
        (
            [{"op": "foo", "path": "/a"}],
            "0.op",
            '"foo" is not one of test, add, remove, replace, move, copy',
        ),
        ([op("test", "/a", 1), {"op": "add"}], "1.path", "Required"),
        ([op("add", "", 1)], "0.path", "Required"),
        ([{"op": "add", "path": 1}], "0.path", "1 is not a string"),
        ([op("add", "a", 1)], "0.path", "String does not match expected pattern"),
        ([{"op": "move", "path": "/a"}], "0.from", "Required"),
        ([{"op": "copy", "path": "/a", "from": 1}], "0.from", "1 is not a string"),
        ([take("copy", "b", "/a")], "0.from", "String does not match expected pattern"),
    ],
)
def test_a_malformed_patch_is_refused_in_its_place(body: Any, name: str, description: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_operations(body)
    (problem,) = caught.value.problems
    assert (problem.location, problem.name, problem.description) == ("body", name, description)


def test_everything_that_an_operation_lacks_is_told_at_once() -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_operations([{}])
    assert [problem.name for problem in caught.value.problems] == ["0.op", "0.path"]


def test_members_that_an_operation_does_not_define_are_ignored() -> None:
    row = {**op("add", "/b", 1), "from": None, "extra": 1}
    assert parse_operations([row]) == (Operation("add", ("b",), 1),)


@pytest.mark.parametrize("name", ["add", "replace", "test"])
@pytest.mark.parametrize("value", [(), ({},), ("other",)], ids=["none", "object", "string"])
def test_a_principal_of_read_or_write_is_its_own_value(name: str, value: tuple[Any, ...]) -> None:
    (operation,) = parse_operations([op(name, "/permissions/write/~1buckets~1b", *value)])
    assert operation == Operation(name, ("permissions", "write", "/buckets/b"), "/buckets/b")


@pytest.mark.parametrize(
    "path",
    ["/permissions/read", "/permissions/record:create/x", "/permissions/read/x/y", "/a/read/x"],
)
def test_any_other_path_needs_a_value(path: str) -> None:
    with pytest.raises(InvalidParameters, match="'value'"):
        parse_operations([op("add", path)])


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        (op("add", "/a/b", 1), True),
        (op("test", "/a/b", 1), False),
        (op("add", "/b", 1), False),
        (take("move", "/a/b", "/b"), True),
        (take("copy", "/a/b", "/b"), False),
        (take("copy", "/b", "/a"), True),
    ],
)
def test_an_operation_knows_which_member_it_may_change(row: Any, changes: bool) -> None:
    assert parse_operations([row])[0].changes("a") is changes


def test_the_most_operations_are_done_and_one_more_is_refused() -> None:
    rows = [op("add", "/a/-", n) for n in range(MAX_OPERATIONS)]
    assert apply({"a": []}, *rows)["a"] == list(range(MAX_OPERATIONS))
    with pytest.raises(InvalidParameters, match="at most 10000 operations"):
        parse_operations([*rows, rows[0]])


@pytest.mark.parametrize(
    "seed",
    ["x" * 1000, ["x"], {"x" * 1000: 1}, HugeInteger("1" * 5000), [0.5], 10**4000, [None]],
    ids=["string", "array", "key", "huge integer", "float", "integer", "null"],
)
def test_a_chain_of_doubling_copies_is_refused(seed: Any) -> None:
    operations = parse_operations([take("copy", "/a", "/a/-")] * 64)
    with pytest.raises(TooLarge, match="copies more"):
        apply_operations(operations, {"a": [seed]})


def test_a_large_value_is_copied_while_it_fits_and_moved_for_nothing() -> None:
    document = {"a": "x" * (MAX_WORK // 4), "b": {}}
    moves = [take("move", "/a", "/c"), take("move", "/c", "/a")] * 10
    copies = [take("copy", "/a", f"/b/{n}") for n in range(3)]
    assert len(apply(document, *moves, *copies)["b"]) == 3
    with pytest.raises(TooLarge):
        apply(document, *copies, *copies)


@pytest.mark.parametrize("name", ["add", "remove"])
def test_shifting_a_long_list_again_and_again_is_refused(name: str) -> None:
    operations = parse_operations([op(name, "/a/0", 0)] * (MAX_OPERATIONS // 2))
    with pytest.raises(TooLarge):
        apply_operations(operations, {"a": [0] * (MAX_WORK // 8)})


def nested(levels: int) -> Any:
    return parse_json(
        '{"k":[' * (levels // 2) + ("{}" if levels % 2 else "") + "]}" * (levels // 2)
    )


def test_a_result_of_the_greatest_depth_is_accepted() -> None:
    deepest = nested(MAX_DEPTH - 1)
    assert apply({"a": 1}, op("add", "/b", deepest), take("copy", "/b", "/c"))["c"] == deepest


@pytest.mark.parametrize(
    "rows",
    [
        [op("add", "/o", {"p": nested(MAX_DEPTH - 1)})],
        [op("add", "/b", nested(MAX_DEPTH - 1)), take("move", "/b", "/o/b")],
        [op("add", "/b", nested(MAX_DEPTH - 1)), take("copy", "/b", "/o/b")],
        [op("add", "/b", {"c": nested(MAX_DEPTH)}), take("copy", "/b", "/d")],
    ],
    ids=["add", "move", "copy", "copy of what is too deep"],
)
def test_a_result_that_is_nested_too_deep_is_refused(rows: list[Any]) -> None:
    assert refused({"o": {}}, *rows) == "nested deeper than 200 levels"


HUGE = HugeInteger("1" * 5000)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True),
        (0, -0.0, True),
        (1, True, False),
        (0, False, False),
        (True, True, True),
        (None, None, True),
        (None, False, False),
        (None, 0, False),
        ("1", 1, False),
        (2**53 + 1, float(2**53), False),
        (HUGE, HugeInteger("1" * 5000), True),
        (HUGE, HugeInteger("1" * 4999 + "2"), False),
        ({"a": 1, "b": [1]}, {"b": [1.0], "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": None}, {}, False),
        ({"a": None}, {"b": None}, False),
        ({}, [], False),
        ([], {}, False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([[1]], [[True]], False),
        ("", [], False),
    ],
)
def test_json_values_are_equal_by_value_and_type(one: Any, other: Any, equal: bool) -> None:
    assert is_equal(one, other) is equal
    assert is_equal(other, one) is equal


def test_the_deepest_values_can_be_compared() -> None:
    deepest = nested(MAX_DEPTH)
    assert is_equal(deepest, json.loads(json.dumps(deepest)))
