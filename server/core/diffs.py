"""The difference of two JSON values, as a JSON Patch (RFC 6902) that makes one of the other."""

from typing import Any, Final

from jsonpatch import JsonPatch

from server.core.json_patch import is_equal
from server.core.json_text import dump_text

FINE_MAX_BYTES: Final = 16 << 10
"""Of both texts: beyond, the search for what was moved could take time with the square of it."""

Operations = list[dict[str, Any]]


def diff_values(old: Any, new: Any, size: int) -> Operations:
    """Operations that make the new value of the old one.

    Of small values the patch is a short one, which also tells what was moved. Of large
    ones it is found in one pass: objects are compared member by member, of arrays the
    items in the middle, where they differ, are replaced.

    Args:
        old: a JSON object.
        new: another.
        size: bytes of both texts.
    """
    if size <= FINE_MAX_BYTES:
        found: Operations = JsonPatch.from_diff(old, new, dumps=dump_text).patch
        return found
    operations: Operations = []
    _compare(old, new, "", operations)
    return operations


def _compare(old: Any, new: Any, path: str, operations: Operations) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        _compare_members(old, new, path, operations)
    elif isinstance(old, list) and isinstance(new, list):
        _compare_items(old, new, path, operations)
    elif not is_equal(old, new):
        operations.append({"op": "replace", "path": path, "value": new})


def _compare_members(
    old: dict[str, Any], new: dict[str, Any], path: str, operations: Operations
) -> None:
    for name in old:
        below = f"{path}/{_escape(name)}"
        if name in new:
            _compare(old[name], new[name], below, operations)
        else:
            operations.append({"op": "remove", "path": below})
    for name, value in new.items():
        if name not in old:
            operations.append({"op": "add", "path": f"{path}/{_escape(name)}", "value": value})


def _compare_items(old: list[Any], new: list[Any], path: str, operations: Operations) -> None:
    start = _count_equal(old, new)
    end = _count_equal(old[start:][::-1], new[start:][::-1])
    middle, wanted = old[start : len(old) - end], new[start : len(new) - end]
    shared = min(len(middle), len(wanted))
    for index in range(shared):
        # Not compared any deeper: each level would look again at all that lies below it.
        replaced = {"op": "replace", "path": f"{path}/{start + index}", "value": wanted[index]}
        operations.append(replaced)
    for index in range(len(middle) - 1, shared - 1, -1):
        operations.append({"op": "remove", "path": f"{path}/{start + index}"})
    for index in range(shared, len(wanted)):
        added = {"op": "add", "path": f"{path}/{start + index}", "value": wanted[index]}
        operations.append(added)


def _count_equal(one: list[Any], other: list[Any]) -> int:
    """How many items both begin with."""
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if not is_equal(mine, theirs):
            break
        count += 1
    return count


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
