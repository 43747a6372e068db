"""The shadow: an object's data in BSON, for the database to select by.

What an object *is* stays its JSON text. The shadow only has to keep this
promise: values that are equal have equal shadows, and of two numbers the
smaller never has the greater one. So BSON's limits cost precision, not truth.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from server.core.json_text import HugeInteger

MAX_SHADOW_JSON_BYTES: Final = 256 * 1024
"""Above this size of the object's JSON it has no shadow."""

MAX_SHADOW_DEPTH: Final = 100
"""Levels of nesting; the database itself refuses 180, this leaves it room."""

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1

_AWKWARD: Final = re.compile(r"[%.$\x00]")
_OWN_FIELDS: Final = frozenset({"id", "last_modified"})


class _TooDeep(Exception):
    """The data is nested deeper than a shadow may be."""


def make_shadow(data: Mapping[str, Any], json_size: int) -> dict[str, Any] | None:
    """The shadow of an object's data, without what the document has as fields of its own.

    Args:
        data: the object as it is served.
        json_size: bytes of its JSON text.

    Returns:
        A document BSON can hold; None if the object is too large or too
        deep to have one.
    """
    if json_size > MAX_SHADOW_JSON_BYTES:
        return None
    try:
        return {
            escape_key(name): _approximate(value, MAX_SHADOW_DEPTH)
            for name, value in data.items()
            if name not in _OWN_FIELDS
        }
    except _TooDeep:
        return None


def escape_key(name: str) -> str:
    """A name that BSON accepts and a path can name; no two names become one."""
    if not name:
        return "%"
    if _AWKWARD.search(name):
        return _AWKWARD.sub(lambda match: f"%{ord(match[0]):02X}", name)
    return name


def approximate_number(value: "int | float | HugeInteger") -> int | float:
    """The number BSON has for it: itself, or the nearest double, or an infinity."""
    if isinstance(value, HugeInteger):
        return float("-inf") if value.digits.startswith("-") else float("inf")
    if isinstance(value, float) or INT64_MIN <= value <= INT64_MAX:
        return value
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _approximate(value: Any, levels: int) -> Any:
    kind = type(value)
    if kind is str or kind is bool or kind is float or value is None:
        return value
    if kind is int or kind is HugeInteger:
        return approximate_number(value)
    if not levels:
        raise _TooDeep
    if kind is list:
        return [_approximate(element, levels - 1) for element in value]
    return {escape_key(name): _approximate(inner, levels - 1) for name, inner in value.items()}
