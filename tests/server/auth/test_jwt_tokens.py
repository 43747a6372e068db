import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from server.auth.jwt_tokens import read_claims, read_key_id, verify_token
from tests.identity import AUDIENCE, KEY, OTHER_KEY, ScriptedProvider, public_jwk

ISSUER = "https://issuer"
SIGNER = ScriptedProvider(ISSUER, {})
KEYS = [public_jwk(KEY, "one")]


def verify(token: str, keys: Any = None) -> Any:
    return verify_token(token, KEYS if keys is None else keys, ISSUER, AUDIENCE)


def unsigned(header: dict[str, str]) -> str:
    payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": 4_000_000_000}
    pieces = [base64.urlsafe_b64encode(json.dumps(one).encode()) for one in (header, payload)]
    return ".".join(piece.rstrip(b"=").decode() for piece in pieces) + "."


def signed_by_the_public_key() -> str:
    """By HMAC, with the public key taken for a secret, which PyJWT refuses to make."""
    secret = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    message = unsigned({"alg": "HS256", "kid": "one"}).rstrip(".")
    signature = jwt.get_algorithm_by_name("HS256").sign(message.encode(), secret)
    return f"{message}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_token_that_the_issuer_has_signed_for_this_audience_is_believed() -> None:
    claims = verify(SIGNER.sign(email="a@b"))
    assert (claims["sub"], claims["email"]) == ("alice", "a@b")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1_000_000_000},
        {"exp": None},
        {"nbf": 4_000_000_000},
        {"iss": "https://another"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["one", "another"]},
        {"aud": None},
        {"key": OTHER_KEY},
        {"kid": "another"},
    ],
    ids=str,
)
def test_token_that_is_expired_forged_or_foreign_is_not(claims: dict[str, Any]) -> None:
    assert verify(SIGNER.sign(**claims)) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "opaque",
        "a.b.c",
        unsigned({"alg": "none"}),
        unsigned({"alg": "RS256", "kid": "one"}),
        unsigned({"kid": "one"}),
        signed_by_the_public_key(),
        SIGNER.sign()[:-8],
    ],
    ids=range(8),
)
def test_token_without_a_signature_by_a_private_key_is_not_believed(token: str) -> None:
    assert verify(token) is None


def test_token_whose_claims_were_changed_is_not_believed() -> None:
    head, _, signature = SIGNER.sign().split(".")
    _, other, _ = SIGNER.sign(sub="mallory").split(".")
    assert verify(f"{head}.{other}.{signature}") is None


def test_token_that_names_no_key_is_tried_with_each() -> None:
    keys = [public_jwk(OTHER_KEY, "two"), public_jwk(KEY, "one")]
    assert verify(SIGNER.sign(kid=None), keys)["sub"] == "alice"
    assert verify(SIGNER.sign(kid=None), keys[:1]) is None


@pytest.mark.parametrize(
    "jwk",
    [
        {**KEYS[0], "use": "enc"},
        {**KEYS[0], "alg": "RS512"},
        {"kty": "oct", "kid": "one", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "one"},
        {},
    ],
    ids=range(5),
)
def test_key_that_is_for_something_else_or_none_at_all_proves_nothing(
    jwk: dict[str, Any],
) -> None:
    assert verify(SIGNER.sign(), [jwk]) is None


@pytest.mark.parametrize("algorithm", ["RS512", "PS256"])
def test_key_that_names_no_algorithm_is_good_for_all_of_its_kind(algorithm: str) -> None:
    assert verify(SIGNER.sign(algorithm=algorithm))["sub"] == "alice"


def test_elliptic_curves_are_known_too() -> None:
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    keys = [
        {**json.loads(ECAlgorithm.to_jwk(curve.public_key())), "kid": "ec"},
        {**json.loads(OKPAlgorithm.to_jwk(edwards.public_key())), "kid": "ed"},
    ]
    assert verify(SIGNER.sign(curve, "ec", "ES256"), keys)["sub"] == "alice"
    assert verify(SIGNER.sign(edwards, "ed", "EdDSA"), keys)["sub"] == "alice"


def test_claims_and_key_are_read_unproven_of_what_is_a_token() -> None:
    token = SIGNER.sign(OTHER_KEY, "two")
    assert (read_claims(token) or {})["sub"] == "alice"
    assert read_key_id(token) == "two"
    assert (read_claims("opaque"), read_key_id("opaque")) == (None, None)
    assert read_key_id(SIGNER.sign(kid=None)) is None
