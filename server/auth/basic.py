"""Basic auth without accounts: whoever says the same name and password is the same user."""

import hashlib
import hmac
from base64 import b64decode
from binascii import Error

from server.core.errors import InvalidAuth
from server.core.permissions import Actor, make_actor


class BasicAuthenticator:
    """Makes the user id from the credentials by HMAC; nothing is stored.

    Attributes:
        name: of the policy.
        challenge: value of ``WWW-Authenticate``.
    """

    challenge = 'Basic realm="Realm"'

    def __init__(self, name: str, secret: str) -> None:
        self.name = name
        self._secret = secret.encode()

    async def authenticate(self, authorization: str) -> Actor | None:
        """A user whose id has 64 hexadecimal digits; see ``Authenticator``."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        credentials = parse_credentials(encoded)
        user = hmac.digest(self._secret, credentials, hashlib.sha256).hex()
        return make_actor(f"{self.name}:{user}")


def parse_credentials(encoded: str) -> bytes:
    """``user:password`` of a basic ``Authorization``.

    Raises:
        InvalidAuth: If it is not base64, or names no user.
    """
    try:
        credentials = b64decode(encoded.strip(), validate=True)
    except (Error, ValueError):
        raise InvalidAuth("Authorization is not base64.") from None
    user, colon, _ = credentials.partition(b":")
    if not user or not colon:
        raise InvalidAuth("Authorization should be base64 of user:password.")
    return credentials
