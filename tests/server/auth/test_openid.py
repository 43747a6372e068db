import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from server.auth.openid import REFUSED_SECONDS, OpenIDAuthenticator, TokenRules
from server.auth.providers import Provider
from server.core.errors import Unavailable
from server.core.permissions import AUTHENTICATED, EVERYONE
from tests.identity import AUDIENCE, OTHER_KEY, PROFILE, ScriptedProvider, scripted_provider
from tests.processes import free_port

pytestmark = pytest.mark.gen_test


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@dataclass
class Scene:
    told: ScriptedProvider
    policy: OpenIDAuthenticator
    clock: Clock

    async def user(self, token: str, scheme: str = "Bearer") -> str | None:
        actor = await self.policy.authenticate(f"{scheme} {token}")
        return actor.user_id if actor else None

    def asked(self, path: str = "/userinfo") -> int:
        return self.told.asked.count(path)


@asynccontextmanager
async def scene(**rules: Any) -> AsyncIterator[Scene]:
    async with scripted_provider() as told:
        told.users["token"] = PROFILE
        clock = Clock()
        given = TokenRules("client", **{"seconds": 600, **rules})
        policy = OpenIDAuthenticator("sso", Provider(told.issuer, 3), given, clock)
        yield Scene(told, policy, clock)


async def test_user_of_a_token_is_the_one_the_provider_knows() -> None:
    async with scene() as at:
        actor = await at.policy.authenticate("bearer token")
        assert actor is not None
        assert actor.user_id == "sso:alice"
        assert actor.principals == {"sso:alice", AUTHENTICATED, EVERYONE}
        assert actor.profile == PROFILE
        assert actor.expires == at.clock.now + 600


async def test_provider_is_asked_again_only_when_the_time_of_its_word_is_over() -> None:
    async with scene() as at:
        assert await at.user("token") == await at.user("token") == "sso:alice"
        assert at.asked() == 1
        at.clock.now += 600
        del at.told.users["token"]
        assert await at.user("token") is None
        assert at.asked() == 2


async def test_token_that_the_provider_does_not_know_is_not_asked_for_at_each_request() -> None:
    async with scene() as at:
        assert await at.user("new") is None
        at.told.users["new"] = PROFILE
        assert await at.user("new") is None
        assert at.asked() == 1
        at.clock.now += REFUSED_SECONDS
        assert await at.user("new") == "sso:alice"


async def test_many_requests_with_one_token_ask_the_provider_once() -> None:
    async with scene() as at:
        users = await asyncio.gather(*(at.user("token") for _ in range(20)))
        assert users == ["sso:alice"] * 20
        assert at.asked() == 1


async def test_flood_of_wrong_tokens_does_not_push_out_the_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.auth.openid.REFUSED_MAX", 50)
    async with scene() as at:
        assert await at.user("token") == "sso:alice"
        wrong = [f"wrong{number}" for number in range(200)]
        assert set(await asyncio.gather(*map(at.user, wrong))) == {None}
        asked = at.asked()
        assert await at.user("token") == "sso:alice"
        assert await at.user(wrong[-1]) is None
        assert at.asked() == asked == 201


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic token",
        "token",
        "Bearer a b",
        "Bearer caf\xe9",
        "Bearer a\tb",
    ],
)
async def test_header_that_is_of_no_token_is_not_shown_to_the_provider(authorization: str) -> None:
    async with scene() as at:
        assert await at.policy.authenticate(authorization) is None
        assert at.told.asked == []


async def test_key_of_this_server_is_not_shown_to_the_provider() -> None:
    async with scene() as at:
        assert await at.user("kin_1_2") is None
        assert at.told.asked == []


async def test_token_that_names_another_issuer_is_not_shown_to_the_provider() -> None:
    async with scene() as at:
        foreign = at.told.sign(iss="https://another.example.com")
        at.told.users[foreign] = PROFILE
        assert await at.user(foreign) is None
        assert at.told.asked == []


