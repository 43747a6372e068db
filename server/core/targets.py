"""The target of a request: its path and query string, decoded."""

import re
from urllib.parse import parse_qsl, unquote

from server.core.errors import invalid
from server.core.paths import invalid_id

PREFIX = "/v1"

_AUTHORITY = re.compile(r"https?://[^/]*", re.IGNORECASE)


def strip_authority(target: str) -> str:
    """The path of a target that may be a whole URL, as proxies send it."""
    if target.startswith("/"):
        return target
    found = _AUTHORITY.match(target)
    return target[found.end() :] or "/" if found else target


def read_utf8(target: str) -> str:
    """A target as its sender meant it: what came as bytes beyond ASCII is UTF-8.

    Args:
        target: or a piece of it, one character a byte, as Tornado reads it.

    Raises:
        InvalidParameters: If it is no UTF-8.
    """
    if target.isascii():
        return target
    try:
        return target.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise invalid("path", "", "should be UTF-8, percent-encoded") from None


def decode_path(raw: str) -> str:
    """A path's segments, percent-decoded.

    Raises:
        InvalidParameters: If a segment is no UTF-8, or has a slash in it.
    """
    if "%" not in raw:
        return raw
    try:
        segments = [unquote(segment, errors="strict") for segment in raw.split("/")]
    except UnicodeDecodeError:
        raise invalid("path", "", "should be UTF-8, percent-encoded") from None
    if any("/" in segment for segment in segments):
        raise invalid_id()
    return "/".join(segments)


def parse_arguments(query: str) -> list[tuple[str, str]]:
    """The pairs of a query string in order, decoded, duplicates kept.

    Raises:
        InvalidParameters: If it is no UTF-8.
    """
    if not query:
        return []
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise invalid("querystring", "", "should be UTF-8, percent-encoded") from None
