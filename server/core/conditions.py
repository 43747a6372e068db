"""Conditions as a query string spells them: an operator's prefix and a field, and a value.

A value is JSON if it can be read as such, else it is the text itself. ``id``
and ``last_modified`` have a type of their own, and are held to it.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, Final

from server.core.errors import InvalidParameters, invalid
from server.core.filters import Condition, Operator
from server.core.json_text import BadJSON, HugeInteger, parse_json
from server.core.positions import Position, parse_cursor
from server.core.values import MAX_PATH_DOTS, MAX_PATH_LENGTH

DATE_OPERATORS: Final = {
    "_since": Operator.GT,
    "_before": Operator.LT,
    "_to": Operator.LT,
}
"""The protocol's own parameters that filter by ``last_modified``; ``_to`` is deprecated."""

_INT64_MAX: Final = (1 << 63) - 1
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_NUMBER_LENGTH: Final = 40

# The longer prefix first: contains_any_x is no contains_ of any_x.
_PREFIXES: Final = tuple(
    sorted(
        ((f"{operator}_", operator) for operator in Operator if operator is not Operator.EQ),
        key=lambda row: -len(row[0]),
    )
)
_LISTS: Final = frozenset({Operator.IN, Operator.EXCLUDE})
_ARRAYS: Final = frozenset({Operator.CONTAINS, Operator.CONTAINS_ANY})
_NOT_OF_DATES: Final = _ARRAYS | {Operator.LIKE, Operator.HAS}


def parse_condition(
    name: str, values: Sequence[str], known_fields: Collection[str] | None
) -> Condition:
    """Read a filter.

    Args:
        name: the parameter, ``min_age`` say.
        values: its values; given more than once, they are taken for the list of them.
        known_fields: as for ``queries.parse_query``.

    Raises:
        InvalidParameters: If the field is unknown, or the value cannot be one of it.
    """
    operator, field = _split_name(name)
    if not is_known(field, known_fields):
        raise invalid("querystring", name, f"Unknown filter field '{name}'")
    check_path(name, field)
    if field == "last_modified":
        value = _date_value(name, operator, values)
    elif field == "id":
        value = _id_value(name, operator, values)
    else:
        value = _value(name, operator, values)
    return Condition(field, operator, value, name)


def parse_date_condition(name: str, values: Sequence[str]) -> Condition:
    """Read ``_since`` and its like: a number of milliseconds, or ``null``.

    Raises:
        InvalidParameters: If it is neither, or given twice.
    """
    text = single(name, values)
    value = None if text.strip() == "null" else parse_number(name, text)
    return Condition("last_modified", DATE_OPERATORS[name], value, name)


def parse_since(values: Sequence[str]) -> Position | None:
    """Read ``_since`` if it is a cursor ``t-n``, with or without quotes; None if it has no n.

    Raises:
        InvalidParameters: If it looks like a cursor and is none, or is given twice.
    """
    text = single("_since", values).strip()
    # What begins with a dash is a number below 0.
    return parse_cursor(text, "_since") if "-" in text.strip('"')[1:] else None


def parse_number(name: str, text: str) -> int | float:
    """Read a number that is not negative, with or without quotes.

    Raises:
        InvalidParameters: If it is none, or needs more than 64 bits.
    """
    digits = text.strip()
    if len(digits) > 1 and digits[0] == digits[-1] == '"':
        digits = digits[1:-1].strip()
    if not digits or len(digits) > _NUMBER_LENGTH:
        raise invalid_value(name)
    if not _NUMBER.fullmatch(digits):
        raise invalid("querystring", name, f'"{digits}" is not a number')
    number = float(digits) if "." in digits else int(digits)
    if number < 0:
        raise invalid("querystring", name, f"{digits} is less than minimum value 0")
    if number > _INT64_MAX:
        raise invalid("querystring", name, f"{digits} is greater than maximum value {_INT64_MAX}")
    return number


def single(name: str, values: Sequence[str]) -> str:
    """The value of a parameter that makes sense only once.

    Raises:
        InvalidParameters: If it is given more often.
    """
    if len(values) > 1:
        raise invalid("querystring", name, f"{name} is given twice")
    return values[0]


def invalid_value(name: str) -> InvalidParameters:
    """The error for a value that the parameter cannot have."""
    return invalid("querystring", name, f"Invalid value for {name}")


def is_known(field: str, known_fields: Collection[str] | None) -> bool:
    """Whether a dotted path begins in one of the known fields; None knows all."""
    return known_fields is None or field.partition(".")[0] in known_fields


def check_path(name: str, path: str) -> None:
    """Check that looking up a dotted path costs little, whatever the object.

    Args:
        name: the parameter to blame.
        path: the path in it.

    Raises:
        InvalidParameters: If it is too long.
    """
    if len(path) > MAX_PATH_LENGTH or path.count(".") > MAX_PATH_DOTS:
        limits = f"{MAX_PATH_LENGTH} characters and {MAX_PATH_DOTS} dots"
        raise invalid("querystring", name[:80], f"A field has more than {limits}")


def _split_name(name: str) -> tuple[Operator, str]:
    for prefix, operator in _PREFIXES:
        if name.startswith(prefix) and len(name) > len(prefix):
            return operator, name[len(prefix) :]
    return Operator.EQ, name


def _parse_value(text: str) -> Any:
    try:
        return parse_json(text)
    except BadJSON:
        return text


def _parse_list(text: str) -> list[Any]:
    """A JSON array, or elements between commas; commas within JSON don't count."""
    value = _parse_value(text)
    if isinstance(value, list):
        return value
    value = _parse_value(f"[{text}]")
    if isinstance(value, list) and value:
        return value
    return [_parse_value(element) for element in text.split(",")]


def _value(name: str, operator: Operator, values: Sequence[str]) -> Any:
    if operator in _LISTS:
        return [element for text in values for element in _parse_list(text)]
    parsed = [_parse_value(text) for text in values]
    value = parsed[0] if len(parsed) == 1 else parsed
    if operator in _ARRAYS:
        return value if isinstance(value, list) else [value]
    if operator is Operator.HAS:
        return bool(value)
    if operator is Operator.LIKE and not isinstance(value, str):
        raise invalid_value(name)
    return value


def _date_value(name: str, operator: Operator, values: Sequence[str]) -> Any:
    """A date in ms, or several for ``in_`` and ``exclude_``."""
    if operator in _NOT_OF_DATES:
        raise invalid_value(name)
    if operator in _LISTS:
        dates = _value(name, operator, values)
        if not all(type(date) in (int, float) for date in dates):
            raise invalid_value(name)
        return dates
    text = single(name, values)
    try:
        return parse_number(name, text)
    except InvalidParameters:
        if operator is Operator.EQ and text.strip() != "null":
            raise
        raise invalid_value(name) from None


def _id_value(name: str, operator: Operator, values: Sequence[str]) -> Any:
    """An id is a string; what reads as another type is refused, or taken for its text."""
    if operator in _ARRAYS:
        raise invalid("querystring", name, "Field 'id' is not an array")
    value = _value(name, operator, values)
    if operator in _LISTS:
        if not all(isinstance(element, str) for element in value):
            raise invalid_value(name)
        return value
    if operator is Operator.HAS or isinstance(value, str):
        return value
    text = single(name, values)
    if operator is Operator.EQ and type(value) in (int, float, HugeInteger, list):
        raise invalid("querystring", name, f"{text} is not a string: {{'id': ''}}")
    return text
