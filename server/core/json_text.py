"""JSON as this server reads and stores it: strict in, exact out.

Reading is RFC 8259 to the letter (the standard library's scanner; ujson lets
``01``, ``1.`` and control characters through). Writing what has been read is
ujson's, which is faster. Integers keep every digit.
"""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

import ujson

MAX_DEPTH = 200
"""Levels of nesting, the outermost object counted as one."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class BadJSON(ValueError):
    """The text is no JSON that can be stored; the message says why."""


class HugeInteger:
    """An integer of more digits than the interpreter converts; kept as its digits.

    The limit (4,300 digits) is there because conversions are quadratic.
    """

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def __json__(self) -> str:
        """The digits, as ujson writes them."""
        return self.digits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HugeInteger) and self.digits == other.digits

    def __hash__(self) -> int:
        return hash(self.digits)

    def __repr__(self) -> str:
        return f"HugeInteger({self.digits!r})"

    @property
    def decimal(self) -> Decimal:
        """Its value, comparable with other numbers."""
        return Decimal(self.digits)


def parse_json(text: bytes | str) -> Any:
    """Read JSON from a client.

    Raises:
        BadJSON: If it is not UTF-8, not JSON, holds NaN, an infinity, a lone
            surrogate, a number beyond a double's range, or is nested deeper
            than ``MAX_DEPTH``.
    """
    if isinstance(text, bytes):
        text = _decode(text)
    elif _SURROGATE.search(text):
        raise BadJSON(_LONE)
    try:
        value = _scan(text)
    except RecursionError:
        raise BadJSON(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise BadJSON(f"Invalid JSON: {error}") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and measure_depth(value) > MAX_DEPTH:
        raise BadJSON(_TOO_DEEP)
    if _ESCAPED_SURROGATE.search(text) and _SURROGATE.search(dump_text(value)):
        raise BadJSON(_LONE)
    return value


_LONE = "Invalid JSON: lone surrogates are not characters"
_TOO_DEEP = f"Invalid JSON: nested deeper than {MAX_DEPTH} levels"


def _decode(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadJSON(f"Invalid JSON: not UTF-8 at byte {error.start}") from None


def _scan(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if isinstance(error, BadJSON):
            raise
        return _HUGE_DECODER.decode(text)


def _refuse_constant(name: str) -> NoReturn:
    raise BadJSON(f"Invalid JSON: {name} is not a JSON value")


def _parse_float(digits: str) -> float:
    value = float(digits)
    if value - value != 0:
        raise BadJSON(f"Invalid JSON: {digits[:20]} is beyond the range of numbers")
    return value


def _parse_int(digits: str) -> "int | HugeInteger":
    # The same limit as the other decoder's, so that a number is the same whatever stands beside it.
    try:
        return int(digits)
    except ValueError:
        return HugeInteger(digits)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_parse_float)
_HUGE_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_parse_float, parse_int=_parse_int
)


def measure_depth(value: Any) -> int:
    """Levels of nesting, counted without recursion; a scalar has none."""
    depth = 0
    level = [value]
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            else:
                continue
        depth += any(isinstance(item, dict | list) for item in level)
        level = below
    return depth


def dump_text(value: Any) -> str:
    """The JSON text of a value, without spaces."""
    return ujson.dumps(value, ensure_ascii=False, escape_forward_slashes=False)


def dump_json(value: Any) -> bytes:
    """The JSON text of a value, UTF-8, without spaces."""
    return dump_text(value).encode()


def load_json(text: bytes) -> Any:
    """Read what this server wrote itself; nothing is checked."""
    try:
        return ujson.loads(text)
    except ValueError:
        # Digits past the interpreter's limit, or deeper than ujson goes.
        return _scan(text.decode())
