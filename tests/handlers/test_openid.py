import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import pytest

from tests.handlers.conftest import ALICE, Fetch, Start
from tests.identity import AUDIENCE, OTHER_KEY, PROFILE, ScriptedProvider, scripted_provider
from tests.processes import free_port

pytestmark = pytest.mark.gen_test

CALLBACK = "http://localhost:3000/#tokens="
TOKENS = {"access_token": "token", "token_type": "Bearer", "note": "\u00e9?~"}


@dataclass
class Scene:
    told: ScriptedProvider
    fetch: Fetch

    async def login(self, **changes: str | None) -> Any:
        given = {"callback": CALLBACK, "scope": "openid email", **changes}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        return await self.fetch(f"GET /openid/sso/login?{query}", user=None)

    async def begin(self) -> str:
        """The state of a login that has begun."""
        return query_of((await self.login()).headers["Location"])["state"]

    async def come_back(self, **query: str) -> Any:
        return await self.fetch(f"GET /openid/sso/token?{urlencode(query)}", user=None)


@asynccontextmanager
async def scene(start: Start, **given: Any) -> AsyncIterator[Scene]:
    async with scripted_provider() as told:
        told.users["token"] = PROFILE
        told.answers["/token"] = (200, TOKENS)
        yield Scene(told, await start(**settings_of(told.issuer, **given)))


def settings_of(issuer: str, **given: Any) -> dict[str, Any]:
    own = {
        "multiauth__policies": "sso basicauth",
        "multiauth__policy__sso__use": "kinto.plugins.openid.OpenIDConnectPolicy",
        "multiauth__policy__sso__issuer": issuer,
        "multiauth__policy__sso__client_id": "me",
        "multiauth__policy__sso__client_secret": "secret",
    }
    more = {name: value for name, value in given.items() if name not in OPTIONS}
    options = {f"multiauth__policy__sso__{k}": v for k, v in given.items() if k in OPTIONS}
    return {**own, **options, **more}


OPTIONS = ("audience", "userid_field", "allowed_scopes", "trusted_callback_urls", "state_length")


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def test_login_leads_to_the_provider_and_says_where_to_come_back(start: Start) -> None:
    async with scene(start, audience=AUDIENCE) as at:
        answer = await at.login(prompt="none")
        url = answer.headers["Location"]
        root = (await at.fetch("GET /")).json["url"]
        query = query_of(url)
        assert answer.status == 307
        assert url.startswith(f"{at.told.issuer}/authorize?")
        assert len(query.pop("state")) == 64
        assert query == {
            "client_id": "me",
            "response_type": "code",
            "scope": "openid email",
            "redirect_uri": f"{root}openid/sso/token",
            "prompt": "none",
            "audience": AUDIENCE,
        }
        assert answer.headers["Cache-Control"] == "no-store"


async def test_code_is_traded_for_tokens_which_the_page_gets(start: Start) -> None:
    async with scene(start) as at:
        answer = await at.come_back(code="c0de", state=await at.begin())
        url = answer.headers["Location"]
        assert answer.status == 307
        assert url.startswith(CALLBACK)
        assert json.loads(b64decode(unquote(url.removeprefix(CALLBACK)))) == TOKENS
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        ((_, body),) = at.told.forms
        root = (await at.fetch("GET /")).json["url"]
        assert {name: values[0] for name, values in parse_qs(body.decode()).items()} == {
            "code": "c0de",
            "client_id": "me",
            "client_secret": "secret",
            "redirect_uri": f"{root}openid/sso/token",
            "grant_type": "authorization_code",
        }


async def test_state_is_good_once(start: Start) -> None:
    async with scene(start) as at:
        state = await at.begin()
        assert (await at.come_back(code="c", state=state)).status == 307
        again = await at.come_back(code="c", state=state)
        assert (again.status, again.json["message"]) == (400, "Invalid state")
        assert len(at.told.forms) == 1


async def test_states_differ_and_have_the_length_of_the_settings(start: Start) -> None:
    async with scene(start, state_length=20) as at:
        states = {await at.begin() for _ in range(3)}
        assert {len(state) for state in states} == {40}
        assert len(states) == 3


