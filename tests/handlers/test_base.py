import json
import logging
from typing import Any

import pytest

from server import app
from tests.conftest import ExpectedLogs
from tests.handlers.conftest import Fetch, Start

pytestmark = pytest.mark.gen_test


def fail() -> str:
    raise ZeroDivisionError("the text of an error is nobody's business")


async def test_unforeseen_error_is_500_and_logged_but_not_told(
    start: Start, monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    monkeypatch.setitem(app._MAKERS, "NameGenerator", fail)
    expected_logs("/v1/buckets failed")
    fetch = await start(retry_after_seconds=7, error_info_link="https://bugs.example/")
    answer = await fetch("POST /buckets", {})
    assert answer.status == 500
    assert answer.json == {
        "code": 500,
        "errno": 999,
        "error": "Internal Server Error",
        "message": "A programmatic error occurred, developers have been informed.",
        "info": "https://bugs.example/",
    }
    assert answer.headers["Retry-After"] == "7"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    (record,) = expected_logs.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_backoff_percentage_is_the_share_of_answers_that_carry_it(start: Start) -> None:
    asked = 400
    some = await start(backoff=30, backoff_percentage=50)
    carried = 0
    for _ in range(asked):
        answer = await some("GET /__lbheartbeat__", user=None)
        carried += answer.headers.get("Backoff") == "30"
    # Seven standard deviations from the mean.
    assert 130 < carried < 270


@pytest.mark.parametrize(("share", "carried"), [(0, False), (100, True)])
async def test_backoff_of_no_answers_or_all(share: int, carried: bool, start: Start) -> None:
    fetch = await start(backoff=30, backoff_percentage=share)
    answers = [await fetch("GET /", user=None) for _ in range(20)]
    assert {"Backoff" in answer.headers for answer in answers} == {carried}


async def test_end_of_service_is_told_before_and_kept_after(start: Start) -> None:
    words: dict[str, Any] = {"eos_message": "Bye.", "eos_url": "https://example.com/"}
    soon = await start(eos="2999-01-01", **words)
    answer = await soon("GET /none", user=None)
    assert answer.status == 404
    alert = json.loads(answer.headers["Alert"])
    assert alert == {"code": "soft-eol", "message": "Bye.", "url": "https://example.com/"}
    gone = await start(eos="2020-01-01", **words)
    answer = await gone("PUT /buckets/b", {})
    assert (answer.status, answer.json["errno"]) == (410, 202)
    assert json.loads(answer.headers["Alert"])["code"] == "hard-eol"


async def test_alert_of_a_deprecated_parameter_goes_before_that_of_the_service(
    start: Start,
) -> None:
    fetch = await start(eos="2999-01-01", eos_message="Bye.")
    answer = await fetch("GET /buckets?_to=1")
    assert "_to" in json.loads(answer.headers["Alert"])["message"]


async def test_public_name_and_scheme_are_in_every_link(start: Start) -> None:
    fetch = await start(http_host="api.example", http_scheme="https", paginate_by=1)
    assert (await fetch("GET /")).json["url"] == "https://api.example/v1/"
    assert (await fetch("GET !/buckets")).headers["Location"] == "https://api.example/v1/buckets"
    for name in ("a", "b"):
        await fetch(f"PUT /buckets/{name}")
    following = (await fetch("GET /buckets")).headers["Next-Page"]
    assert following.startswith("https://api.example/v1/buckets?_token=")


async def test_scheme_that_a_proxy_tells_is_in_links(fetch: Fetch) -> None:
    answer = await fetch("GET /", headers={"X-Forwarded-Proto": "https", "Host": "api.example"})
    assert answer.json["url"] == "https://api.example/v1/"


async def test_origin_that_is_named_may_read_and_others_may_not(start: Start) -> None:
    fetch = await start(cors_origins="https://app.example https://b.example")
    for origin, allowed in [("https://b.example", "https://b.example"), ("https://x", None)]:
        for path in ("/", "/none", "/buckets/bad id".replace(" ", "%20")):
            answer = await fetch(f"GET {path}", user=None, headers={"Origin": origin})
            assert answer.headers.get("Access-Control-Allow-Origin") == allowed
            assert answer.headers["Vary"] == "Origin"


async def test_preflight_holds_as_long_as_is_set(start: Start) -> None:
    asked = {"Origin": "https://a", "Access-Control-Request-Method": "PUT"}
    fetch = await start(cors_max_age_seconds=60)
    answer = await fetch("OPTIONS /buckets/b", user=None, headers=asked)
    assert answer.headers["Access-Control-Max-Age"] == "60"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET,HEAD,PUT,PATCH,DELETE,OPTIONS"
    assert "Access-Control-Allow-Headers" not in answer.headers


async def test_redirects_that_are_off_are_404(start: Start) -> None:
    fetch = await start(
        trailing_slash_redirect_enabled=False, version_prefix_redirect_enabled=False
    )
    for target in ("GET /buckets/", "GET !/buckets", "GET !/"):
        answer = await fetch(target)
        assert (answer.status, answer.json["errno"]) == (404, 111), target


async def test_redirect_to_the_version_may_be_kept(start: Start) -> None:
    fetch = await start(version_prefix_redirect_ttl_seconds=60)
    assert (await fetch("GET !/buckets?a=1")).headers["Cache-Control"] == "max-age=60"
    never = await start(trailing_slash_redirect_ttl_seconds=0)
    answer = await never("GET /buckets/?a=1")
    assert answer.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert answer.headers["Location"].endswith("/v1/buckets?a=1")


async def test_body_as_large_as_allowed_is_read_and_one_byte_more_is_413(start: Start) -> None:
    fetch = await start(max_body_bytes=1000)
    body = {"data": {"text": ""}}
    room = 1000 - len(json.dumps(body))
    body["data"]["text"] = "x" * room
    assert (await fetch("PUT /buckets/b", body)).status == 201
    body["data"]["text"] += "x"
    answer = await fetch("PUT /buckets/b", body)
    assert (answer.status, answer.json["errno"]) == (413, 113)
    assert len((await fetch("GET /buckets/b")).data["text"]) == room


async def test_etag_is_the_objects_own_and_no_hash(fetch: Fetch) -> None:
    answer = await fetch("GET /__lbheartbeat__")
    assert "ETag" not in answer.headers
    answer = await fetch("PUT /buckets/b")
    assert answer.headers["ETag"] == f'"{answer.data["last_modified"]}"'


async def test_user_is_in_the_log_and_anonymous_is_not(
    fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "request.summary"):
        await fetch("GET /")
        await fetch("GET /", user=None)
        await fetch("GET /", user="Bearer x")
    first, *others = [record.__dict__["fields"] for record in caplog.records]
    assert first["uid"].startswith("basicauth:")
    assert first["authn_type"] == "basicauth"
    assert all("uid" not in fields and "authn_type" not in fields for fields in others)
