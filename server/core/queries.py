"""The query string of a list, read into one value.

Parameters that begin with an underscore steer the list; those that are not
the protocol's are left alone. Every other parameter is a filter: an operator's
prefix and a field, or the field alone for equality.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from server.core.conditions import (
    DATE_OPERATORS,
    check_path,
    invalid_value,
    is_known,
    parse_condition,
    parse_date_condition,
    parse_number,
    parse_since,
    single,
)
from server.core.errors import CursorExpired, invalid
from server.core.filters import Condition
from server.core.objects import Clock
from server.core.positions import Position, parse_cursor, spell_cursor
from server.core.sorting import DEFAULT_ORDER, Order, SortKey, full_order

MAX_PARAMETERS: Final = 1000
MAX_SORT_KEYS: Final = 100
MAX_FIELDS: Final = 1000

_DAY_MS: Final = 24 * 3600 * 1000
_SORT: Final = re.compile(r"([-+]?)([^\s+,\"'-][^\s,\"']*)")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list's query string asks for.

    Attributes:
        conditions: all of them must hold, ``_since`` and its like among them.
        sort: the keys that were asked for, without the implicit ones.
        limit: objects of a page; 0 is no limit, None not given.
        fields: paths of ``_fields``; None is the whole object.
        token: ``_token`` as it was sent; None without.
        uses_to: whether the deprecated ``_to`` was given.
        cursor: ``_since`` as a position, if it was sent as ``t-n``; it is not
            among the conditions then.
        at: ``_at``: the position as of which the list is wanted; None for now.
    """

    conditions: tuple[Condition, ...] = ()
    sort: tuple[SortKey, ...] = ()
    limit: int | None = None
    fields: tuple[str, ...] | None = None
    token: str | None = None
    uses_to: bool = False
    cursor: Position | None = None
    at: Position | None = None

    @property
    def order(self) -> Order:
        """The total order of the list: ``sort``, then the implicit keys."""
        return full_order(self.sort) if self.sort else DEFAULT_ORDER

    @property
    def since(self) -> int | None:
        """``_since`` as an ETag, in ms; None if it was not given, or as a cursor."""
        for condition in self.conditions:
            if condition.parameter == "_since" and isinstance(condition.value, int | float):
                return int(condition.value)
        return None

    @property
    def wants_tombstones(self) -> bool:
        """Whether deleted objects belong to the list: there is a filter on ``last_modified``."""
        if self.cursor is not None:
            return True
        return any(condition.field == "last_modified" for condition in self.conditions)


_EMPTY: Final = ListQuery()


def parse_query(
    arguments: Sequence[tuple[str, str]], *, known_fields: Collection[str] | None = None
) -> ListQuery:
    """Read the query string of a list.

    Args:
        arguments: its pairs in order, percent-decoded, duplicates kept.
        known_fields: top-level fields of a resource with a fixed schema;
            None where objects may have any.

    Raises:
        InvalidParameters: If a parameter cannot be understood, one of the
            protocol's own is given twice, or there are too many of them.
    """
    if not arguments:
        return _EMPTY
    given = _gather(arguments)
    at = _parse_at(given, known_fields)
    cursor = parse_since(given["_since"]) if "_since" in given else None
    if cursor is not None:
        del given["_since"]
    conditions = tuple(
        parse_date_condition(name, values)
        if name in DATE_OPERATORS
        else parse_condition(name, values, known_fields)
        for name, values in given.items()
        if name in DATE_OPERATORS or not name.startswith("_")
    )
    return ListQuery(
        conditions=conditions,
        sort=_parse_sort(_optional(given, "_sort"), known_fields),
        limit=parse_limit(_optional(given, "_limit")),
        fields=_parse_fields(_optional(given, "_fields"), known_fields),
        token=_optional(given, "_token") or None,
        uses_to="_to" in given,
        cursor=cursor,
        at=at,
    )


def parse_fields(
    arguments: Sequence[tuple[str, str]], *, known_fields: Collection[str] | None = None
) -> tuple[str, ...] | None:
    """Read ``_fields`` alone, the only parameter that a single object knows.

    Returns:
        Its paths; None for the whole object.

    Raises:
        InvalidParameters: As ``parse_query``.
    """
    if not arguments:
        return None
    return _parse_fields(_optional(_gather(arguments), "_fields"), known_fields)


