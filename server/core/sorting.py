"""The order of a list, and where in it a page ends.

A page ends at the raw values of its last object's sort keys, not at an
offset, so writes between two pages neither repeat nor hide an object that
they didn't touch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from server.core.values import MISSING, Rank, find_value, order_key


@dataclass(frozen=True, slots=True)
class SortKey:
    """One field to sort by.

    Attributes:
        field: dotted path.
        descending: whether the greatest value comes first; a missing field
            is greater than every value.
    """

    field: str
    descending: bool = False


Order = tuple[SortKey, ...]

DEFAULT_ORDER: Order = (SortKey("last_modified", descending=True), SortKey("id"))


def full_order(sort: Sequence[SortKey], unique: str = "id") -> Order:
    """The given keys and the implicit ones: ``-last_modified``, then the unique field.

    Without a last tie-breaker, paging would lose objects of equal keys.

    Args:
        sort: what the client asked for.
        unique: the field that no two objects of the list share.
    """
    named = {key.field for key in sort}
    implicit = (SortKey("last_modified", descending=True), SortKey(unique))
    return (*sort, *(key for key in implicit if key.field not in named))


def sort_key(order: Sequence[SortKey], data: Mapping[str, Any]) -> tuple[Any, ...]:
    """A value that sorts with ``<`` as the object stands in the list."""
    return tuple(
        [_directed(find_value(data, key.field), descending=key.descending) for key in order]
    )


def keys_of(order: Sequence[SortKey], data: Mapping[str, Any]) -> list[list[Any]]:
    """The raw values of an object's sort keys, for a page token.

    Returns:
        One list a key: ``[value]``, or ``[]`` where the object lacks the field.
    """
    found = [find_value(data, key.field) for key in order]
    return [[] if value is MISSING else [value] for value in found]


def sort_key_at(order: Sequence[SortKey], keys: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The sort key of the object whose raw values ``keys_of`` gave."""
    return tuple(
        _directed(value[0] if value else MISSING, descending=key.descending)
        for key, value in zip(order, keys, strict=True)
    )


def is_after(
    order: Sequence[SortKey], data: Mapping[str, Any], last_keys: Sequence[Sequence[Any]]
) -> bool:
    """Whether an object stands after the end of the page that ``last_keys`` describe."""
    return sort_key(order, data) > sort_key_at(order, last_keys)


class _Reversed:
    """Sorts the other way round."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and bool(self.key == other.key)

    def __lt__(self, other: "_Reversed") -> bool:
        return bool(other.key < self.key)

    def __gt__(self, other: "_Reversed") -> bool:
        return bool(other.key > self.key)

    __hash__ = None  # type: ignore[assignment]


def _directed(value: Any, *, descending: bool) -> tuple[Any, ...]:
    key = order_key(value)
    if not descending:
        return key
    rank = key[0]
    if rank != Rank.NUMBER:
        return (-rank, _Reversed(key))
    number = key[1]
    # Unary minus would round a Decimal to the context's precision.
    return (-rank, number.copy_negate() if isinstance(number, Decimal) else -number)
