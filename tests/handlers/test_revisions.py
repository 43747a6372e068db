from datetime import datetime

import jsonpatch
import pytest

from tests.handlers.conftest import ALICE, BOB, Answer, Fetch, Start

RECORDS = "/buckets/b/collections/c/records"
R = f"{RECORDS}/r"

pytestmark = pytest.mark.gen_test


async def principal(fetch: Fetch, user: str) -> str:
    return str((await fetch("GET /", user=user)).json["user"]["id"])


async def fill(fetch: Fetch) -> list[Answer]:
    """A record that was made, changed twice, and what was answered each time."""
    await fetch("PUT /buckets/b")
    await fetch("PUT /buckets/b/collections/c")
    return [
        await fetch(f"PUT {R}", {"data": {"n": 1, "tags": ["a", "b"]}}),
        await fetch(f"PATCH {R}", {"data": {"n": 2}}),
        await fetch(f"PUT {R}", {"data": {"n": 3, "tags": ["b"]}}),
    ]


def cursors(answer: Answer) -> list[str]:
    return [one["cursor"] for one in answer.data]


async def test_revisions_are_told_the_newest_first_with_who_when_and_what(fetch: Fetch) -> None:
    written = await fill(fetch)
    answer = await fetch(f"GET {R}/revisions")
    assert answer.status == 200
    assert cursors(answer) == [one.headers["Cursor"] for one in reversed(written)]
    assert [one["action"] for one in answer.data] == ["update", "update", "create"]
    assert [one["data"] for one in answer.data] == [one.data for one in reversed(written)]
    alice = await principal(fetch, ALICE)
    newest = answer.data[0]
    assert newest["user_id"] == alice
    assert newest["permissions"] == {"write": [alice]}
    assert newest["last_modified"] == newest["data"]["last_modified"]
    assert (
        abs(datetime.fromisoformat(newest["date"]).timestamp() * 1000 - newest["last_modified"])
        < 60_000
    )
    assert answer.headers["ETag"] == written[-1].headers["ETag"]


async def test_client_that_has_the_newest_is_told_nothing(fetch: Fetch) -> None:
    *_, last = await fill(fetch)
    known = {"If-None-Match": last.headers["ETag"]}
    assert (await fetch(f"GET {R}/revisions", headers=known)).status == 304
    one = f"{R}/revisions/{last.headers['Cursor']}"
    assert (await fetch(f"GET {one}", headers=known)).status == 304
    await fetch(f"PATCH {R}", {"data": {"n": 4}})
    assert (await fetch(f"GET {R}/revisions", headers=known)).status == 200
    stale = {"If-Match": last.headers["ETag"]}
    assert (await fetch(f"GET {R}/revisions", headers=stale)).status == 412


async def test_revisions_come_in_pages_and_can_be_counted(fetch: Fetch) -> None:
    written = await fill(fetch)
    expected = [one.headers["Cursor"] for one in reversed(written)]
    first = await fetch(f"GET {R}/revisions?_limit=2")
    second = await fetch(f"GET {first.headers['Next-Page'].partition('/v1')[2]}")
    assert [cursors(first), cursors(second)] == [expected[:2], expected[2:]]
    assert "Next-Page" not in second.headers
    head = await fetch(f"HEAD {R}/revisions?_limit=1")
    assert (head.headers["Total-Objects"], head.body) == ("3", b"")
    between = f"{R}/revisions?_since={expected[2]}&_before={expected[0]}"
    assert cursors(await fetch(f"GET {between}")) == expected[1:2]
    assert (await fetch(f"HEAD {between}")).headers["Total-Objects"] == "1"


