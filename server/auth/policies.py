"""Ask the policies in order who sends a request."""

from collections.abc import Sequence

from server.auth.base import Authenticator
from server.core.permissions import ANONYMOUS, Actor


class Authentication:
    """The policies, in order."""

    def __init__(self, policies: Sequence[Authenticator]) -> None:
        self.policies = tuple(policies)

    async def identify(self, authorization: str | None) -> Actor:
        """Who sends this header; the first policy that knows decides.

        Raises:
            InvalidAuth: If the header is malformed.
            Unavailable: If it cannot be checked now.
        """
        if not authorization:
            return ANONYMOUS
        for policy in self.policies:
            actor = await policy.authenticate(authorization)
            if actor is not None:
                return actor
        return ANONYMOUS

    @property
    def challenges(self) -> list[str]:
        """Values of ``WWW-Authenticate``, each once."""
        return list(dict.fromkeys(policy.challenge for policy in self.policies))
