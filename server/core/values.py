"""JSON values as queries see them: found by a dotted path, in one total order.

The order across types is the protocol's: null < string < number < boolean <
array < object < missing. Within a type:

* strings by code point;
* numbers by value, exactly, whatever their size: 1 equals 1.0, and no boolean;
* false before true;
* arrays: the shorter first, then element by element;
* objects: the one with fewer members first, then member by member in the
  order of their keys, key before value.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from server.core.json_text import HugeInteger


class Missing(Enum):
    """The type of ``MISSING``, which is not a JSON value."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
"""What a path finds where there is nothing; null is something."""

MAX_PATH_LENGTH: Final = 1024
"""Characters of a dotted path; the cost of a lookup is bounded by it."""

MAX_PATH_DOTS: Final = 200
"""Dots of a path; objects are nested no deeper (``json_text.MAX_DEPTH``)."""


def find_value(data: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or ``MISSING``.

    A key may contain dots itself. At each level the longest literal key that
    begins the path wins, even where only a shorter one would lead on.
    """
    if path in data:
        return data[path]
    if "." not in path:
        return MISSING
    rest = path
    while (head := longest_key(data, rest)) is not None:
        inner = data[head]
        if len(head) == len(rest):
            return inner
        if not isinstance(inner, dict):
            return MISSING
        data, rest = inner, rest[len(head) + 1 :]
    return MISSING


def longest_key(data: Mapping[str, Any], path: str) -> str | None:
    """The longest key of ``data`` that is the path or begins it before a dot."""
    head = path
    while head not in data:
        head, dot, _ = head.rpartition(".")
        if not dot:
            return None
    return head


class Rank:
    """The first element of an order key: the type's place in the order."""

    NULL: Final = 0
    STRING: Final = 1
    NUMBER: Final = 2
    BOOLEAN: Final = 3
    ARRAY: Final = 4
    OBJECT: Final = 5
    MISSING: Final = 6


_NULL_KEY: Final = (0,)
_MISSING_KEY: Final = (6,)


def order_key(value: Any) -> tuple[Any, ...]:
    """A hashable tuple that equals and sorts as the value does in the order above.

    One tuple for a level of nesting, so that comparing the deepest value that
    is stored stays far from the interpreter's limit of recursion.
    """
    kind = type(value)
    if kind is str:
        return (1, value)
    if kind is int or kind is float:
        return (2, value)
    if value is None:
        return _NULL_KEY
    if kind is bool:
        return (3, value)
    if value is MISSING:
        return _MISSING_KEY
    return _order_key_of_rare(value)


def _order_key_of_rare(value: Any) -> tuple[Any, ...]:
    if isinstance(value, HugeInteger):
        return (2, value.decimal)
    if isinstance(value, list | tuple):
        return (4, len(value), *map(order_key, value))
    members: list[Any] = [5, len(value)]
    for name in sorted(value):
        members += (name, order_key(value[name]))
    return tuple(members)