async def test_page_ends_with_its_bytes_and_the_rest_follows(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(fetch)
    monkeypatch.setattr("server.service.revisions.PAGE_MAX_BYTES", 50)
    walked: list[str] = []
    path: str | None = f"{R}/revisions"
    pages = 0
    while path is not None:
        answer = await fetch(f"GET {path}")
        walked += cursors(answer)
        following = answer.headers.get("Next-Page")
        path = following and following.partition("/v1")[2]
        pages += 1
    assert len(walked) == 3
    assert pages > 1


@pytest.mark.parametrize(
    "query",
    ["_limit=-1", "_limit=x", "_token=x", "_since=", "_since=x", "_before=1-", "_limit=1&_limit=2"],
)
async def test_page_that_cannot_be_understood_is_400(fetch: Fetch, query: str) -> None:
    await fill(fetch)
    answer = await fetch(f"GET {R}/revisions?{query}")
    assert (answer.status, answer.json["errno"]) == (400, 107)


async def test_token_of_one_object_is_none_of_another(fetch: Fetch) -> None:
    await fill(fetch)
    await fetch(f"PUT {RECORDS}/other")
    first = await fetch(f"GET {R}/revisions?_limit=2")
    token = first.headers["Next-Page"].partition("_token=")[2]
    assert (await fetch(f"GET {RECORDS}/other/revisions?_token={token}")).status == 400


async def test_one_revision_is_what_the_list_shows_of_it(fetch: Fetch) -> None:
    await fill(fetch)
    for shown in (await fetch(f"GET {R}/revisions")).data:
        answer = await fetch(f"GET {R}/revisions/{shown['cursor']}")
        assert answer.data == shown
        assert answer.headers["ETag"] == f'"{shown["last_modified"]}"'


async def test_revision_that_is_not_there_is_404_and_what_is_no_cursor_400(fetch: Fetch) -> None:
    first, *_ = await fill(fetch)
    for cursor in ("1", "1-1", first.headers["Cursor"] + "-5", "4000000000000"):
        answer = await fetch(f"GET {R}/revisions/{cursor}")
        assert (answer.status, answer.json["errno"]) == (404, 110)
        assert answer.json["details"]["resource_name"] == "revision"
    for cursor in ("x", "1-x", "-1", "99999999999999"):
        assert (await fetch(f"GET {R}/revisions/{cursor}")).status == 400
        assert (await fetch(f"POST {R}/revisions/{cursor}/revert")).status == 400
    assert (await fetch(f"GET {RECORDS}/never/revisions")).status == 404
    assert (await fetch(f"GET {RECORDS}/.bad/revisions")).status == 400
    assert (await fetch(f"GET {R}/revisions?_diff=1")).status == 200


async def test_difference_makes_one_revision_of_another(fetch: Fetch) -> None:
    await fill(fetch)
    await fetch(f"DELETE {R}")
    revisions = (await fetch(f"GET {R}/revisions")).data
    assert revisions[0]["action"] == "delete"
    for old in revisions:
        for new in revisions:
            path = f"{R}/revisions/{new['cursor']}?_diff={old['cursor']}"
            operations = (await fetch(f"GET {path}")).data
            assert jsonpatch.apply_patch(old["data"], operations) == new["data"]
            assert (old is new) == (operations == [])


async def test_difference_of_large_revisions_is_found_too(fetch: Fetch) -> None:
    await fill(fetch)
    old = {str(number): [number] * 20 for number in range(2000)}
    first = await fetch(f"PUT {R}", {"data": old})
    second = await fetch(f"PUT {R}", {"data": {**old, "7": 7}})
    path = f"{R}/revisions/{second.headers['Cursor']}?_diff={first.headers['Cursor']}"
    operations = (await fetch(f"GET {path}")).data
    assert {"op": "replace", "path": "/7", "value": 7} in operations
    assert jsonpatch.apply_patch(first.data, operations) == second.data


@pytest.mark.parametrize("other", ["x", "", "1-"])
async def test_difference_from_what_is_no_cursor_is_400(fetch: Fetch, other: str) -> None:
    *_, last = await fill(fetch)
    path = f"{R}/revisions/{last.headers['Cursor']}"
    assert (await fetch(f"GET {path}?_diff={other}")).status == 400
    assert (await fetch(f"GET {path}?_diff=1")).status == 404


async def test_revert_is_a_new_revision_with_that_data_and_the_permissions_of_now(
    fetch: Fetch,
) -> None:
    first, *_ = await fill(fetch)
    await fetch(f"PATCH {R}", {"permissions": {"read": ["system.Everyone"]}})
    answer = await fetch(f"POST {R}/revisions/{first.headers['Cursor']}/revert")
    assert answer.status == 200
    assert {**answer.data, "last_modified": 0} == {**first.data, "last_modified": 0}
    assert answer.data["last_modified"] > first.data["last_modified"]
    assert answer.json["permissions"]["read"] == ["system.Everyone"]
    now = await fetch(f"GET {R}")
    assert now.data == answer.data
    assert now.headers["ETag"] == answer.headers["ETag"]
    assert len((await fetch(f"GET {R}/revisions")).data) == 5


async def test_revert_keeps_to_its_preconditions(fetch: Fetch) -> None:
    first, *_, last = await fill(fetch)
    path = f"POST {R}/revisions/{first.headers['Cursor']}/revert"
    stale = await fetch(path, headers={"If-Match": first.headers["ETag"]})
    assert (stale.status, stale.json["details"]["existing"]["n"]) == (412, 3)
    assert (await fetch(path, headers={"If-None-Match": "*"})).status == 412
    assert (await fetch(path, headers={"If-Match": last.headers["ETag"]})).status == 200


async def test_revert_to_the_deletion_is_refused_in_one_sentence(fetch: Fetch) -> None:
    await fill(fetch)
    gone = await fetch(f"DELETE {R}")
    answer = await fetch(f"POST {R}/revisions/{gone.headers['Cursor']}/revert")
    assert (answer.status, answer.json["errno"]) == (400, 107)
    assert "DELETE the object instead" in answer.json["message"]
    assert (await fetch(f"GET {R}")).status == 404


async def test_revert_makes_a_deleted_object_again_with_its_last_permissions(fetch: Fetch) -> None:
    first, *_ = await fill(fetch)
    await fetch(f"PATCH {R}", {"permissions": {"read": ["system.Everyone"]}})
    await fetch(f"DELETE {R}")
    path = f"POST {R}/revisions/{first.headers['Cursor']}/revert"
    assert (await fetch(path, headers={"If-Match": first.headers["ETag"]})).status == 412
    answer = await fetch(path)
    assert (answer.status, answer.data["n"]) == (201, 1)
    alice = await principal(fetch, ALICE)
    assert answer.json["permissions"] == {"read": ["system.Everyone"], "write": [alice]}
    assert (await fetch(f"GET {R}", user=None)).data["n"] == 1


async def test_reverts_of_a_batch_see_each_other(fetch: Fetch) -> None:
    first, second, _ = await fill(fetch)
    requests = [
        {"method": "POST", "path": f"{R}/revisions/{one.headers['Cursor']}/revert"}
        for one in (first, second)
    ]
    requests.append({"method": "GET", "path": f"{R}/revisions?_limit=2"})
    one, two, three = (await fetch("POST /batch", {"requests": requests})).json["responses"]
    assert (one["body"]["data"]["n"], two["body"]["data"]["n"]) == (1, 2)
    assert [row["data"]["n"] for row in three["body"]["data"]] == [2, 1]


async def test_who_may_not_read_or_write_is_refused_whatever_the_revision(fetch: Fetch) -> None:
    first, *_ = await fill(fetch)
    cursor = first.headers["Cursor"]
    for path in (f"{R}/revisions", f"{R}/revisions/{cursor}", f"{R}/revisions/x"):
        assert (await fetch(f"GET {path}", user=BOB)).status == 403
        assert (await fetch(f"GET {path}", user=None)).status == 401
    await fetch(f"PATCH {R}", {"permissions": {"read": ["system.Everyone"]}})
    shown = await fetch(f"GET {R}/revisions", user=BOB)
    assert shown.status == 200
    assert all("permissions" not in one for one in shown.data)
    for one in (cursor, "1", "x"):
        assert (await fetch(f"POST {R}/revisions/{one}/revert", user=BOB)).status == 403


async def test_deleted_object_has_revisions_for_who_may_read_its_list(fetch: Fetch) -> None:
    await fill(fetch)
    await fetch(f"PATCH {R}", {"permissions": {"read": ["system.Everyone"]}})
    gone = await fetch(f"DELETE {R}")
    answer = await fetch(f"GET {R}/revisions")
    assert [one["action"] for one in answer.data] == [
        "delete",
        "update",
        "update",
        "update",
        "create",
    ]
    assert answer.headers["ETag"] == gone.headers["ETag"]
    assert answer.data[0]["data"] == gone.data
    assert (await fetch(f"GET {R}/revisions", user=BOB)).status == 403


async def test_who_makes_a_deleted_object_anew_learns_nothing_of_the_former(fetch: Fetch) -> None:
    first, *_ = await fill(fetch)
    await fetch(
        "PATCH /buckets/b/collections/c",
        {"permissions": {"record:create": ["system.Authenticated"]}},
    )
    await fetch(f"DELETE {R}")
    cursor = first.headers["Cursor"]
    assert (await fetch(f"POST {R}/revisions/{cursor}/revert", user=BOB)).status == 403
    await fetch(f"PUT {R}", {"data": {"mine": True}}, user=BOB)
    answer = await fetch(f"GET {R}/revisions", user=BOB)
    assert [one["data"].get("mine") for one in answer.data] == [True]
    assert (await fetch(f"HEAD {R}/revisions", user=BOB)).headers["Total-Objects"] == "1"
    assert (await fetch(f"GET {R}/revisions/{cursor}", user=BOB)).status == 404
    own = answer.data[0]["cursor"]
    assert (await fetch(f"GET {R}/revisions/{own}?_diff={cursor}", user=BOB)).status == 404
    assert (await fetch(f"GET {R}?_at={cursor}", user=BOB)).status == 404
    assert (await fetch(f"POST {R}/revisions/{cursor}/revert", user=BOB)).status == 404
    assert len((await fetch(f"GET {R}/revisions")).data) == 5


async def test_new_owner_of_a_bucket_learns_nothing_of_the_former(fetch: Fetch) -> None:
    first, *_ = await fill(fetch)
    bucket = await fetch("PATCH /buckets/b", {"data": {"secret": 1}})
    await fetch("DELETE /buckets/b")
    await fetch("PUT /buckets/b", {"data": {"mine": 1}}, user=BOB)
    await fetch("PUT /buckets/b/collections/c", user=BOB)
    answer = await fetch("GET /buckets/b/revisions", user=BOB)
    assert [one["data"].get("mine") for one in answer.data] == [1]
    assert (await fetch(f"GET /buckets/b?_at={bucket.headers['Cursor']}", user=BOB)).status == 404
    listed = await fetch(f"GET /buckets?_at={bucket.headers['Cursor']}", user=BOB)
    assert listed.data == []
    assert (await fetch(f"GET {R}/revisions/{first.headers['Cursor']}", user=BOB)).status == 410
    assert (await fetch(f"GET {RECORDS}?_at={first.headers['Cursor']}", user=BOB)).status == 410


async def test_revision_from_before_its_list_was_made_again_is_gone(fetch: Fetch) -> None:
    first, *_ = await fill(fetch)
    await fetch("DELETE /buckets/b/collections/c")
    await fetch("PUT /buckets/b/collections/c")
    await fetch(f"PUT {R}")
    for method, path in (("GET", ""), ("POST", "/revert")):
        answer = await fetch(f"{method} {R}/revisions/{first.headers['Cursor']}{path}")
        assert (answer.status, answer.json["errno"]) == (410, 118)
    answer = await fetch(f"GET {R}/revisions?_since={first.headers['Cursor']}")
    assert answer.json["details"]["reason"] == "floor"
    assert (await fetch(f"GET {R}/revisions?_since=4000000000000")).status == 410
    assert len((await fetch(f"GET {R}/revisions")).data) == 1


@pytest.mark.parametrize(
    "uri", ["/buckets/b", "/buckets/b/collections/c", "/buckets/b/groups/g", "/buckets/default"]
)
async def test_objects_of_every_kind_have_revisions_and_go_back_to_them(
    fetch: Fetch, uri: str
) -> None:
    await fill(fetch)
    first = await fetch(f"PUT {uri}", {"data": {"n": 1}})
    await fetch(f"PATCH {uri}", {"data": {"n": 2}})
    answer = await fetch(f"GET {uri}/revisions?_limit=2")
    assert [one["data"]["n"] for one in answer.data] == [2, 1]
    back = await fetch(f"POST {uri}/revisions/{first.headers['Cursor']}/revert")
    assert (back.status, back.data["n"]) == (200, 1)


async def test_other_methods_are_405_and_a_read_only_server_reverts_nothing(start: Start) -> None:
    fetch = await start()
    first, *_ = await fill(fetch)
    cursor = first.headers["Cursor"]
    answer = await fetch(f"POST {R}/revisions")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    answer = await fetch(f"GET {R}/revisions/{cursor}/revert")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST, OPTIONS")
    frozen = await start(readonly=True)
    assert (await frozen(f"POST {R}/revisions/{cursor}/revert")).status == 405
