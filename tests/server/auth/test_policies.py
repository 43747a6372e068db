import pytest

from server.auth.basic import BasicAuthenticator
from server.auth.policies import Authentication
from server.core.errors import InvalidAuth, Unavailable
from server.core.permissions import ANONYMOUS, Actor, make_actor

BASIC = "Basic YWxpY2U6c2VjcmV0"


class Tokens:
    """A policy of another scheme, which knows two tokens."""

    challenge = "Bearer"

    def __init__(self, name: str) -> None:
        self.name = name

    async def authenticate(self, authorization: str) -> Actor | None:
        scheme, _, token = authorization.partition(" ")
        user = {"1": "one", "2": "two"}.get(token) if scheme == "Bearer" else None
        return make_actor(f"{self.name}:{user}") if user else None


@pytest.mark.gen_test
async def test_user_has_the_name_of_the_policy_and_the_principals_of_every_user() -> None:
    auth = Authentication([BasicAuthenticator("mine", "secret")])
    actor = await auth.identify(BASIC)
    assert actor.user_id.startswith("mine:")
    assert actor.principals == {actor.user_id, "system.Everyone", "system.Authenticated"}


@pytest.mark.gen_test
async def test_first_policy_that_knows_the_user_decides() -> None:
    first, second = BasicAuthenticator("first", "s"), BasicAuthenticator("second", "s")
    for policies, name in (((first, second), "first"), ((second, first), "second")):
        actor = await Authentication(policies).identify(BASIC)
        assert actor.user_id.startswith(f"{name}:")


@pytest.mark.gen_test
async def test_policy_that_does_not_know_the_header_leaves_it_to_the_next() -> None:
    auth = Authentication([Tokens("tokens"), BasicAuthenticator("basic", "s")])
    assert (await auth.identify("Bearer 2")).user_id == "tokens:two"
    assert (await auth.identify(BASIC)).user_id.startswith("basic:")
    assert await auth.identify("Bearer 3") is ANONYMOUS


@pytest.mark.gen_test
@pytest.mark.parametrize("header", [None, ""])
async def test_who_sends_nothing_is_anonymous(header: str | None) -> None:
    auth = Authentication([BasicAuthenticator("basicauth", "s")])
    assert await auth.identify(header) is ANONYMOUS


@pytest.mark.gen_test
async def test_malformed_credentials_are_not_left_to_the_next_policy() -> None:
    auth = Authentication([BasicAuthenticator("basic", "s"), Tokens("tokens")])
    with pytest.raises(InvalidAuth):
        await auth.identify("Basic !")


def test_each_challenge_is_told_once() -> None:
    first, second = BasicAuthenticator("a", "s"), BasicAuthenticator("b", "s")
    assert Authentication([first, Tokens("t"), second]).challenges == [
        'Basic realm="Realm"',
        "Bearer",
    ]


class Away:
    """A policy that cannot check anything now."""

    name = "away"
    challenge = "Bearer"

    async def authenticate(self, authorization: str) -> Actor | None:
        raise Unavailable("away", 3)


@pytest.mark.gen_test
async def test_policy_that_cannot_be_asked_stands_in_no_other_token_s_way() -> None:
    auth = Authentication([Away(), Tokens("tokens")])
    assert (await auth.identify("Bearer 1")).user_id == "tokens:one"
    with pytest.raises(Unavailable):
        await auth.identify("Bearer 3")


@pytest.mark.gen_test
async def test_password_that_cannot_be_checked_makes_no_other_user() -> None:
    auth = Authentication([Away(), BasicAuthenticator("basic", "s")])
    with pytest.raises(Unavailable):
        await auth.identify(BASIC)
