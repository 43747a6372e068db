"""JSON Web Tokens that somebody else has signed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jwt

ALGORITHMS = (
    "RS256", "RS384", "RS512",
    "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512",
    "EdDSA",
)  # fmt: skip
"""Signatures by a private key. ``none`` is no signature, and with ``HS256`` the public
key, which everybody knows, would be taken for a secret."""

LEEWAY_SECONDS = 10
"""By which the clocks of two machines may differ."""

KEYS_MAX = 8
"""That are tried for a token that does not name its key."""

_FAMILIES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


def read_claims(token: str) -> Mapping[str, Any] | None:
    """What a token says of itself, unproven; None for what is no such token."""
    try:
        claims: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return None
    return claims


def read_key_id(token: str) -> str | None:
    """The id of the key that a token says it was signed with; None if it names none."""
    kid = _read_header(token).get("kid")
    return kid if isinstance(kid, str) else None


def _read_header(token: str) -> Mapping[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        return {}


def verify_token(
    token: str, keys: Iterable[Mapping[str, Any]], issuer: str, audience: str
) -> Mapping[str, Any] | None:
    """What a token says, if all of it is proven.

    Args:
        token: as it was sent.
        keys: of the issuer, as its JWKS has them.
        issuer: that must have issued it.
        audience: that it must be for.

    Returns:
        The claims; None if it is no such token, its signature is of no such key, it
        has expired or has no end, or it is another issuer's or for another audience.

    Source: RFC 7519, section 7.2; RFC 8725, sections 3.1, 3.8 and 3.9.
    """
    header = _read_header(token)
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        return None
    for key in _find_keys(keys, header.get("kid"), algorithm):
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(dict(key), algorithm),
                algorithms=[algorithm],
                issuer=issuer,
                audience=audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        return claims
    return None


def _find_keys(
    keys: Iterable[Mapping[str, Any]], kid: Any, algorithm: str
) -> Sequence[Mapping[str, Any]]:
    """The keys that may have signed a token."""
    found = [
        key
        for key in keys
        if key.get("kty") == _FAMILIES[algorithm[:2]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (kid is None or key.get("kid") == kid)
    ]
    return found[:KEYS_MAX]