def parse_at(arguments: Sequence[tuple[str, str]]) -> Position | None:
    """Read ``_at`` alone; None without it.

    Raises:
        InvalidParameters: If it is no cursor, or is given twice.
    """
    if not any(name.strip() == "_at" for name, _ in arguments):
        return None
    return _parse_at(_gather(arguments), None)


def check_dates(query: ListQuery, list_timestamp: int, now: int) -> None:
    """Check that no filter asks for a time that cannot be meant.

    Apart from parsing, because the list's timestamp is known only once it is
    read: a list that is dated ahead must accept its own ETag.

    Args:
        query: the list's query.
        list_timestamp: the list's ETag, in ms.
        now: the server's time, in ms.

    Raises:
        InvalidParameters: If a date is a day or more ahead and beyond the list's.
    """
    for condition in query.conditions:
        value = condition.value
        if (
            condition.field == "last_modified"
            and isinstance(value, int | float)
            and value >= now + _DAY_MS
            and value > list_timestamp
        ):
            raise invalid_value(condition.parameter or condition.field)


def check_cursor(query: ListQuery, clock: Clock) -> None:
    """Check that what followed the cursor of ``_since`` is known, if one was sent.

    Args:
        query: the list's query.
        clock: of the list.

    Raises:
        CursorExpired: If it is not.
    """
    if query.cursor is not None:
        check_kept(query.cursor, clock)


def check_kept(cursor: int, clock: Clock) -> None:
    """Check that a list can be read as it was at a cursor, and what followed it.

    Args:
        cursor: a position.
        clock: of the list.

    Raises:
        CursorExpired: If it is below what is kept, or ahead of the list.
    """
    if clock.oldest <= cursor <= clock.position:
        return
    reason = "floor" if cursor < clock.oldest else "ahead"
    raise CursorExpired(reason, spell_cursor(clock.position), spell_cursor(clock.oldest))


def _gather(arguments: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    if len(arguments) > MAX_PARAMETERS:
        raise invalid("querystring", "", f"More than {MAX_PARAMETERS} parameters")
    given: dict[str, list[str]] = {}
    for name, value in arguments:
        given.setdefault(name.strip(), []).append(value)
    return given


def _optional(given: dict[str, list[str]], name: str) -> str | None:
    values = given.get(name)
    return None if values is None else single(name, values)


def _parse_sort(text: str | None, known_fields: Collection[str] | None) -> tuple[SortKey, ...]:
    """Keys between commas; a malformed one is ignored, of a field named twice the first counts."""
    keys: dict[str, SortKey] = {}
    for element in (text or "").split(","):
        match = _SORT.fullmatch(element.strip())
        if match is None or match[2] in keys:
            continue
        field = match[2]
        if not is_known(field, known_fields):
            raise invalid("querystring", "", f"Unknown sort field '{field}'")
        check_path("_sort", field)
        keys[field] = SortKey(field, descending=match[1] == "-")
    if len(keys) > MAX_SORT_KEYS:
        raise invalid("querystring", "_sort", f"_sort has more than {MAX_SORT_KEYS} fields")
    return tuple(keys.values())


_NO_PAST: Final = ("_since", "_wait")
"""What asks for changes; of a state of the past there are none."""


def _parse_at(given: dict[str, list[str]], known_fields: Collection[str] | None) -> Position | None:
    text = _optional(given, "_at")
    if text is None:
        return None
    if known_fields is not None:
        raise invalid("querystring", "_at", "is for objects and lists only")
    for name in _NO_PAST:
        if name in given:
            raise invalid("querystring", "_at", f"cannot be given together with {name}")
    return parse_cursor(text.strip(), "_at")


def parse_limit(text: str | None) -> int | None:
    """Read ``_limit``; None for what is as if not given.

    Raises:
        InvalidParameters: If it is no number, or a negative one.
    """
    if text is None or text.strip() in ("", '""', "null"):
        return None
    return int(parse_number("_limit", text))


def _parse_fields(text: str | None, known_fields: Collection[str] | None) -> tuple[str, ...] | None:
    names = (name.strip() for name in (text or "").split(","))
    fields = tuple(dict.fromkeys(name for name in names if name))
    if not fields:
        return None
    if len(fields) > MAX_FIELDS:
        raise invalid("querystring", "_fields", f"_fields has more than {MAX_FIELDS} fields")
    unknown = sorted({field for field in fields if not is_known(field, known_fields)})
    if unknown:
        raise invalid("querystring", "_fields", f"Fields {','.join(unknown)} do not exist")
    for field in fields:
        check_path("_fields", field)
    return fields
