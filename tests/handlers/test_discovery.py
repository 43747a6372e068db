from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from handlers.discovery import ISSUER
from tests.handlers.conftest import Answer, Fetch, Start

pytestmark = pytest.mark.gen_test

DOCS = "https://kintoun.readthedocs.io/en/latest/how-to/discovery.html"


async def finger(fetch: Fetch, resource: str, query: str = "", **more: Any) -> Answer:
    path = f"/.well-known/webfinger?resource={quote(resource, '')}{query}"
    return await fetch(f"GET {path}".replace("GET ", "GET !", 1), user=None, **more)


async def root_of(fetch: Fetch) -> str:
    """URL of the API, without a slash."""
    url: str = (await fetch("GET /")).json["url"]
    return url.rstrip("/")


async def test_address_leads_to_the_api_its_live_changes_and_the_users_bucket(
    start: Start,
) -> None:
    fetch = await start(includes="discovery default_bucket")
    root = await root_of(fetch)
    resource = f"acct:alice@{urlsplit(root).netloc}"
    answer = await finger(fetch, resource)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/jrd+json"
    assert answer.json["subject"] == resource
    assert {one["rel"]: one["href"] for one in answer.json["links"]} == {
        f"{DOCS}#api": f"{root}/",
        f"{DOCS}#live": f"ws{root.removeprefix('http')}/live",
        f"{DOCS}#bucket": f"{root}/buckets/default",
    }


async def test_address_of_any_user_has_the_same_answer(start: Start) -> None:
    fetch = await start(**ACCOUNTS)
    await sign_up(fetch, "carol")
    answers = [await finger(fetch, f"acct:{name}@127.0.0.1") for name in ("carol", "nobody")]
    links = [answer.json["links"] for answer in answers]
    assert links[0] == links[1]


async def test_relations_that_are_asked_for_are_told_and_no_others(start: Start) -> None:
    fetch = await start(includes="discovery default_bucket")
    asked = "".join(f"&rel={quote(f'{DOCS}#{name}', '')}" for name in ("live", "bucket"))
    answer = await finger(fetch, "acct:a@127.0.0.1", asked)
    assert [one["rel"] for one in answer.json["links"]] == [f"{DOCS}#live", f"{DOCS}#bucket"]
    assert (await finger(fetch, "acct:a@127.0.0.1", "&rel=x")).json["links"] == []


async def test_pages_of_every_origin_may_ask_whoever_may_use_the_api(start: Start) -> None:
    fetch = await start(includes="discovery", cors_origins="https://app.example.com")
    headers = {"Origin": "https://elsewhere.example.com"}
    answer = await finger(fetch, "acct:a@127.0.0.1", headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    told = await fetch("GET !/.well-known/kinto", headers=headers)
    assert told.headers["Access-Control-Allow-Origin"] == "*"
    api = await fetch("GET /", headers=headers)
    assert "Access-Control-Allow-Origin" not in api.headers


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        ("acct:alice", 400),
        ("acct:@127.0.0.1", 400),
        ("acct:alice@", 400),
        ("alice", 400),
        (":", 400),
        ("acct:" + "x" * 2000 + "@127.0.0.1", 400),
        ("acct:alice@elsewhere.example.com", 404),
        ("https://127.0.0.1/alice", 404),
        ("mailto:alice@127.0.0.1", 404),
        ("ACCT:alice@127.0.0.1", 200),
        ("acct:alice%40work.example.com@127.0.0.1", 200),
    ],
)
async def test_resource_that_is_no_address_or_of_elsewhere_leads_nowhere(
    start: Start, resource: str, status: int
) -> None:
    fetch = await start(includes="discovery")
    assert (await finger(fetch, resource)).status == status


async def test_resource_has_to_be_named_once(start: Start) -> None:
    fetch = await start(includes="discovery")
    answer = await fetch("GET !/.well-known/webfinger", user=None)
    assert (answer.status, answer.json["details"][0]["name"]) == (400, "resource")
    again = "&resource=acct:b@127.0.0.1"
    assert (await finger(fetch, "acct:a@127.0.0.1", again)).status == 400


async def test_hosts_of_addresses_are_those_of_the_settings(start: Start) -> None:
    fetch = await start(includes="discovery", discovery_hosts="Example.com example.org")
    assert (await finger(fetch, "acct:alice@EXAMPLE.com")).status == 200
    assert (await finger(fetch, "acct:alice@example.org")).status == 200
    assert (await finger(fetch, "acct:alice@127.0.0.1")).status == 404


