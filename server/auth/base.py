"""What an authentication policy is."""

from typing import Protocol

from server.core.permissions import Actor


class Authenticator(Protocol):
    """One policy: tells who sends an ``Authorization`` header.

    Attributes:
        name: of the policy, as the settings have it; user ids begin with it.
        challenge: value of ``WWW-Authenticate``.
    """

    name: str
    challenge: str

    async def authenticate(self, authorization: str) -> Actor | None:
        """Who sends a header.

        Args:
            authorization: the header, as it came.

        Returns:
            None if the header is not of this policy, or its credentials are not.

        Raises:
            InvalidAuth: If it is of this policy and malformed.
            Unavailable: If it cannot be checked now.
        """
