"""Preselection: the part of a filter that the database can be trusted with.

The selector made here never leaves out a document that ``filters.matches``
would accept; it may find more. So each operator excludes only what certainly
fails, and an object without a shadow is always found.

What MongoDB's operators do beyond ours, and why that is allowed for: a path
also looks into the elements of arrays, ``null`` also finds missing fields, and
comparisons stay within one type. Clients' values appear only as operands,
never as documents, so none can act as an operator.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any, Final, TypeAlias

from server.core.filters import Condition, Operator
from server.core.json_text import HugeInteger
from server.core.values import Rank, order_key
from server.storage.mongo.shadow import approximate_number, escape_key

Selector: TypeAlias = dict[str, Any]

MAX_CONDITIONS: Final = 20
"""Conditions on shadows that are handed over; the others are left to the evaluator."""

MAX_DOTS: Final = 2
"""Dots of a path; each doubles the ways to read it, as a key may contain it."""

_NEVER: Final[Selector] = {"_id": {"$in": []}}

# By rank: null, string, number, boolean, array, object.
_TYPES: Final = ("null", "string", "number", "bool", "array", "object")

_OWN_RANKS: Final = {"id": Rank.STRING, "last_modified": Rank.NUMBER}

_COMPARISONS: Final = {
    Operator.EQ: "$eq",
    Operator.NOT: "$ne",
    Operator.LT: "$lt",
    Operator.GT: "$gt",
    Operator.MIN: "$gte",
    Operator.MAX: "$lte",
}


def preselect(conditions: Iterable[Condition]) -> Selector:
    """A selector that finds every object which satisfies the conditions, and maybe more.

    Conditions on ``id`` and ``last_modified`` are exact.

    Args:
        conditions: as ``ListQuery`` has them.

    Returns:
        A MongoDB query on ``id``, ``last_modified`` and ``q``; ``{}`` if
        nothing can be excluded.
    """
    own: list[Selector] = []
    shadowed: list[Selector] = []
    for condition in conditions:
        if condition.field in _OWN_RANKS:
            own.append(_own_selector(condition))
        elif len(shadowed) < MAX_CONDITIONS:
            shadowed.append(_shadow_selector(condition))
    every = [selector for selector in own if selector]
    certain = [selector for selector in shadowed if selector]
    if certain:
        every.append({"$or": [{"q": None}, {"$and": certain}]})
    if not every:
        return {}
    return every[0] if len(every) == 1 else {"$and": every}


def _own_selector(condition: Condition) -> Selector:
    """The selector for ``id`` and ``last_modified``, which are always there and of one type."""
    field, operator, value = condition.field, condition.operator, condition.value
    rank = _OWN_RANKS[field]
    if operator in (Operator.IN, Operator.EXCLUDE):
        operands = [_operand(element) for element in value if order_key(element)[0] == rank]
        return {field: {"$in" if operator is Operator.IN else "$nin": operands}}
    if operator is Operator.HAS:
        return {} if value else _NEVER
    if operator is Operator.LIKE:
        return {} if rank == Rank.STRING else _NEVER
    comparison = _COMPARISONS.get(operator)
    if comparison is None:
        return _NEVER
    if order_key(value)[0] == rank:
        return {field: {comparison: _operand(value)}}
    # Of another type, so the types alone decide, whatever the value is.
    return {} if condition.test("" if rank == Rank.STRING else 0) else _NEVER


def _shadow_selector(condition: Condition) -> Selector:
    paths = _shadow_paths(condition.field)
    if not paths:
        return {}
    return _SELECTORS[condition.operator](paths, condition.value)


def _shadow_paths(field: str) -> list[str]:
    """Every path in the shadow that a dotted field may mean, the literal key first.

    None at all if they are too many.
    """
    parts = field.split(".")
    if len(parts) - 1 > MAX_DOTS:
        return []
    paths = []
    for joints in product((False, True), repeat=len(parts) - 1):
        readings = [parts[0]]
        for part, nested in zip(parts[1:], joints, strict=True):
            if nested:
                readings.append(part)
            else:
                readings[-1] += f".{part}"
        paths.append(".".join(["q", *map(escape_key, readings)]))
    return paths


def _operand(value: Any) -> Any:
    """A scalar as the shadow has it, or a list of scalars."""
    if isinstance(value, list):
        return [_operand(element) for element in value]
    if isinstance(value, int | float | HugeInteger) and not isinstance(value, bool):
        return approximate_number(value)
    return value


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, list | dict)


def _is_operand(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_scalar(element) for element in value)
    return _is_scalar(value)


def _any_of(selectors: Sequence[Selector]) -> Selector:
    return selectors[0] if len(selectors) == 1 else {"$or": list(selectors)}


def _any_path(paths: Sequence[str], test: Selector) -> Selector:
    return _any_of([{path: test} for path in paths])


def _types(ranks: Iterable[int]) -> list[str]:
    return [_TYPES[rank] for rank in ranks]


def _eq(paths: Sequence[str], value: Any) -> Selector:
    if not _is_operand(value):
        return _any_path(paths, {"$type": "array" if isinstance(value, list) else "object"})
    return _any_path(paths, {"$eq": _operand(value)})


def _in(paths: Sequence[str], values: Any) -> Selector:
    if not all(map(_is_operand, values)):
        return {}
    return _any_path(paths, {"$in": [_operand(value) for value in values]})


def _at_most(paths: Sequence[str], value: Any) -> Selector:
    # Not $lt: two numbers beyond 64 bits may have one shadow.
    rank = order_key(value)[0]
    if not _is_scalar(value):
        return _any_path(paths, {"$type": _types(range(rank + 1))})
    same = [{path: {"$lte": _operand(value)}} for path in paths]
    lower = [{path: {"$type": _types(range(rank))}} for path in paths if rank]
    return _any_of([*same, *lower])


def _at_least(paths: Sequence[str], value: Any) -> Selector:
    rank = order_key(value)[0]
    if rank == Rank.NULL:
        return {}
    # A missing field matches. Whether it is, the database can say of the literal key alone,
    # which comes first, and wins where it is there.
    path = paths[0]
    missing = {path: {"$exists": False}}
    if not _is_scalar(value):
        return _any_of([missing, {path: {"$type": _types(range(rank, Rank.MISSING))}}])
    higher = {path: {"$type": _types(range(rank + 1, Rank.MISSING))}}
    return _any_of([missing, {path: {"$gte": _operand(value)}}, higher])


def _like(paths: Sequence[str], _: Any) -> Selector:
    return _any_path(paths, {"$type": "string"})


def _has(paths: Sequence[str], value: Any) -> Selector:
    if value:
        return _any_path(paths, {"$exists": True})
    return {paths[0]: {"$exists": False}}


def _contains(paths: Sequence[str], values: Any) -> Selector:
    if not values or not all(map(_is_scalar, values)):
        return _any_path(paths, {"$type": "array"})
    return _any_path(paths, {"$type": "array", "$all": [_operand(value) for value in values]})


def _contains_any(paths: Sequence[str], values: Any) -> Selector:
    if not all(map(_is_scalar, values)):
        return _any_path(paths, {"$type": "array"})
    return _any_path(paths, {"$type": "array", "$in": [_operand(value) for value in values]})


def _nothing(paths: Sequence[str], value: Any) -> Selector:
    """What is not equal is most of a list: left to the evaluator."""
    return {}


_SELECTORS: Final[dict[Operator, Callable[[Sequence[str], Any], Selector]]] = {
    Operator.EQ: _eq,
    Operator.NOT: _nothing,
    Operator.LT: _at_most,
    Operator.GT: _at_least,
    Operator.MIN: _at_least,
    Operator.MAX: _at_most,
    Operator.IN: _in,
    Operator.EXCLUDE: _nothing,
    Operator.LIKE: _like,
    Operator.HAS: _has,
    Operator.CONTAINS: _contains,
    Operator.CONTAINS_ANY: _contains_any,
}
