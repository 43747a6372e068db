"""Logins by real identity providers, and what PyPI's kinto-http does with their tokens."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer
from typing import Any

import kinto_http
import pytest
import requests
from kinto_http.login import RequestHandler

from tests.clients.conftest import Serve
from tests.clients.providers import PATIENCE_SECONDS, OpaqueProvider, SigningProvider

AUDIENCE = "https://api.example.com"


@pytest.fixture(scope="module")
def opaque() -> Iterator[OpaqueProvider]:
    provider = OpaqueProvider()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def signing() -> Iterator[SigningProvider]:
    provider = SigningProvider()
    yield provider
    provider.stop()


def settings_of(issuer: str, **options: object) -> dict[str, object]:
    given = {"use": "openid", "issuer": issuer, "client_id": "kintoun", **options}
    named = {f"multiauth_policy_sso_{name}": value for name, value in given.items()}
    return {"multiauth_policies": "sso basicauth", "includes": "api_keys default_bucket", **named}


@pytest.fixture
def url(serve: Serve, opaque: OpaqueProvider) -> str:
    """A server that trusts the provider of opaque tokens."""
    return serve(**settings_of(opaque.issuer, client_secret="s3cret", verification_ttl_seconds=1))


class App:
    """A program on the user's machine, waiting for tokens as kinto-http's does.

    Attributes:
        callback: where they are to be sent.
        tokens: that came.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, Any] = {}
        handler = partial(RequestHandler, set_jwt_token_callback=self.tokens.update)
        self._server = HTTPServer(("127.0.0.1", 0), handler)
        self.callback = f"http://127.0.0.1:{self._server.server_address[1]}/auth/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def wait(self) -> dict[str, Any]:
        """The tokens; kinto-http's handler ends the server with them."""
        self._thread.join(PATIENCE_SECONDS)
        self._server.server_close()
        return self.tokens


def walk(login: str, form: dict[str, str]) -> requests.Response:
    """What a person's browser does: to the provider, through its form, and back."""
    with requests.Session() as session:
        page = session.get(login, timeout=PATIENCE_SECONDS)
        assert page.status_code == 200, page.text
        # The form is sent to where it stands.
        return session.post(page.url, data=form, timeout=PATIENCE_SECONDS)


def log_in(url: str, sub: str) -> dict[str, Any]:
    app = App()
    path = requests.get(f"{url}/", timeout=30).json()["capabilities"]["openid"]["providers"][0]
    login = f"{url}{path['auth_path']}?callback={app.callback}&scope=openid email"
    assert walk(login, {"sub": sub}).status_code == 200
    return app.wait()


def client_of(url: str, token: str, **given: Any) -> Any:
    auth = kinto_http.BearerTokenAuth(token)
    return kinto_http.Client(server_url=url, auth=auth, **given)


def user_of(url: str, token: str) -> dict[str, Any] | None:
    headers = {"Authorization": f"Bearer {token}"}
    hello = requests.get(f"{url}/", headers=headers, timeout=30).json()
    user: dict[str, Any] | None = hello.get("user")
    return user


def test_person_logs_in_and_kinto_http_writes_with_the_token(url: str) -> None:
    tokens = log_in(url, "alice")
    assert tokens["token_type"] == "Bearer"
    client = client_of(url, tokens["access_token"], bucket="default", collection="c")
    user = client.server_info()["user"]
    assert user["id"] == "sso:alice"
    assert user["profile"]["email"] == "alice"
    made = client.create_record(data={"title": "mine"})
    assert client.get_record(id=made["data"]["id"])["data"]["title"] == "mine"
    other = client_of(url, log_in(url, "bob")["access_token"], bucket=user["bucket"])
    with pytest.raises(kinto_http.KintoException) as caught:
        other.get_record(id=made["data"]["id"], collection="c")
    assert caught.value.response.status_code == 403


def test_person_who_refuses_is_sent_back_with_the_error(url: str) -> None:
    callback = f"{url}/admin/?"
    login = f"{url}/openid/sso/login?callback={callback}&scope=openid"
    back = walk(login, {"action": "deny"})
    assert "error=access_denied" in back.url