async def test_state_of_a_login_by_another_provider_is_400(start: Start) -> None:
    async with scripted_provider() as told:
        more = {
            "multiauth__policies": "sso other",
            "multiauth__policy__other__use": "openid",
            "multiauth__policy__other__issuer": told.issuer,
            "multiauth__policy__other__client_id": "me",
        }
        at = Scene(told, await start(**settings_of(told.issuer, **more)))
        query = urlencode({"code": "c", "state": await at.begin()})
        assert (await at.fetch(f"GET /openid/other/token?{query}", user=None)).status == 400
        assert told.forms == []


async def test_error_of_the_provider_is_told_to_the_page(start: Start) -> None:
    async with scene(start) as at:
        told = {"error": "access_denied", "error_description": "not you"}
        answer = await at.come_back(**told, state=await at.begin())
        assert answer.status == 307
        assert answer.headers["Location"] == CALLBACK + urlencode(told)
        assert at.told.forms == []


async def test_refusal_of_the_code_is_told_to_the_page_as_tokens_are(start: Start) -> None:
    async with scene(start) as at:
        at.told.answers["/token"] = (400, {"error": "invalid_grant"})
        answer = await at.come_back(code="c", state=await at.begin())
        encoded = answer.headers["Location"].removeprefix(CALLBACK)
        assert json.loads(b64decode(unquote(encoded))) == {"error": "invalid_grant"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"callback": None}, "callback"),
        ({"callback": ""}, "callback"),
        ({"callback": "/path"}, "callback"),
        ({"callback": "javascript:alert(1)"}, "callback"),
        ({"callback": "https://evil.example.com/"}, "callback"),
        ({"callback": "http://localhost:3000@evil.example.com/"}, "callback"),
        ({"callback": "http://localhost:3000/\r\nSet-Cookie: a=b"}, "callback"),
        ({"scope": None}, "scope"),
        ({"scope": "openid offline_access"}, "scope"),
        ({"prompt": "login"}, "prompt"),
    ],
)
async def test_login_that_is_asked_for_wrongly_is_400(
    start: Start, changes: dict[str, str | None], name: str
) -> None:
    async with scene(start) as at:
        answer = await at.login(**changes)
        assert (answer.status, answer.json["details"][0]["name"]) == (400, name)
        assert at.told.asked == []


PUBLIC = {"http_host": "api.example.com", "http_scheme": "https"}


@pytest.mark.parametrize(
    ("given", "callback", "status"),
    [
        (PUBLIC, "{root}admin/#/auth/", 307),
        (PUBLIC, "{root}admin/../#", 400),
        (PUBLIC, "{start}#token=", 307),
        (PUBLIC, "{start}?a=b", 307),
        (PUBLIC, "{start}", 307),
        (PUBLIC, "{root}buckets/b/attachment.html#", 400),
        ({"cors_origins": "https://app.example.com"}, "https://app.example.com/in#", 307),
        ({"cors_origins": "https://app.example.com"}, "https://app.example.com.evil.com/", 400),
        ({"trusted_callback_urls": "https://*.example.com/in*"}, "https://a.example.com/in#", 307),
        ({"trusted_callback_urls": "https://*.example.com/in*"}, "https://a.example.com/", 400),
        ({"trusted_callback_urls": "https://*.example.com/in*"}, CALLBACK, 400),
    ],
)
async def test_tokens_go_only_to_where_the_settings_let_them(
    start: Start, given: dict[str, str], callback: str, status: int
) -> None:
    async with scene(start, **given) as at:
        root = (await at.fetch("GET /")).json["url"]
        callback = callback.format(root=root, start=root.removesuffix("v1/"))
        assert (await at.login(callback=callback)).status == status


async def test_email_must_be_asked_for_where_ids_are_made_of_it(start: Start) -> None:
    async with scene(start, userid_field="email") as at:
        assert (await at.login(scope="openid")).status == 400
        assert (await at.login(scope="openid email")).status == 307


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?code=c",
        "?state=s",
        "?state=s&code=c&error=e",
        "?state=s&state=s&code=c",
        "?state=&code=c",
    ],
)
async def test_coming_back_with_something_else_is_400(start: Start, query: str) -> None:
    async with scene(start) as at:
        assert (await at.fetch(f"GET /openid/sso/token{query}", user=None)).status == 400


@pytest.mark.parametrize("path", ["login", "token"])
async def test_provider_that_is_not_known_is_400_and_other_methods_405(
    start: Start, path: str
) -> None:
    async with scene(start) as at:
        answer = await at.fetch(f"GET /openid/{quote('no body')}/{path}?callback=x", user=None)
        assert (answer.status, answer.json["details"][0]["location"]) == (400, "path")
        assert (await at.fetch(f"POST /openid/sso/{path}", {})).status == 405


