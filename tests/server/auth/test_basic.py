import hashlib
import hmac
from base64 import b64encode

import pytest

from server.auth.basic import BasicAuthenticator, parse_credentials
from server.core.errors import InvalidAuth
from server.core.permissions import make_actor

POLICY = BasicAuthenticator("basicauth", "key")


def header(credentials: bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {b64encode(credentials).decode()}"


@pytest.mark.gen_test
async def test_user_is_the_hmac_of_name_and_password_as_kinto_makes_it() -> None:
    expected = hmac.new(b"key", b"alice:secret", hashlib.sha256).hexdigest()
    actor = make_actor(f"basicauth:{expected}")
    assert await POLICY.authenticate(header(b"alice:secret")) == actor
    assert await POLICY.authenticate(header(b"alice:secret", "bAsIc")) == actor


@pytest.mark.gen_test
async def test_another_password_or_secret_is_another_user() -> None:
    users = {
        await policy.authenticate(header(credentials))
        for policy in (POLICY, BasicAuthenticator("basicauth", "other"))
        for credentials in (b"alice:secret", b"alice:Secret", b"alice:", b"bob:secret")
    }
    assert len(users) == 8


@pytest.mark.gen_test
@pytest.mark.parametrize("text", ["Bearer YTpi", "Basically YTpi", "YTpi", ""])
async def test_header_of_another_scheme_is_none_of_its_business(text: str) -> None:
    assert await POLICY.authenticate(text) is None


@pytest.mark.parametrize(
    ("credentials", "encoded"),
    [
        (b"a:b", "YTpi"),
        (b"a:b:c", " YTpiOmM= "),
        (b"a:", "YTo="),
        ("é:ü".encode(), b64encode("é:ü".encode()).decode()),
        (b"\xff:\x00", b64encode(b"\xff:\x00").decode()),
    ],
)
def test_credentials_are_whatever_bytes_were_sent(credentials: bytes, encoded: str) -> None:
    assert parse_credentials(encoded) == credentials


@pytest.mark.parametrize(
    "encoded", ["", "!", "YTpi!", "YTp", "é", b64encode(b"nocolon").decode(), "OnBhc3N3b3Jk"]
)
def test_credentials_that_cannot_be_read_are_refused(encoded: str) -> None:
    with pytest.raises(InvalidAuth):
        parse_credentials(encoded)