ACCOUNTS = {
    "includes": "discovery default_bucket accounts",
    "multiauth_policies": "account",
    "account_create_principals": "system.Everyone",
}


async def sign_up(fetch: Fetch, name: str) -> None:
    body = {"data": {"password": "secret1234"}}
    assert (await fetch(f"PUT /accounts/{name}", body, user=None)).status == 201


def bucket_in(answer: Answer) -> str:
    (found,) = [one["href"] for one in answer.json["links"] if one["rel"] == f"{DOCS}#bucket"]
    return str(found.partition("/v1")[2])


async def test_public_accounts_are_told_with_their_own_buckets(start: Start) -> None:
    fetch = await start(**ACCOUNTS, discovery_public_accounts=True)
    await sign_up(fetch, "carol")
    await sign_up(fetch, "dave@127.0.0.1")
    carol = await finger(fetch, "acct:carol@127.0.0.1")
    basic = "Basic Y2Fyb2w6c2VjcmV0MTIzNA=="
    own = (await fetch("GET /", user=basic)).json["user"]["bucket"]
    assert bucket_in(carol) == f"/buckets/{own}"
    dave = await finger(fetch, "acct:dave@127.0.0.1")
    assert bucket_in(dave) not in (bucket_in(carol), "/buckets/default")
    assert (await finger(fetch, "acct:nobody@127.0.0.1")).status == 404
    assert (await fetch("DELETE /accounts/carol", user=basic)).status == 200
    assert (await finger(fetch, "acct:carol@127.0.0.1")).status == 404


async def test_server_tells_where_it_is_and_how_to_sign_in(start: Start) -> None:
    fetch = await start(
        includes="discovery api_keys default_bucket",
        multiauth__policies="sso basicauth",
        multiauth__policy__sso__use="openid",
        multiauth__policy__sso__issuer="https://idp.example.com",
        multiauth__policy__sso__client_id="me",
        multiauth__policy__sso__client_secret="xyzzy",
    )
    root = await root_of(fetch)
    answer = await fetch("GET !/.well-known/kinto", user=None)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert b"xyzzy" not in answer.body
    assert answer.json == {
        "url": f"{root}/",
        "http_api_version": (await fetch("GET /")).json["http_api_version"],
        "live": {
            "url": f"ws{root.removeprefix('http')}/live",
            "subprotocol": "kinto.live.v1",
        },
        "bucket": f"{root}/buckets/default",
        "webfinger": f"{root[:-3]}/.well-known/webfinger?resource=acct:{{user}}@{{host}}",
        "sign_in": [
            {
                "name": "api_keys",
                "type": "api_key",
                "header": "Bearer",
                "keys": f"{root}/api-keys",
            },
            {
                "name": "sso",
                "type": "openid",
                "header": "Bearer",
                "issuer": "https://idp.example.com",
                "client_id": "me",
                "login": f"{root}/openid/sso/login",
            },
            {"name": "basicauth", "type": "basicauth", "header": "Basic"},
        ],
    }
    links = (await finger(fetch, "acct:a@127.0.0.1")).json["links"]
    assert {"rel": ISSUER, "href": "https://idp.example.com"} in links


async def test_accounts_are_a_way_to_sign_in(start: Start) -> None:
    fetch = await start(**ACCOUNTS)
    told = (await fetch("GET !/.well-known/kinto", user=None)).json
    accounts = f"{await root_of(fetch)}/accounts"
    assert told["sign_in"] == [
        {"name": "account", "type": "account", "header": "Basic", "accounts": accounts}
    ]


async def test_without_the_feature_well_known_paths_are_redirected_and_lead_nowhere(
    start: Start,
) -> None:
    fetch = await start()
    answer = await fetch("GET !/.well-known/kinto", user=None)
    assert answer.status == 307
    assert (await fetch("GET /.well-known/kinto", user=None)).status == 404


async def test_well_known_paths_know_the_methods_of_reading(start: Start) -> None:
    fetch = await start(includes="discovery")
    assert (await fetch("HEAD !/.well-known/kinto")).status == 200
    assert (await fetch("POST !/.well-known/kinto", {})).status == 405
    preflight = {"Origin": "https://a", "Access-Control-Request-Method": "GET"}
    assert (await fetch("OPTIONS !/.well-known/kinto", headers=preflight)).status == 200
