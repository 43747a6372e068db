import asyncio
from typing import Any
from urllib.parse import parse_qs

import pytest

from server.auth.providers import (
    ANSWER_MAX_BYTES,
    KEYS_SECONDS,
    PAUSE_SECONDS,
    UNKNOWN_KEY_SECONDS,
    Metadata,
    Provider,
    parse_metadata,
)
from server.core.errors import Unavailable
from tests.conftest import ExpectedLogs
from tests.identity import KEY, OTHER_KEY, PROFILE, public_jwk, scripted_provider
from tests.processes import free_port

pytestmark = pytest.mark.gen_test

CONFIGURATION = "/.well-known/openid-configuration"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_provider_is_asked_once_what_it_tells_of_itself() -> None:
    async with scripted_provider() as told:
        heard: list[Metadata] = []
        provider = Provider(told.issuer + "/", 3, heard.append)
        found = list(await asyncio.gather(provider.metadata(), provider.metadata()))
        assert found == [heard[0], heard[0]]
        assert heard[0].userinfo_endpoint == f"{told.issuer}/userinfo"
        assert told.asked == [CONFIGURATION]


async def test_provider_that_nobody_is_at_is_unavailable_at_once() -> None:
    provider = Provider(f"http://127.0.0.1:{free_port()}", 7)
    for ask in (provider.metadata(), provider.keys(None), provider.userinfo("token")):
        with pytest.raises(Unavailable) as caught:
            await ask
        assert caught.value.headers == {"Retry-After": "7"}


@pytest.mark.parametrize("answer", [(500, {}), (404, {}), (429, {}), (302, "/elsewhere")])
async def test_provider_that_fails_is_asked_again_after_a_pause(answer: tuple[int, Any]) -> None:
    async with scripted_provider() as told:
        clock = Clock()
        provider = Provider(told.issuer, 3, clock=clock)
        told.answers["/elsewhere"] = (503, {})
        good = told.answers[CONFIGURATION]
        told.answers[CONFIGURATION] = answer
        with pytest.raises(Unavailable):
            await provider.metadata()
        told.answers[CONFIGURATION] = good
        asked = len(told.asked)
        with pytest.raises(Unavailable):
            await provider.metadata()
        assert len(told.asked) == asked
        clock.now += PAUSE_SECONDS
        assert (await provider.metadata()).issuer == told.issuer


@pytest.mark.parametrize(
    "body", [b"<html>", [], {}, {"issuer": "https://another"}, b" " * (ANSWER_MAX_BYTES + 1)]
)
async def test_provider_that_tells_something_else_is_unavailable(
    body: Any, expected_logs: ExpectedLogs
) -> None:
    expected_logs("ERROR server.auth.providers: .* is not what was expected")
    # Tornado's client complains of the body that is larger than it was told to take.
    expected_logs("WARNING tornado.general: Malformed HTTP message")
    async with scripted_provider() as told:
        told.answers[CONFIGURATION] = (200, body)
        with pytest.raises(Unavailable):
            await Provider(told.issuer, 3).metadata()


def test_what_a_provider_leaves_out_is_empty() -> None:
    metadata = parse_metadata("https://a/", {"issuer": "https://a", "jwks_uri": 7})
    assert metadata == Metadata("https://a", "", "", "", "")


async def test_keys_are_fetched_again_when_they_are_old_or_one_is_unknown() -> None:
    async with scripted_provider() as told:
        clock = Clock()
        provider = Provider(told.issuer, 3, clock=clock)
        assert [key["kid"] for key in await provider.keys("one")] == ["one"]
        told.show_keys(public_jwk(KEY, "one"), public_jwk(OTHER_KEY, "two"))
        assert len(await provider.keys("two")) == 1
        clock.now += UNKNOWN_KEY_SECONDS
        assert len(await provider.keys("one")) == 1
        assert len(await provider.keys("two")) == 2
        told.show_keys(public_jwk(OTHER_KEY, "two"))
        clock.now += KEYS_SECONDS
        assert [key["kid"] for key in await provider.keys("two")] == ["two"]
        assert told.asked.count("/jwks") == 3


