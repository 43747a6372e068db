import pytest

from tests.handlers.conftest import ALICE, BOB, Fetch, Start

pytestmark = pytest.mark.gen_test


async def test_walk_through_the_pages_meets_every_row_once(start: Start) -> None:
    fetch = await start(experimental_permissions_endpoint=True, paginate_by=2)
    for name in ("a", "b", "c", "d", "e"):
        await fetch(f"PUT /buckets/{name}")
    seen = []
    target = "GET /permissions?_sort=-id&_fields=id"
    for _ in range(10):
        answer = await fetch(target)
        assert len(answer.data) <= 2
        seen += answer.data
        following = answer.headers.get("Next-Page")
        if following is None:
            break
        target = "GET " + following.partition("/v1")[2]
    assert [row.get("id") for row in seen if row["uri"] != "/"] == ["e", "d", "c", "b", "a"]
    assert [row["uri"] for row in seen].count("/") == 1
    assert all(set(row) <= {"id", "uri"} for row in seen)


async def test_token_of_another_order_is_400(start: Start) -> None:
    fetch = await start(experimental_permissions_endpoint=True, paginate_by=1)
    await fetch("PUT /buckets/a")
    following = (await fetch("GET /permissions?_sort=id")).headers["Next-Page"]
    token = following.partition("_token=")[2]
    assert (await fetch(f"GET /permissions?_sort=uri&_token={token}")).status == 400
    assert (await fetch(f"GET /permissions?_sort=id&_token={token}")).status == 200


async def test_head_counts_the_rows_that_match(fetch: Fetch) -> None:
    await fetch("PUT /buckets/a")
    await fetch("PUT /buckets/a/collections/c")
    answer = await fetch("HEAD /permissions?resource_name=collection&_limit=1")
    assert (answer.headers["Total-Objects"], answer.headers["Total-Records"]) == ("1", "1")


async def test_rows_are_never_a_304(fetch: Fetch) -> None:
    etag = (await fetch("GET /permissions")).headers["ETag"]
    answer = await fetch("GET /permissions", headers={"If-None-Match": etag})
    assert (answer.status, len(answer.data)) == (200, 1)


@pytest.mark.parametrize("query", ["unknown=1", "_sort=unknown", "_token=x"])
async def test_field_that_rows_do_not_have_is_400(query: str, fetch: Fetch) -> None:
    assert (await fetch(f"GET /permissions?{query}")).status == 400


async def test_setting_names_who_may_see_the_rows(start: Start) -> None:
    fetch = await start(
        experimental_permissions_endpoint=True, permissions_read_principals="basicauth:x"
    )
    assert (await fetch("GET /permissions", user=None)).status == 401
    assert (await fetch("GET /permissions", user=BOB)).status == 403


async def test_rows_of_what_was_deleted_with_its_bucket_are_gone(fetch: Fetch) -> None:
    await fetch("PUT /buckets/a", user=ALICE)
    await fetch("PUT /buckets/a/collections/c", user=ALICE)
    await fetch("DELETE /buckets/a", user=ALICE)
    assert [row["uri"] for row in (await fetch("GET /permissions")).data] == ["/"]


async def test_rows_have_no_order_to_begin_at_by_a_cursor(fetch: Fetch) -> None:
    answer = await fetch("GET /permissions?_since=5-1")
    assert (answer.status, answer.json["details"][0]["name"]) == (400, "_since")
