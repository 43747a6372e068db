import pytest

from tests.handlers.conftest import ALICE, Fetch, Start

pytestmark = pytest.mark.gen_test


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_flush_by_another_method_is_405_and_flushes_nothing(
    method: str, fetch: Fetch
) -> None:
    await fetch("PUT /buckets/b")
    answer = await fetch(f"{method} /__flush__")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST, OPTIONS")
    assert (await fetch("GET /buckets/b")).status == 200


async def test_flush_by_nobody_where_users_are_named_is_401_and_by_others_403(
    start: Start,
) -> None:
    fetch = await start(includes="flush", flush_principals="basicauth:somebody")
    assert (await fetch("POST /__flush__", user=None)).status == 401
    assert (await fetch("POST /__flush__", user=ALICE)).status == 403


async def test_list_begins_anew_after_a_flush_and_its_time_goes_on(fetch: Fetch) -> None:
    before = await fetch("PUT /buckets/b")
    assert (await fetch("POST /__flush__", user=None)).status == 202
    listed = await fetch("GET /buckets?_since=0")
    assert listed.data == []
    after = await fetch("PUT /buckets/b")
    assert after.status == 201
    assert after.data["last_modified"] > before.data["last_modified"]