async def test_old_keys_are_good_while_the_new_ones_cannot_be_fetched() -> None:
    async with scripted_provider() as told:
        clock = Clock()
        provider = Provider(told.issuer, 3, clock=clock)
        await provider.keys(None)
        told.answers["/jwks"] = (500, {})
        clock.now += KEYS_SECONDS
        assert [key["kid"] for key in await provider.keys("one")] == ["one"]


@pytest.mark.parametrize("body", [[], {"keys": None}, {"keys": ["text"]}])
async def test_keys_that_are_none_are_left_out(body: Any) -> None:
    async with scripted_provider() as told:
        told.answers["/jwks"] = (200, body)
        assert list(await Provider(told.issuer, 3).keys(None)) == []


async def test_keys_that_were_never_told_are_unavailable() -> None:
    async with scripted_provider() as told:
        told.answers["/jwks"] = (500, {})
        with pytest.raises(Unavailable):
            await Provider(told.issuer, 3).keys("one")


async def test_profile_is_that_of_the_token_and_none_without_one() -> None:
    async with scripted_provider() as told:
        told.users["token"] = PROFILE
        provider = Provider(told.issuer, 3)
        assert await provider.userinfo("token") == PROFILE
        assert await provider.userinfo("another") is None


@pytest.mark.parametrize("answer", [(200, b"a.signed.profile"), (200, []), (302, "/jwks")])
async def test_profile_that_is_no_object_or_stands_elsewhere_is_none(
    answer: tuple[int, Any],
) -> None:
    async with scripted_provider() as told:
        told.answers["/userinfo"] = answer
        assert await Provider(told.issuer, 3).userinfo("token") is None
        assert told.asked == [CONFIGURATION, "/userinfo"]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_profile_that_cannot_be_told_now_is_unavailable(status: int) -> None:
    async with scripted_provider() as told:
        told.answers["/userinfo"] = (status, {})
        with pytest.raises(Unavailable):
            await Provider(told.issuer, 3).userinfo("token")


async def test_code_is_traded_with_the_secret_in_the_form() -> None:
    async with scripted_provider() as told:
        told.answers["/token"] = (400, {"error": "invalid_grant"})
        text = await Provider(told.issuer, 3).trade({"code": "c"}, "me", "s&cret")
        assert text == b'{"error": "invalid_grant"}'
        ((authorization, body),) = told.forms
        assert authorization is None
        form = {"code": ["c"], "client_id": ["me"], "client_secret": ["s&cret"]}
        assert parse_qs(body.decode()) == form


async def test_code_is_traded_with_the_secret_in_the_header_where_the_provider_wants_that() -> None:
    async with scripted_provider() as told:
        told.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_basic"]
        told.answers["/token"] = (200, {"access_token": "t"})
        await Provider(told.issuer, 3).trade({"code": "c"}, "me", "s:t")
        ((authorization, body),) = told.forms
        assert authorization == "Basic bWU6cyUzQXQ="
        assert parse_qs(body.decode()) == {"code": ["c"], "client_id": ["me"]}


async def test_code_is_traded_without_a_secret_by_a_client_that_has_none() -> None:
    async with scripted_provider() as told:
        told.answers["/token"] = (200, {"access_token": "t"})
        await Provider(told.issuer, 3).trade({"code": "c"}, "me", "")
        ((authorization, body),) = told.forms
        assert authorization is None
        assert parse_qs(body.decode()) == {"code": ["c"], "client_id": ["me"]}


async def test_code_for_which_no_json_is_given_makes_the_provider_unavailable() -> None:
    async with scripted_provider() as told:
        told.answers["/token"] = (200, b"access_token=t")
        with pytest.raises(Unavailable):
            await Provider(told.issuer, 3).trade({"code": "c"}, "me", "secret")
