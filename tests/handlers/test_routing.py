from typing import Any

import pytest

from tests.handlers.conftest import ALICE, BOB, Fetch, Start

pytestmark = pytest.mark.gen_test


@pytest.mark.parametrize(
    "target",
    [
        "GET /buckets/b/groups?_limit=x",
        "GET /buckets/b/groups/bad%20id",
        "GET /buckets/b/groups?_token=x",
        "PUT /buckets/b/groups/g",
    ],
)
async def test_what_is_wrong_with_a_request_is_told_only_to_who_may_know(
    target: str, fetch: Fetch
) -> None:
    await fetch("PUT /buckets/b", user=ALICE)
    body: Any = {"data": []} if target.startswith("PUT") else None
    assert (await fetch(target, body, user=ALICE)).status == 400
    assert (await fetch(target, body, user=BOB)).status == 403
    assert (await fetch(target, body, user=None)).status == 401


async def test_bad_request_about_nothing_is_refused_first(fetch: Fetch) -> None:
    assert (await fetch("GET /buckets/none/groups?_limit=x")).status == 403


async def test_bad_request_to_a_view_is_400_for_everybody(fetch: Fetch) -> None:
    for user in (ALICE, None):
        assert (await fetch("GET /permissions?_limit=x", user=user)).status == 400
        assert (await fetch("POST /batch", [], user=user)).status == 400


async def test_bad_request_in_the_default_bucket_is_400_and_makes_nothing(fetch: Fetch) -> None:
    target = "GET /buckets/default/collections/c/records?_limit=x"
    assert (await fetch(target)).status == 400
    assert (await fetch(target, user=None)).status == 401
    assert (await fetch("GET /buckets")).data == []


async def test_feature_that_is_off_is_404(start: Start) -> None:
    fetch = await start()
    for target in ("GET /permissions", "POST /__flush__"):
        answer = await fetch(target)
        assert (answer.status, answer.json["errno"]) == (404, 111)


async def test_readonly_server_refuses_every_write_and_answers_reads(start: Start) -> None:
    fetch = await start(readonly=True, includes="flush default_bucket")
    targets = ["PUT /buckets/b", "POST /buckets", "POST /__flush__", "GET /buckets/default"]
    for target in targets:
        answer = await fetch(target, {} if target.startswith("P") else None)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS"), target
    assert (await fetch("GET /")).json["settings"]["readonly"] is True
    assert (await fetch("HEAD /buckets")).status == 200


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/buckets/b", "GET,HEAD,PUT,PATCH,DELETE,OPTIONS"),
        ("/buckets/default/collections", "HEAD,GET,POST,DELETE,OPTIONS"),
        ("/batch", "POST,OPTIONS"),
        ("/__flush__", "POST,OPTIONS"),
        ("/permissions", "GET,HEAD,OPTIONS"),
    ],
)
async def test_preflight_names_the_methods_of_the_endpoint(
    path: str, methods: str, fetch: Fetch
) -> None:
    asked = methods.split(",")[0]
    headers = {"Origin": "https://a", "Access-Control-Request-Method": asked}
    answer = await fetch(f"OPTIONS {path}", user=None, headers=headers)
    assert (answer.status, answer.headers["Access-Control-Allow-Methods"]) == (200, methods)
