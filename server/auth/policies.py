"""Ask the policies in order who sends a request."""

from collections.abc import Sequence

from server.auth.base import Authenticator
from server.core.errors import Unavailable
from server.core.permissions import ANONYMOUS, Actor


class Authentication:
    """The policies, in order."""

    def __init__(self, policies: Sequence[Authenticator]) -> None:
        self.policies = tuple(policies)

    async def identify(self, authorization: str | None) -> Actor:
        """Who sends this header; the first policy that knows decides.

        Raises:
            InvalidAuth: If the header is malformed.
            Unavailable: If it cannot be checked now; of a token, if no other policy knows it.
        """
        if not authorization:
            return ANONYMOUS
        failure: Unavailable | None = None
        for policy in self.policies:
            try:
                actor = await policy.authenticate(authorization)
            except Unavailable as error:
                # A token is known to its issuer alone, who may be another; a name and
                # a password could make another user of the same person.
                if authorization[:5].lower() == "basic":
                    raise
                failure = failure or error
                continue
            if actor is not None:
                return actor
        if failure is not None:
            raise failure
        return ANONYMOUS

    @property
    def challenges(self) -> list[str]:
        """Values of ``WWW-Authenticate``, each once."""
        return list(dict.fromkeys(policy.challenge for policy in self.policies))
