"""Positions: where in a list's commit order a change stands.

A position is the pair (t, n): ``t`` is the list's timestamp in milliseconds,
which is its ETag; ``n`` counts the changes that were dated in the past and so
left ``t`` as it was. It is held as one integer, ``(t << 20) + n``, which sorts
as the pair does and fits 63 bits. Spelled ``"t"`` as an ETag and ``t-n`` as a
cursor.
"""

import re
from email.utils import formatdate
from functools import lru_cache
from typing import NewType

from server.core.errors import invalid

Timestamp = NewType("Timestamp", int)
Position = NewType("Position", int)

SEQUENCE_BITS = 20
SEQUENCE_MAX = (1 << SEQUENCE_BITS) - 1
TIMESTAMP_MAX = 1 << 42
"""The greatest date a client may give: the year 2109."""

CLOCKS_APART_MS = 120_000
"""By which the clocks of two servers may disagree: each is held to a minute."""

_CURSOR = re.compile(r'(")?([0-9]{1,13})(?:-([0-9]{1,7}))?(?(1)")')
_T_LIMIT = 1 << 43
"""What a position of 63 bits has room for; beyond it is no time of any list."""


def make_position(t: int, n: int = 0) -> Position:
    """The position (t, n)."""
    return Position((t << SEQUENCE_BITS) + n)


def timestamp_of(position: int) -> Timestamp:
    """The ``t`` of a position, in milliseconds."""
    return Timestamp(position >> SEQUENCE_BITS)


def sequence_of(position: int) -> int:
    """The ``n`` of a position."""
    return position & SEQUENCE_MAX


def next_position(clock: int, now: int) -> Position:
    """The position of a write that the server dates: later than all, and not before ``now``."""
    return make_position(max(timestamp_of(clock) + 1, now))


def dated_position(clock: int, date: int, now: int) -> tuple[Position, Timestamp]:
    """Position and ``last_modified`` of a write that the client dates.

    A date beyond the list's clock becomes its clock; one before it is kept
    and leaves ``t`` as it is; the clock itself, or a spent ``n``, is dated by
    the server at ``t + 1`` or ``now``.

    Args:
        clock: the list's position now.
        date: the client's ``last_modified``, in ms.
        now: the server's time, in ms.
    """
    t = timestamp_of(clock)
    if date > t:
        return make_position(date), Timestamp(date)
    if date == t or sequence_of(clock) == SEQUENCE_MAX:
        position = next_position(clock, now if date != t else 0)
        return position, timestamp_of(position)
    return Position(clock + 1), Timestamp(date)


def exact_position(clock: int, date: int) -> Position:
    """Position of a write whose ``last_modified`` is the given date, whatever the list's clock.

    Once ``n`` is spent, ``t`` moves.
    """
    return make_position(date) if date > timestamp_of(clock) else Position(clock + 1)


def spell_etag(timestamp: int) -> str:
    """``"<int>"``, with its quotes."""
    return f'"{timestamp}"'


def spell_cursor(position: int) -> str:
    """``t`` or ``t-n``."""
    n = sequence_of(position)
    return f"{timestamp_of(position)}-{n}" if n else str(timestamp_of(position))


def spell_full_cursor(position: int) -> str:
    """``t-n``, also where n is 0: as ``_since`` it is a cursor and no ETag."""
    return f"{timestamp_of(position)}-{sequence_of(position)}"


def last_position(timestamp: int) -> Position:
    """The last position that has this timestamp."""
    return make_position(timestamp, SEQUENCE_MAX)


def parse_cursor(text: str, name: str = "cursor") -> Position:
    """Read a cursor or an ETag.

    Args:
        text: as it was sent.
        name: of the parameter.

    Raises:
        InvalidParameters: If it is neither.
    """
    match = _CURSOR.fullmatch(text)
    t, n = (int(match[2]), int(match[3] or 0)) if match else (_T_LIMIT, 0)
    if t >= _T_LIMIT or n > SEQUENCE_MAX:
        raise invalid("querystring", name, "Invalid cursor: should be a number, or t-n")
    return make_position(t, n)


def spell_date(timestamp: int) -> str:
    """A timestamp as ``Last-Modified`` has it: HTTP date, whole seconds."""
    return _spell_second(timestamp // 1000)


@lru_cache(maxsize=1024)
def _spell_second(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
