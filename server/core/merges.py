"""Merge two changes of one object that were made from the same state.

A three-way merge of JSON: what only one side changed is taken from it, what both changed
alike is taken once, and what they changed differently is a conflict. Objects are merged
member by member; everything else, arrays among it, is one value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.core.json_patch import is_equal
from server.core.patches import Patched
from server.core.values import MISSING

_ASSIGNED = ("id", "last_modified")


@dataclass(frozen=True, slots=True)
class Merge:
    """What came of a merge.

    Attributes:
        value: with both changes in it; where they are in conflict, with theirs.
        conflicts: JSON pointers (RFC 6901) to what both changed differently, sorted.
    """

    value: Any
    conflicts: tuple[str, ...] = ()


def merge_values(base: Any, mine: Any, theirs: Any) -> Merge:
    """Merge two values that were made from one.

    Nothing that is passed is changed; the result shares parts with it.

    Args:
        base: what both began with.
        mine: what the one made of it.
        theirs: what the other did.
    """
    conflicts: list[str] = []
    value = _merge(base, mine, theirs, "", conflicts)
    return Merge(value, tuple(sorted(conflicts)))


def _merge(base: Any, mine: Any, theirs: Any, path: str, conflicts: list[str]) -> Any:
    """The merged value, or ``MISSING``; each of the three may be that, too."""
    if not all(isinstance(one, dict) for one in (base, mine, theirs)):
        return _choose(base, mine, theirs, path, conflicts)
    # Whether they differ at all is not asked before: that would look at all that is in them,
    # at each level again.
    merged = {}
    for name in dict.fromkeys((*theirs, *mine)):
        was, ours, their = (one.get(name, MISSING) for one in (base, mine, theirs))
        value = _merge(was, ours, their, f"{path}/{_escape(name)}", conflicts)
        if value is not MISSING:
            merged[name] = value
    return merged


def _choose(base: Any, mine: Any, theirs: Any, path: str, conflicts: list[str]) -> Any:
    if _is_same(mine, theirs) or _is_same(mine, base):
        return theirs
    if _is_same(theirs, base):
        return mine
    conflicts.append(path)
    return theirs


def _is_same(one: Any, other: Any) -> bool:
    if one is MISSING or other is MISSING:
        return one is other
    return is_equal(one, other)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def merge_permissions(
    base: Mapping[str, Sequence[str]],
    mine: Mapping[str, Sequence[str]] | None,
    theirs: Mapping[str, Sequence[str]],
) -> Merge:
    """Merge two changes of an ACL: each permission's principals are one value, a set.

    Args:
        base: what both began with.
        mine: what the one made of it; None where it left it alone.
        theirs: what the other did.

    Returns:
        Permission to principals; conflicts are pointers such as ``/permissions/read``.
    """
    if mine is None:
        return Merge(dict(theirs))
    conflicts = []
    merged: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys((*theirs, *mine)):
        was, ours, their = (tuple(one.get(name, ())) for one in (base, mine, theirs))
        if set(ours) in (set(their), set(was)):
            ours = their
        elif set(their) != set(was):
            conflicts.append(f"/permissions/{_escape(name)}")
            ours = their
        if ours:
            merged[name] = ours
    return Merge(merged, tuple(sorted(conflicts)))


@dataclass(frozen=True, slots=True)
class Held:
    """What an object holds.

    Attributes:
        data: with ``id`` and ``last_modified``.
        acl: its own.
    """

    data: Mapping[str, Any]
    acl: Mapping[str, Sequence[str]]


def merge_change(base: Held, mine: Patched, theirs: Held) -> tuple[Patched, tuple[str, ...]]:
    """Merge what a patch makes of an older state into the present one.

    ``id`` and ``last_modified`` are no part of it: the server gives them, and what the patch
    makes of them counts.

    Args:
        base: the older state.
        mine: what the patch makes of it.
        theirs: the present state.

    Returns:
        What the object is to hold, and the conflicts: pointers into its data, and those
        of ``merge_permissions``.
    """
    data = merge_values(*(_own(one.data) for one in (base, mine, theirs)))
    permissions = merge_permissions(base.acl, mine.permissions, theirs.acl)
    merged = dict(data.value)
    for name in _ASSIGNED:
        changed = not _is_same(mine.data.get(name, MISSING), base.data.get(name, MISSING))
        value = (mine if changed else theirs).data.get(name, MISSING)
        if value is not MISSING:
            merged[name] = value
    acl = None if mine.permissions is None else permissions.value
    return Patched(merged, acl, mine.sent), (*data.conflicts, *permissions.conflicts)


def _own(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in _ASSIGNED}
