"""Load the policies that the settings name, and ask them in order."""

from collections.abc import Callable, Mapping, Sequence

from server.auth.base import Authenticator
from server.auth.basic import BasicAuthenticator
from server.core.permissions import ANONYMOUS, Actor, make_actor

_POLICIES: Mapping[str, Callable[[str, str], Authenticator]] = {"basicauth": BasicAuthenticator}


class Authentication:
    """The policies, in order."""

    def __init__(self, policies: Sequence[Authenticator]) -> None:
        self.policies = tuple(policies)

    async def identify(self, authorization: str | None) -> Actor:
        """Who sends this header; the first policy that knows decides.

        Raises:
            InvalidAuth: If the header is malformed.
        """
        if not authorization:
            return ANONYMOUS
        for policy in self.policies:
            user = await policy.authenticate(authorization)
            if user is not None:
                return make_actor(f"{policy.name}:{user}")
        return ANONYMOUS

    @property
    def challenges(self) -> list[str]:
        """Values of ``WWW-Authenticate``, each once."""
        return list(dict.fromkeys(policy.challenge for policy in self.policies))


def load_policies(policies: Mapping[str, str], secret: str) -> Authentication:
    """The policies of the settings.

    Args:
        policies: name to kind, in order; all kinds are known.
        secret: for those that make user ids by HMAC.
    """
    return Authentication([_POLICIES[kind](name, secret) for name, kind in policies.items()])
