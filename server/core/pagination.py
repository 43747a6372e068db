"""Page tokens: where the next page begins, signed so that no client can make one up."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Final

from server.core.errors import InvalidParameters, invalid
from server.core.json_text import dump_json, parse_json

MAX_TOKEN_BYTES: Final = 8192
"""Room for a token in a URL that proxies still pass on."""

_MAC_BYTES: Final = 16
_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class PageToken:
    """The end of a page.

    Attributes:
        last: the last object's sort keys, as ``sorting.keys_of`` gives them.
        position: the list's position when its first page was read; every
            page of the walk answers with its ETag.
        nonce: what makes this walk unlike others.
        issued: when the token was made, in ms.
    """

    last: list[list[Any]]
    position: int
    nonce: str
    issued: int


def make_token(secret: bytes, scope: str, token: PageToken) -> str:
    """Write a token.

    Args:
        secret: the server's key.
        scope: what the token is valid for: list URI and order, say.
        token: its content.

    Returns:
        Text for ``_token``: base64url without padding.

    Raises:
        InvalidParameters: If the sort keys are too long to be sent in a URL.
    """
    payload = dump_json([token.last, token.position, token.nonce, token.issued])
    if len(payload) > MAX_TOKEN_BYTES:
        raise invalid("querystring", "_sort", "Values are too long to be paged by this _sort")
    return _encode(payload + _sign(secret, scope, payload))


def parse_token(
    secret: bytes,
    scope: str,
    text: str,
    *,
    now: int | None = None,
    validity_seconds: int | None = None,
) -> PageToken:
    """Read a token that this server made for the same scope.

    Args:
        secret: the server's key.
        scope: as given to ``make_token``.
        text: ``_token`` as the client sent it.
        now: the server's time, in ms; needed for a validity.
        validity_seconds: how long a token lives; None is for ever.

    Raises:
        InvalidParameters: If it is not, or no longer, such a token.
    """
    signed = _decode(text)
    payload, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, _sign(secret, scope, payload)):
        raise _bad_token()
    last, position, nonce, issued = parse_json(payload)
    if now is not None and validity_seconds is not None and now > issued + validity_seconds * 1000:
        raise _bad_token()
    return PageToken(last, position, nonce, issued)


def _bad_token() -> InvalidParameters:
    return invalid("querystring", "_token", "_token has invalid content")


def _sign(secret: bytes, scope: str, payload: bytes) -> bytes:
    # The scope's length in front, or text could move between scope and payload.
    named = scope.encode()
    message = b"%d:%b%b" % (len(named), named, payload)
    return hmac.digest(secret, message, hashlib.sha256)[:_MAC_BYTES]


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    if not _ALPHABET.fullmatch(text) or len(text) % 4 == 1:
        raise _bad_token()
    content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # The last character has spare bits; only one spelling is ours.
    if _encode(content) != text:
        raise _bad_token()
    return content
