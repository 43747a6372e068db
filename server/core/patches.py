"""PATCH in its three flavours, and what the answer to one shows.

``application/json`` merges shallowly; ``application/merge-patch+json`` is RFC
7396; ``application/json-patch+json`` is RFC 6902 (see ``json_patch``) on the
document ``{"data": {...}, "permissions": {...}}``. A patch is parsed once,
before the transaction, and may be applied several times in it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from server.core.envelopes import (
    Envelope,
    check_members,
    check_names,
    check_object,
    parse_envelope,
    parse_principals,
)
from server.core.errors import invalid
from server.core.json_patch import Operation, apply_operations, is_equal, parse_operations

SHALLOW = "application/json"
MERGE = "application/merge-patch+json"
OPERATIONS = "application/json-patch+json"

PATCH_TYPES = (SHALLOW, MERGE, OPERATIONS)
"""The content types of a PATCH; any other is the caller's 415."""


@dataclass(frozen=True, slots=True)
class ShallowPatch:
    """Members that replace those of the object; ``null`` is a value."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class MergePatch:
    """RFC 7396: objects are merged, ``null`` removes."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class OperationsPatch:
    """RFC 6902.

    Attributes:
        operations: in order; all of them succeed or nothing is changed.
        permission_names: those that an ACL of this kind may hold.
    """

    operations: tuple[Operation, ...]
    permission_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Patched:
    """What a patch makes of an object.

    Attributes:
        data: the whole new data, with whatever ``id`` and ``last_modified``
            the patch left there: absent if it removed them, of any type if
            it set them. The caller refuses an ``id`` that is not the
            object's, and dates the write.
        permissions: the whole new ACL, without empty entries; None if the
            patch does not mention permissions.
        sent: what the client asked for, as ``shape_answer`` wants it.
    """

    data: dict[str, Any]
    permissions: dict[str, tuple[str, ...]] | None
    sent: Mapping[str, Any]


Patch = ShallowPatch | MergePatch | OperationsPatch | Patched
"""``Patched`` stands for what came of one already, whatever the object holds."""


def gives_data(patch: Patch) -> bool:
    """Whether a patch is about more than permissions."""
    if isinstance(patch, Patched):
        return bool(patch.sent)
    if isinstance(patch, ShallowPatch | MergePatch):
        return patch.envelope.data is not None
    return True


def parse_patch(content_type: str, body: Any, permission_names: Collection[str]) -> Patch:
    """Read the body of a PATCH.

    Args:
        content_type: one of ``PATCH_TYPES``: lower case, without parameters.
        body: parsed JSON; an absent body is ``{}``.
        permission_names: those that an ACL of this kind may hold.

    Raises:
        InvalidParameters: If it is no patch of that type, or an empty one
            (an empty list of operations is fine).
    """
    if content_type == OPERATIONS:
        return OperationsPatch(parse_operations(body), tuple(permission_names))
    envelope = parse_envelope(body, permission_names)
    if envelope.data is None and envelope.permissions is None:
        raise invalid("body", "data", "Provide at least one of data or permissions")
    return MergePatch(envelope) if content_type == MERGE else ShallowPatch(envelope)


def apply_patch(
    patch: Patch, data: dict[str, Any], permissions: Mapping[str, Sequence[str]]
) -> Patched:
    """What the patch makes of an object. Nothing that is passed is changed.

    The result shares unchanged values with ``data`` and with the patch, so it
    is not to be changed either. It is nested no deeper than ``MAX_DEPTH``,
    the envelope counted as one level.

    Args:
        patch: as parsed.
        data: of the stored object, ``id`` and ``last_modified`` in it.
        permissions: the object's own ACL.

    Raises:
        InvalidParameters: If an operation fails, or the result is no object.
        TooLarge: If the operations copy more than an object may hold.
    """
    if isinstance(patch, Patched):
        return patch
    if isinstance(patch, OperationsPatch):
        return _apply_operations(patch, data, permissions)
    envelope = patch.envelope
    sent = envelope.data or {}
    clears = isinstance(patch, MergePatch)
    return Patched(
        merge(data, sent) if clears else {**data, **sent},
        _merge_permissions(permissions, envelope.permissions, clears=clears),
        sent,
    )


def merge(target: Any, change: Any) -> Any:
    """RFC 7396, section 2; returns a new value and changes neither."""
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def _merge_permissions(
    permissions: Mapping[str, Sequence[str]],
    changes: Mapping[str, tuple[str, ...] | None] | None,
    *,
    clears: bool,
) -> dict[str, tuple[str, ...]] | None:
    """The ACL with some entries replaced; ``clears``: whether null empties one."""
    if changes is None:
        return None
    result = {name: tuple(principals) for name, principals in permissions.items()}
    for name, principals in changes.items():
        if principals is not None or clears:
            result[name] = principals or ()
    return _without_empty(result)


def _without_empty(permissions: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: principals for name, principals in permissions.items() if principals}


def _apply_operations(
    patch: OperationsPatch, data: dict[str, Any], permissions: Mapping[str, Sequence[str]]
) -> Patched:
    # Principals are members, not items, so that a pointer can name one; read
    # and write are always there, so that a pointer can add to them.
    acl: dict[str, dict[str, str]] = {"read": {}, "write": {}} | {
        name: {principal: principal for principal in principals}
        for name, principals in permissions.items()
    }
    result = apply_operations(patch.operations, {"data": data, "permissions": acl})
    check_members(result)
    if "data" not in result:
        raise invalid("body", "data", "Required")
    patched = check_object(result["data"], "data")
    changed = None
    if any(operation.changes("permissions") for operation in patch.operations):
        changed = _read_acl(result.get("permissions", {}), patch.permission_names)
    return Patched(patched, changed, patched)


def _read_acl(value: Any, permission_names: Collection[str]) -> dict[str, tuple[str, ...]]:
    acl = check_object(value, "permissions")
    check_names(acl, permission_names)
    return _without_empty(
        {
            name: parse_principals(name, list(entry) if isinstance(entry, dict) else entry)
            for name, entry in acl.items()
        }
    )


class Behavior(Enum):
    """What the answer to a PATCH shows: the header ``Response-Behavior``."""

    FULL = "full"
    LIGHT = "light"
    DIFF = "diff"


def parse_behavior(header: str | None) -> Behavior:
    """Read the header; absent or empty is ``full``.

    Raises:
        InvalidParameters: If it is none of the three, which are case-sensitive.
    """
    try:
        return Behavior(header or "full")
    except ValueError:
        known = ", ".join(behavior.value for behavior in Behavior)
        words = f'"{str(header)[:60]}" is not one of {known}'
        raise invalid("header", "Response-Behavior", words) from None


def shape_answer(
    behavior: Behavior, sent: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The member ``data`` of the answer to a PATCH.

    ``full`` is the whole object. ``light`` is those of the sent members whose
    stored value is no longer what it was; ``diff`` is those of ``light`` whose
    stored value is not the one that was sent (what the server dated, derived
    or merged). A member that is gone is in neither. With JSON Patch, every
    member of the patched data counts as sent. Except with ``full`` the answer
    has no member ``permissions``.

    Args:
        behavior: what the client asked for.
        sent: ``Patched.sent``.
        before: the data as it was stored.
        after: the data as it is stored now.
    """
    if behavior is Behavior.FULL:
        return after
    changed = {
        name: after[name]
        for name in sent
        if name in after and not (name in before and is_equal(before[name], after[name]))
    }
    if behavior is Behavior.LIGHT:
        return changed
    return {name: value for name, value in changed.items() if not is_equal(sent[name], value)}
