"""Users whom an OpenID Connect provider knows: access tokens in ``Authorization``."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from server.auth.api_keys import KEY_PREFIX
from server.auth.jwt_tokens import read_claims, read_key_id, verify_token
from server.auth.providers import Provider
from server.auth.verdicts import Inquiries, Verdicts
from server.core.permissions import Actor, make_actor

REFUSED_SECONDS = 10.0
"""That a token the provider does not know is refused without asking again."""

REFUSED_MAX = 2_000
"""Of such tokens that are remembered."""

TOKEN_MAX_LENGTH = 16384


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens are accepted, and for whom.

    Attributes:
        client_id: that the provider knows this server by.
        audience: that tokens have to be for; empty for not to be checked.
        header_type: scheme of ``Authorization``.
        userid_field: of the profile: what the user's id is made of.
        seconds: that a token is trusted without asking again.
        realm: shown in ``WWW-Authenticate``.
    """

    client_id: str
    audience: str = ""
    header_type: str = "Bearer"
    userid_field: str = "sub"
    seconds: int = 86400
    realm: str = "Realm"


class OpenIDAuthenticator:
    """Asks the provider whose a token is, and remembers it for a while.

    Attributes:
        name: of the policy.
        challenge: value of ``WWW-Authenticate``.
    """

    def __init__(
        self,
        name: str,
        provider: Provider,
        rules: TokenRules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.challenge = f'{rules.header_type} realm="{rules.realm}"'
        self._provider = provider
        self._rules = rules
        self._clock = clock
        self._known: Verdicts[bytes, Actor] = Verdicts(clock=clock)
        # Apart, so that no flood of wrong tokens pushes out the right ones.
        self._refused: Verdicts[bytes, bool] = Verdicts(REFUSED_MAX, clock)
        self._inquiries: Inquiries[bytes, Actor | None] = Inquiries()

    async def authenticate(self, authorization: str) -> Actor | None:
        """The user of an access token; see ``Authenticator``.

        ``expires`` is when the token does, or at the latest when it is asked for again.
        """
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != self._rules.header_type.lower() or not _is_token(token):
            return None
        # Only a hash is kept: whoever reads this memory must not find credentials.
        key = hashlib.sha256(token.encode()).digest()
        actor = self._known.find(key)
        if actor is not None or self._refused.find(key):
            return actor
        return await self._inquiries.ask(key, lambda: self._judge(key, token))

    async def _judge(self, key: bytes, token: str) -> Actor | None:
        actor = await self._identify(token)
        if actor is None or actor.expires is None:
            self._refused.remember(key, True, self._clock() + REFUSED_SECONDS)
        else:
            self._known.remember(key, actor, actor.expires)
        return actor

    async def _identify(self, token: str) -> Actor | None:
        claims = read_claims(token) or {}
        if self._is_foreign(claims):
            return None
        metadata = await self._provider.metadata()
        profile: Mapping[str, Any] | None = None
        if self._rules.audience or not metadata.userinfo_endpoint:
            profile = await self._verify(token)
            if profile is None:
                return None
        if metadata.userinfo_endpoint:
            profile = await self._ask(token, profile)
        if profile is None:
            return None
        return self._make_actor(profile, claims)

    def _is_foreign(self, claims: Mapping[str, Any]) -> bool:
        """Whether a token says that another provider has issued it, which is not to see it."""
        issuer = claims.get("iss")
        return isinstance(issuer, str) and issuer.rstrip("/") != self._provider.issuer.rstrip("/")

    async def _verify(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a token, if it is a JWT of the provider's for this audience."""
        if read_claims(token) is None:
            return None
        metadata = await self._provider.metadata()
        keys = await self._provider.keys(read_key_id(token))
        audience = self._rules.audience or self._rules.client_id
        return verify_token(token, keys, metadata.issuer, audience)

    async def _ask(self, token: str, claims: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The profile that the provider has of a token's user."""
        profile = await self._provider.userinfo(token)
        if profile is None or claims is None or "sub" not in claims:
            return profile
        # OpenID Connect Core 1.0, 5.3.2: another's profile must not be used.
        return profile if profile.get("sub", claims["sub"]) == claims["sub"] else None

    def _make_actor(self, profile: Mapping[str, Any], claims: Mapping[str, Any]) -> Actor | None:
        user = profile.get(self._rules.userid_field)
        if isinstance(user, bool) or not isinstance(user, str | int) or user == "":
            return None
        if self._rules.userid_field == "email" and profile.get("email_verified") is False:
            # Anybody may call himself so there.
            return None
        now = self._clock()
        expires = now + self._rules.seconds
        end = claims.get("exp")
        if isinstance(end, int | float) and not isinstance(end, bool):
            expires = min(expires, end)
        if expires <= now:
            return None
        return replace(make_actor(f"{self.name}:{user}"), expires=expires, profile=profile)


def _is_token(token: str) -> bool:
    """Whether it may be a token of a provider; this server's own keys must not go there."""
    if not token or token.startswith(KEY_PREFIX) or len(token) > TOKEN_MAX_LENGTH:
        return False
    return token.isascii() and token.isprintable() and " " not in token
