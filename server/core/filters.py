"""Filters: what a list's query string asks of each object.

The evaluator here is the only truth about what a filter means; what the
database selects is held to it by a property test, and live subscriptions use
it as it is.

A field that an object lacks sorts after every value: ``not_``, ``exclude_``,
``gt_`` and ``min_`` match it, all other operators do not.
"""

import dataclasses
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
from operator import eq, ne
from typing import Any, TypeAlias

from server.core.values import MISSING, find_value, order_key

Test: TypeAlias = Callable[[Any], bool]
"""Says whether a found value, or ``MISSING``, satisfies a condition."""


class Operator(StrEnum):
    """An operator; its value is the parameter's prefix without the underscore."""

    EQ = "eq"
    NOT = "not"
    LT = "lt"
    GT = "gt"
    MIN = "min"
    MAX = "max"
    IN = "in"
    EXCLUDE = "exclude"
    LIKE = "like"
    HAS = "has"
    CONTAINS = "contains"
    CONTAINS_ANY = "contains_any"


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """One condition on one field; equal and hashable by what it means.

    Attributes:
        field: dotted path.
        operator: what is asked of the value there.
        value: a JSON value; a list for IN, EXCLUDE, CONTAINS and CONTAINS_ANY,
            a string for LIKE, a boolean for HAS.
        parameter: the query parameter it was read from, ``_since`` say; ``""``
            if it was made otherwise.
        key: the value's order key, which keeps 1 and true apart.
        test: the condition on a value that has been found, or ``MISSING``.
    """

    field: str
    operator: Operator
    value: Any = dataclasses.field(compare=False)
    parameter: str = dataclasses.field(default="", compare=False)
    key: tuple[Any, ...] = dataclasses.field(init=False, repr=False)
    test: Test = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the condition, once for all the objects it is asked of."""
        object.__setattr__(self, "key", order_key(self.value))
        object.__setattr__(self, "test", _COMPILERS[self.operator](self.value))


def matches(conditions: Iterable[Condition], data: Mapping[str, Any]) -> bool:
    """Whether an object's data satisfies every condition.

    Args:
        conditions: all of them must hold; none means that everything matches.
        data: the object as it is served, with ``id`` and ``last_modified``.
    """
    for condition in conditions:
        field = condition.field
        found = data[field] if field in data else find_value(data, field)
        if not condition.test(found):
            return False
    return True


def _eq(value: Any) -> Test:
    if isinstance(value, str):
        return partial(eq, value)
    key = order_key(value)
    return lambda found: order_key(found) == key


def _not(value: Any) -> Test:
    if isinstance(value, str):
        return partial(ne, value)
    key = order_key(value)
    return lambda found: order_key(found) != key


def _lt(value: Any) -> Test:
    key = order_key(value)
    return lambda found: order_key(found) < key


def _gt(value: Any) -> Test:
    key = order_key(value)
    return lambda found: order_key(found) > key


def _min(value: Any) -> Test:
    key = order_key(value)
    return lambda found: order_key(found) >= key


def _max(value: Any) -> Test:
    key = order_key(value)
    return lambda found: order_key(found) <= key


class _Members:
    """A set of JSON values to look others up in.

    Numbers are searched by bisection: their hashes can be made to collide by
    whoever chooses them, those of strings cannot.
    """

    __slots__ = ("keys", "texts")

    def __init__(self, values: Iterable[Any]) -> None:
        values = list(values)
        self.texts = {value for value in values if isinstance(value, str)}
        keys = sorted(order_key(value) for value in values if not isinstance(value, str))
        self.keys = [key for i, key in enumerate(keys) if not i or key != keys[i - 1]]

    def __len__(self) -> int:
        return len(self.texts) + len(self.keys)

    def find(self, value: Any) -> str | int | None:
        """What stands for the value within this set; None if it is no member."""
        if isinstance(value, str):
            return value if value in self.texts else None
        if not self.keys:
            return None
        key = order_key(value)
        index = bisect_left(self.keys, key)
        return index if index < len(self.keys) and self.keys[index] == key else None


def _in(values: Any) -> Test:
    members = _Members(values)
    return lambda found: members.find(found) is not None


def _exclude(values: Any) -> Test:
    members = _Members(values)
    return lambda found: members.find(found) is None


def _contains(values: Any) -> Test:
    members = _Members(values)

    def test(found: Any) -> bool:
        if not isinstance(found, list):
            return False
        seen = {members.find(element) for element in found} - {None}
        return len(seen) == len(members)

    return test


def _contains_any(values: Any) -> Test:
    members = _Members(values)

    def test(found: Any) -> bool:
        return isinstance(found, list) and any(members.find(x) is not None for x in found)

    return test


def _has(value: Any) -> Test:
    if value:
        return lambda found: found is not MISSING
    return lambda found: found is MISSING


def _like(pattern: Any) -> Test:
    """Wildcards without a regular expression: each part is searched once, left to right."""
    folded = str(pattern).casefold()
    if "*" not in folded:
        return lambda found: isinstance(found, str) and folded in found.casefold()
    head, *middle, tail = folded.split("*")
    parts = [part for part in middle if part]
    return lambda found: isinstance(found, str) and _fits(found.casefold(), head, parts, tail)


def _fits(text: str, head: str, parts: list[str], tail: str) -> bool:
    end = len(text) - len(tail)
    if len(head) > end or not text.startswith(head) or not text.endswith(tail):
        return False
    start = len(head)
    for part in parts:
        at = text.find(part, start, end)
        if at < 0:
            return False
        start = at + len(part)
    return True


_COMPILERS: Mapping[Operator, Callable[[Any], Test]] = {
    Operator.EQ: _eq,
    Operator.NOT: _not,
    Operator.LT: _lt,
    Operator.GT: _gt,
    Operator.MIN: _min,
    Operator.MAX: _max,
    Operator.IN: _in,
    Operator.EXCLUDE: _exclude,
    Operator.LIKE: _like,
    Operator.HAS: _has,
    Operator.CONTAINS: _contains,
    Operator.CONTAINS_ANY: _contains_any,
}