async def test_scheme_and_realm_are_those_of_the_settings() -> None:
    async with scene(header_type="Bearer+OIDC", realm="here") as at:
        assert await at.user("token") is None
        assert await at.user("token", "bearer+oidc") == "sso:alice"
        assert at.policy.challenge == 'Bearer+OIDC realm="here"'


@pytest.mark.parametrize(
    ("profile", "user"),
    [
        ({"email": "a@b"}, "sso:a@b"),
        ({"email": "a@b", "email_verified": True}, "sso:a@b"),
        ({"email": "a@b", "email_verified": False}, None),
        ({"email": ""}, None),
        ({"email": ["a@b"]}, None),
        ({"email": True}, None),
        ({"email": 7}, "sso:7"),
        ({"sub": "alice"}, None),
    ],
)
async def test_id_is_made_of_the_field_of_the_settings(
    profile: dict[str, Any], user: str | None
) -> None:
    async with scene(userid_field="email") as at:
        at.told.users["token"] = profile
        assert await at.user("token") == user


async def test_token_with_an_end_is_trusted_no_longer_than_that() -> None:
    async with scene() as at:
        end = int(at.clock.now) + 60
        token = at.told.sign(exp=end)
        at.told.users[token] = PROFILE
        actor = await at.policy.authenticate(f"Bearer {token}")
        assert actor is not None
        assert actor.expires == end
        at.clock.now = end
        assert await at.user(token) is None


async def test_token_for_the_audience_is_checked_by_signature_and_by_the_provider() -> None:
    async with scene(audience=AUDIENCE) as at:
        token = at.told.sign()
        at.told.users[token] = PROFILE
        assert await at.user(token) == "sso:alice"
        assert (at.asked("/jwks"), at.asked()) == (1, 1)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 60},
        {"aud": "another"},
        {"key": OTHER_KEY},
        {"kid": "unknown"},
        {"sub": "mallory"},
    ],
    ids=str,
)
async def test_token_that_is_expired_forged_or_for_others_is_nobodys(
    claims: dict[str, Any],
) -> None:
    async with scene(audience=AUDIENCE) as at:
        token = at.told.sign(**claims)
        at.told.users[token] = PROFILE
        assert await at.user(token) is None


async def test_opaque_token_is_nobodys_where_tokens_must_be_for_an_audience() -> None:
    async with scene(audience=AUDIENCE) as at:
        assert await at.user("token") is None
        assert at.asked() == 0


async def test_token_that_was_withdrawn_is_nobodys_though_it_is_signed() -> None:
    async with scene(audience=AUDIENCE) as at:
        assert await at.user(at.told.sign()) is None


@pytest.mark.parametrize(
    ("given", "audience", "user"),
    [("", "client", "sso:alice"), ("", AUDIENCE, None), (AUDIENCE, AUDIENCE, "sso:alice")],
)
async def test_provider_without_userinfo_is_known_by_its_signatures(
    given: str, audience: str, user: str | None
) -> None:
    async with scene(audience=given) as at:
        del at.told.metadata["userinfo_endpoint"]
        assert await at.user(at.told.sign(aud=audience)) == user
        assert await at.user("token") is None


async def test_nobody_can_be_known_while_the_provider_is_away_and_then_they_can() -> None:
    async with scene() as at:
        at.told.answers["/userinfo"] = (503, {})
        with pytest.raises(Unavailable):
            await at.user("token")
        del at.told.answers["/userinfo"]
        assert await at.user("token") == "sso:alice"


async def test_provider_that_is_away_is_no_reason_to_forget_whom_it_knew() -> None:
    async with scene() as at:
        await at.user("token")
        at.told.answers["/userinfo"] = (503, {})
        assert await at.user("token") == "sso:alice"


async def test_headers_of_other_schemes_are_answered_while_the_provider_is_away() -> None:
    provider = Provider(f"http://127.0.0.1:{free_port()}", 3)
    policy = OpenIDAuthenticator("sso", provider, TokenRules("client"))
    assert await policy.authenticate("Basic YTpi") is None
    with pytest.raises(Unavailable):
        await policy.authenticate("Bearer token")
