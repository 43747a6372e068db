"""The body of a write: ``{"data": {...}, "permissions": {...}}``."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from reprlib import Repr
from typing import Any

from server.core.errors import invalid

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


@dataclass(frozen=True, slots=True)
class Envelope:
    """A body whose shape has been checked.

    Attributes:
        data: the object; None if the body has none.
        permissions: permission to principals, each once, in the order sent;
            None as a value stands for the client's ``null``. None if the body
            has none.
    """

    data: dict[str, Any] | None = None
    permissions: Mapping[str, tuple[str, ...] | None] | None = None


def spell_value(value: Any) -> str:
    """A client's value for a message: short, however large it is."""
    return value[:60] if isinstance(value, str) else _SHORT.repr(value)


def parse_envelope(body: Any, permission_names: Collection[str]) -> Envelope:
    """Check the shape of a body.

    Args:
        body: parsed JSON; an absent body is ``{}``.
        permission_names: those that an ACL of this kind may hold.

    Raises:
        InvalidParameters: If it is no object, has an unknown member, or its
            data or permissions are not of their shape.
    """
    if not isinstance(body, dict | list):
        raise invalid("body", "", "Should be a JSON object or an array")
    members = check_object(body, "")
    check_members(members)
    data = check_object(members["data"], "data") if "data" in members else None
    if "permissions" not in members:
        return Envelope(data)
    wanted = check_object(members["permissions"], "permissions")
    check_names(wanted, permission_names)
    return Envelope(
        data,
        {
            name: None if value is None else parse_principals(name, value)
            for name, value in wanted.items()
        },
    )


def check_object(value: Any, name: str) -> dict[str, Any]:
    """Refuse what is no JSON object; ``name`` is its place in the body."""
    if not isinstance(value, dict):
        words = "is not a mapping type: Does not implement dict-like functionality."
        raise invalid("body", name, f'"{spell_value(value)}" {words}')
    return value


def check_members(body: Mapping[str, Any]) -> None:
    """Refuse an envelope with members of other names."""
    unknown = {name: value for name, value in body.items() if name not in ("data", "permissions")}
    if unknown:
        raise invalid("body", "", f'Unrecognized keys in mapping: "{spell_value(unknown)}"')


def check_names(wanted: Mapping[str, Any], permission_names: Collection[str]) -> None:
    """Refuse a permission that objects of this kind do not have."""
    for name in wanted:
        if name not in permission_names:
            known = ", ".join(sorted(permission_names, key=lambda known: (":" in known, known)))
            raise invalid("body", "permissions", f'"{spell_value(name)}" is not one of {known}')


def parse_principals(name: str, value: Any) -> tuple[str, ...]:
    """The principals of one permission, each once, in the order given.

    Raises:
        InvalidParameters: If it is no list of non-empty strings.
    """
    place = f"permissions.{name}"
    if not isinstance(value, list):
        raise invalid("body", place, f'"{spell_value(value)}" is not iterable')
    for index, principal in enumerate(value):
        _check_principal(principal, f"{place}.{index}")
    return tuple(dict.fromkeys(value))


def _check_principal(principal: Any, place: str) -> None:
    if principal is None or principal == "":
        raise invalid("body", place, "Required")
    if not isinstance(principal, str):
        raise invalid("body", place, f"{spell_value(principal)} is not a string")