async def test_login_is_no_part_of_a_batch(start: Start) -> None:
    async with scene(start) as at:
        path = f"/openid/sso/login?{urlencode({'callback': CALLBACK, 'scope': 'openid'})}"
        answer = await at.fetch("POST /batch", {"requests": [{"path": path}]})
        assert [one["status"] for one in answer.json["responses"]] == [400]
        assert at.told.asked == []


async def test_token_of_a_provider_that_is_away_makes_its_whole_batch_a_503(
    start: Start,
) -> None:
    fetch = await start(**settings_of(f"http://127.0.0.1:{free_port()}"))
    wanted = [
        {"method": "PUT", "path": "/buckets/b"},
        {"path": "/", "headers": {"Authorization": "Bearer t"}},
    ]
    answer = await fetch("POST /batch", {"requests": wanted})
    assert (answer.status, answer.json["errno"]) == (503, 201)
    assert (await fetch("GET /buckets/b")).status == 403


async def test_user_of_a_token_is_in_the_hello_view_with_their_profile(start: Start) -> None:
    async with scene(start) as at:
        user = (await at.fetch("GET /", user="Bearer token")).json["user"]
        assert (user["id"], user["profile"]) == ("sso:alice", PROFILE)
        made = await at.fetch("PUT /buckets/b", {}, user="Bearer token")
        assert made.json["permissions"] == {"write": ["sso:alice"]}
        assert "profile" not in (await at.fetch("GET /")).json["user"]


async def test_what_the_provider_tells_of_itself_is_announced_once_it_is_known(
    start: Start,
) -> None:
    async with scene(start, audience=AUDIENCE) as at:
        await at.fetch("GET /", user="Bearer token")
        (about,) = (await at.fetch("GET /")).json["capabilities"]["openid"]["providers"]
        assert about == {
            "name": "sso",
            "issuer": at.told.issuer,
            "auth_path": "/openid/sso/login",
            "client_id": "me",
            "audience": AUDIENCE,
            "header_type": "Bearer",
            "userinfo_endpoint": f"{at.told.issuer}/userinfo",
        }


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"key": OTHER_KEY}, {"aud": "another"}, {"iss": "https://another"}],
    ids=["expired", "forged", "for another audience", "by another issuer"],
)
async def test_token_that_is_expired_forged_or_foreign_is_401(
    start: Start, claims: dict[str, Any]
) -> None:
    async with scene(start, audience=AUDIENCE) as at:
        token = at.told.sign(**claims)
        at.told.users[token] = PROFILE
        answer = await at.fetch("PUT /buckets/b", {}, user=f"Bearer {token}")
        assert (answer.status, answer.json["errno"]) == (401, 104)
        assert 'Bearer realm="Realm"' in answer.headers["WWW-Authenticate"]


async def test_provider_that_is_away_makes_its_own_tokens_503_and_nothing_else(
    start: Start,
) -> None:
    fetch = await start(**settings_of(f"http://127.0.0.1:{free_port()}"), includes="api_keys")
    answer = await fetch("GET /buckets", user="Bearer token")
    assert (answer.status, answer.json["errno"]) == (503, 201)
    assert answer.headers["Retry-After"] == "3"
    at = Scene(ScriptedProvider("", {}), fetch)
    assert (await at.login()).status == 503
    assert (await fetch("GET /buckets", user=ALICE)).status == 200
    assert (await fetch("GET /", user=None)).status == 200
    body = {"data": {"scopes": [{"uri": "/", "access": "read"}]}}
    key = (await fetch("POST /api-keys", body)).data["key"]
    assert (await fetch("GET /buckets", user=f"Bearer {key}")).status == 200


async def test_token_of_one_provider_is_known_while_another_is_away(start: Start) -> None:
    async with scripted_provider() as told:
        told.users["token"] = PROFILE
        more = {
            "multiauth__policies": "gone sso",
            "multiauth__policy__gone__use": "openid",
            "multiauth__policy__gone__issuer": f"http://127.0.0.1:{free_port()}",
            "multiauth__policy__gone__client_id": "me",
        }
        fetch = await start(**settings_of(told.issuer, **more))
        assert (await fetch("GET /", user="Bearer token")).json["user"]["id"] == "sso:alice"
        assert (await fetch("GET /", user="Bearer unknown")).status == 503