def test_provider_is_announced_with_what_it_tells_of_itself(
    url: str, opaque: OpaqueProvider
) -> None:
    user_of(url, "any")
    (about,) = requests.get(f"{url}/", timeout=30).json()["capabilities"]["openid"]["providers"]
    assert about["issuer"] == opaque.issuer
    assert about["userinfo_endpoint"] == f"{opaque.issuer}/userinfo"


def test_code_that_nobody_gave_is_refused_by_the_provider_and_the_page_is_told(url: str) -> None:
    login = f"{url}/openid/sso/login?callback=http://127.0.0.1:1/&scope=openid"
    begun = requests.get(login, timeout=30, allow_redirects=False).headers["Location"]
    state = begun.partition("state=")[2].partition("&")[0]
    token = f"{url}/openid/sso/token?code=forged&state={state}"
    back = requests.get(token, timeout=30, allow_redirects=False)
    assert back.status_code == 307
    assert requests.get(token, timeout=30, allow_redirects=False).status_code == 400


def test_user_of_a_provider_makes_a_key_and_a_program_uses_it(url: str) -> None:
    person = log_in(url, "carol")["access_token"]
    hello = user_of(url, person)
    assert hello is not None
    wanted = {"name": "sensor", "scopes": [{"uri": "/buckets/default", "access": "write"}]}
    made = requests.post(
        f"{url}/api-keys",
        json={"data": wanted},
        headers={"Authorization": f"Bearer {person}"},
        timeout=30,
    )
    assert made.status_code == 201
    program = client_of(url, made.json()["data"]["key"], bucket="default", collection="readings")
    program.create_record(data={"celsius": 21})
    assert [one["celsius"] for one in program.get_records()] == [21]
    assert program.server_info()["user"]["id"] == "sso:carol"
    with pytest.raises(kinto_http.KintoException) as caught:
        program.create_bucket(id="elsewhere")
    assert caught.value.response.status_code == 403


def test_signed_token_is_accepted_only_as_it_was_signed_for_this_server(
    serve: Serve, signing: SigningProvider
) -> None:
    url = serve(**settings_of(signing.issuer, audience=AUDIENCE))
    user = user_of(url, signing.token(sub="dave", aud=AUDIENCE))
    assert user is not None
    assert (user["id"], user["profile"]["email"]) == ("sso:dave", "dave@example.com")
    elsewhere = SigningProvider()
    refused = {
        "expired": signing.token(sub="dave", aud=AUDIENCE, expires=-60),
        "for another audience": signing.token(sub="dave", aud="https://another.example.com"),
        "by another issuer": elsewhere.token(sub="dave", aud=AUDIENCE),
        "forged": elsewhere.token(sub="dave", aud=AUDIENCE, iss=signing.issuer),
        "cut": signing.token(sub="dave", aud=AUDIENCE)[:-4],
    }
    elsewhere.stop()
    assert {name for name, token in refused.items() if user_of(url, token)} == set()


def test_token_is_asked_for_once_while_it_is_trusted(
    serve: Serve, signing: SigningProvider
) -> None:
    url = serve(**settings_of(signing.issuer, audience=AUDIENCE))
    token = signing.token(sub="erin", aud=AUDIENCE)
    before = signing.ask(count="/userinfo")
    for _ in range(5):
        assert user_of(url, token) is not None
    assert signing.ask(count="/userinfo") == before + 1


def test_provider_that_only_signs_is_enough(serve: Serve) -> None:
    provider = SigningProvider(has_userinfo=False)
    url = serve(**settings_of(provider.issuer, audience=AUDIENCE))
    user = user_of(url, provider.token(sub="frank", aud=AUDIENCE))
    assert user is not None
    assert (user["id"], user["profile"]["sub"]) == ("sso:frank", "frank")
    assert user_of(url, provider.token(sub="frank", aud="another")) is None
    provider.stop()


def test_provider_that_goes_takes_nothing_else_with_it(serve: Serve) -> None:
    provider = OpaqueProvider()
    url = serve(**settings_of(provider.issuer, client_secret="s3cret"))
    token = log_in(url, "grace")["access_token"]
    assert user_of(url, token) is not None
    provider.stop()
    assert user_of(url, token) is not None
    headers = {"Authorization": "Bearer new"}
    answer = requests.get(f"{url}/buckets", headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["errno"]) == (503, 201)
    assert requests.get(f"{url}/buckets", auth=("a", "b"), timeout=30).status_code == 200
