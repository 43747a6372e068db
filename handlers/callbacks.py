"""Where a login may send its user, and with them their token."""

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

LOCAL_CALLBACKS = ("http://localhost:*/*", "http://127.0.0.1:*/*")
"""Programs on the user's own machine."""

CALLBACK_MAX_LENGTH = 2048

_PORTS = {"http": "80", "https": "443"}
_HOST_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + ".-*")
_ADDRESS_CHARACTERS = frozenset(string.hexdigits.lower() + ":.")
_PORT_CHARACTERS = frozenset(string.digits + "*")


@dataclass(frozen=True, slots=True)
class _Parts:
    """A URL, cut where browsers cut it."""

    scheme: str
    host: str
    port: str
    rest: str


class Callbacks:
    """The URLs to which tokens may be sent."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Begin.

        Args:
            patterns: URLs with ``*`` for anything in host, port or what follows.
        """
        self._patterns: Sequence[_Parts] = [
            parts for pattern in patterns if (parts := _cut(pattern)) is not None
        ]

    def allow(self, url: str) -> bool:
        """Whether a URL is one of them, however a browser reads it."""
        parts = _cut(url) if len(url) <= CALLBACK_MAX_LENGTH else None
        return parts is not None and any(_fits(parts, pattern) for pattern in self._patterns)


def _fits(parts: _Parts, pattern: _Parts) -> bool:
    return parts.scheme == pattern.scheme and all(
        _matches(text, wanted)
        for text, wanted in (
            (parts.host, pattern.host),
            (parts.port, pattern.port),
            (parts.rest, pattern.rest),
        )
    )


def _matches(text: str, pattern: str) -> bool:
    pieces = (re.escape(piece) for piece in pattern.split("*"))
    return re.fullmatch(".*".join(pieces), text) is not None


def _cut(url: str) -> _Parts | None:
    """The parts of a URL; None where a browser might cut it otherwise."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        split = urlsplit(url)
    except ValueError:
        return None
    host = split.hostname or ""
    is_address = split.netloc.startswith("[")
    port = split.netloc.rpartition("]")[2].partition(":")[2]
    if (
        split.scheme not in _PORTS
        or "@" in split.netloc
        or not host
        or not set(host) <= (_ADDRESS_CHARACTERS if is_address else _HOST_CHARACTERS)
        or not set(port) <= _PORT_CHARACTERS
        or _leads_elsewhere(split.path)
    ):
        return None
    rest = url[url.index("//") + 2 + len(split.netloc) :] or "/"
    return _Parts(split.scheme, host, port or _PORTS[split.scheme], rest)


def _leads_elsewhere(path: str) -> bool:
    """Whether a browser would take segments of a path for steps upwards."""
    segments = path.lower().replace("%2e", ".").replace("\\", "/").split("/")
    return "." in segments or ".." in segments
