"""If-Match and If-None-Match: may this request proceed?

Strict equality of timestamps (API 1.15). RFC 9110, sections 13.1.1 and 13.1.2.
"""

import re
from dataclasses import dataclass
from typing import Final

from server.core.errors import ModifiedMeanwhile, invalid
from server.core.positions import spell_etag

ANY: Final = -1
"""Stands for ``*``."""

_ETAG = re.compile(r'"([0-9]{1,20})"')


@dataclass(frozen=True, slots=True)
class Precondition:
    """What the client believes about what it reads or writes.

    Attributes:
        match: timestamp of ``If-Match`` in ms, or ``ANY``; None if not given.
        none_match: the same of ``If-None-Match``.
    """

    match: int | None = None
    none_match: int | None = None


NONE = Precondition()


def parse_precondition(if_match: str | None, if_none_match: str | None) -> Precondition:
    """Read the two headers; an empty one is as if not given.

    Raises:
        InvalidParameters: If one is neither ``*`` nor an integer in double quotes.
    """
    if not if_match and not if_none_match:
        return NONE
    return Precondition(_parse("If-Match", if_match), _parse("If-None-Match", if_none_match))


def _parse(name: str, value: str | None) -> int | None:
    if not value:
        return None
    if value == "*":
        return ANY
    match = _ETAG.fullmatch(value)
    if match is None:
        raise invalid("header", name, "The value should be integer between double quotes.")
    return int(match[1])


def not_modified(precondition: Precondition, current: int) -> bool:
    """Whether a read is answered by 304: the client has what is there."""
    return precondition.none_match == current


def check_read(precondition: Precondition, current: int) -> None:
    """Check that a read may be answered; 304 is ``not_modified``.

    Args:
        precondition: what the client believes.
        current: timestamp of the object or list that exists, in ms.

    Raises:
        ModifiedMeanwhile: If ``If-Match`` names another state, or
            ``If-None-Match: *`` asks that there be none.
    """
    differs = precondition.match not in (None, ANY, current)
    if differs or precondition.none_match == ANY:
        raise ModifiedMeanwhile(spell_etag(current))


def is_refused(precondition: Precondition, current: int | None) -> bool:
    """Whether a write must not happen.

    Args:
        precondition: what the client believes.
        current: timestamp of what is to be written, in ms; None if there is none.
    """
    if precondition.match is not None:
        if current is None or precondition.match not in (ANY, current):
            return True
    return precondition.none_match == ANY and current is not None
