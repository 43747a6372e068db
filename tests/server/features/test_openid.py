import asyncio
from typing import Any

import pytest

from server.auth.providers import Provider
from server.config import StartupError
from server.core.errors import Unavailable
from server.features import openid
from tests.conftest import ExpectedLogs
from tests.identity import scripted_provider
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test

SSO = {
    "multiauth_policies": "sso",
    "multiauth_policy_sso_use": "openid",
    "multiauth_policy_sso_issuer": "https://idp.example.com",
    "multiauth_policy_sso_client_id": "me",
}


async def test_logins_are_there_and_announced_only_where_a_policy_is() -> None:
    assert await openid.make(make_context(includes="openid")) is None
    feature = await openid.make(make_context(**SSO))
    assert feature is not None
    paths = {route.template for route in feature.routes}
    assert paths == {"/openid/{provider}/login", "/openid/{provider}/token"}
    assert {name: one.name for name, one in feature.policies.items()} == {"sso": "sso"}
    (about,) = feature.capabilities["openid"]["providers"]
    assert (about["issuer"], about["userinfo_endpoint"]) == ("https://idp.example.com", "")


@pytest.mark.parametrize(
    "change",
    [
        {"multiauth_policy_sso_issuer": ""},
        {"multiauth_policy_sso_client_id": ""},
        {"multiauth_policy_sso_state_length": "x"},
        {"multiauth_policy_sso_nonsense": "x"},
    ],
)
async def test_policy_that_lacks_an_option_or_has_a_strange_one_stops_the_start(
    change: dict[str, Any],
) -> None:
    with pytest.raises(StartupError, match=r"multiauth\.policy\.sso\."):
        await openid.make(make_context(**{**SSO, **change}))


async def test_provider_is_asked_until_it_answers(
    monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    expected_logs("WARNING server.features.openid: .* does not answer: nobody can log in there")
    monkeypatch.setattr(openid, "ASK_SECONDS", (0.001, 0.001))
    monkeypatch.setattr("server.auth.providers.PAUSE_SECONDS", 0)
    async with scripted_provider() as told:
        path = "/.well-known/openid-configuration"
        good, told.answers[path] = told.answers[path], (503, {})
        provider = Provider(told.issuer, 3)
        with pytest.raises(Unavailable):
            await provider.metadata()
        asking = asyncio.ensure_future(openid.ask_all([provider]))
        async with asyncio.timeout(5):
            while told.asked.count(path) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
            told.answers[path] = good
            await asking
        assert (await provider.metadata()).issuer == told.issuer
