"""From the text of a setting to its value.

A parser takes the text as it stands in the environment or in the ini file and
raises ValueError, whose text completes the sentence "it must be ...".
"""

import datetime
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

Parser = Callable[[str], Any]


def about(
    help_text: str, parse: Parser, *, name: str | None = None, pattern: str | None = None
) -> dict[str, Any]:
    """What is known of a setting beside its type and default.

    Args:
        help_text: for a person, with the unit where there is one.
        parse: from its text to its value.
        name: in the ini file, where it differs from the field's.
        pattern: of the names of many settings, whose values the field holds by what
            the pattern's group has found; ``name`` is then how they are shown.
    """
    return {"help": help_text, "parse": parse, "name": name, "pattern": pattern}


_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_ID_GENERATORS = {
    "kinto.core.storage.generators.UUID4": "UUID4",
    "kinto.views.RelaxedUUID": "RelaxedUUID",
    "kinto.views.NameGenerator": "NameGenerator",
}


def parse_text(text: str) -> str:
    """The text itself; a JSON string, as Kinto takes it from the environment, is unquoted."""
    if text[:1] == '"':
        try:
            decoded = json.loads(text)
        except ValueError:
            return text
        if isinstance(decoded, str):
            return decoded
    return text


def parse_flag(text: str) -> bool:
    """True or False, in the spellings of an ini file or of JSON."""
    word = parse_text(text).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("true or false")
    return word in _TRUE


def whole_number(minimum: int, maximum: int | None = None) -> Parser:
    """A parser of whole numbers from ``minimum`` to ``maximum``, both included."""
    limits = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"

    def parse(text: str) -> int:
        try:
            number = int(parse_text(text))
        except ValueError:
            raise ValueError(f"a whole number, {limits}") from None
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(f"a whole number, {limits}")
        return number

    return parse


def parse_duration(text: str) -> float:
    """Seconds, more than none."""
    try:
        seconds = float(parse_text(text))
    except ValueError:
        raise ValueError("a number of seconds above 0") from None
    if not 0 < seconds < float("inf"):
        raise ValueError("a number of seconds above 0")
    return seconds


def parse_words(text: str) -> tuple[str, ...]:
    """Words with white space or new lines between them, or a JSON list of strings."""
    if text.lstrip()[:1] == "[":
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = None
        if not isinstance(decoded, list) or not all(isinstance(word, str) for word in decoded):
            raise ValueError("words with spaces between them, or a JSON list of strings")
        return tuple(decoded)
    return tuple(parse_text(text.strip()).split())


def parse_principals(text: str) -> frozenset[str]:
    """Principals with white space between them; no text means nobody."""
    return frozenset(parse_words(text))


def one_of(*names: str) -> Parser:
    """A parser that accepts these words only."""

    def parse(text: str) -> str:
        word = parse_text(text).strip()
        if word not in names:
            raise ValueError(" or ".join(names))
        return word

    return parse


def parse_date(text: str) -> datetime.datetime:
    """A date, with or without time, in ISO 8601; UTC where no zone is named."""
    try:
        moment = datetime.datetime.fromisoformat(parse_text(text).strip())
    except ValueError:
        raise ValueError("a date such as 2030-12-31") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def parse_id_generator(text: str) -> str:
    """``UUID4``, ``RelaxedUUID`` or ``NameGenerator``, Kinto's dotted names included."""
    word = parse_text(text).strip()
    name = _ID_GENERATORS.get(word, word)
    if name not in _ID_GENERATORS.values():
        raise ValueError(" or ".join(_ID_GENERATORS))
    return name


def parse_mongodb_uri(text: str) -> str:
    """Where MongoDB is: ``mongodb://...`` or ``mongodb+srv://...``."""
    uri = parse_text(text).strip()
    if not uri.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("an address such as mongodb://host:27017/?replicaSet=rs0")
    return uri


def find_database(uri: str) -> str | None:
    """The database that a MongoDB address names, if it names one."""
    # A Unix socket's slashes are percent-encoded, so the path begins at the first one.
    return unquote(urlsplit(uri).path.strip("/")) or None


def parse_database(text: str) -> str:
    """The name of a database, as MongoDB allows it."""
    name = parse_text(text).strip()
    if not name or len(name.encode()) > 63 or set(name) & set('/\\. "$\0'):
        raise ValueError('at most 63 bytes without / \\ . " $ or a space')
    return name
