from typing import Any

import pytest

from server import app
from tests.handlers.conftest import ALICE, BOB, Fetch, Start

EVERYBODY = {"permissions": {"read": ["system.Everyone"]}}

RECORDS = "/buckets/b/collections/c/records"


async def fill(fetch: Fetch, **collection: Any) -> None:
    """A bucket and a collection that everybody may read, with one record."""
    await fetch("PUT /buckets/b")
    await fetch("PUT /buckets/b/collections/c", {**EVERYBODY, "data": collection})
    await fetch(f"PUT {RECORDS}/r", {"data": {"a": {"b": 1, "c": 2}, "d": 3}})


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("setting", "target", "allowed"),
    [
        ("object_record_delete_enabled", f"DELETE {RECORDS}/r", f"DELETE {RECORDS}"),
        ("object_record_get_enabled", f"GET {RECORDS}/r", f"GET {RECORDS}"),
        ("plural_record_delete_enabled", f"DELETE {RECORDS}", f"DELETE {RECORDS}/r"),
        ("plural_record_head_enabled", f"HEAD {RECORDS}", f"GET {RECORDS}"),
        ("object_group_patch_enabled", "PATCH /buckets/b/groups/g", "GET /buckets/b/groups"),
    ],
)
async def test_endpoint_that_is_switched_off_is_405_and_others_are_not(
    setting: str, target: str, allowed: str, start: Start
) -> None:
    fetch = await start(**{setting: False})
    await fill(fetch)
    assert (await fetch(target)).status == 405
    assert (await fetch(allowed)).status == 200


@pytest.mark.gen_test
async def test_endpoint_that_is_switched_off_is_so_in_a_batch(start: Start) -> None:
    fetch = await start(object_record_delete_enabled=False)
    await fill(fetch)
    batch = {"requests": [{"method": "DELETE", "path": f"{RECORDS}/r"}]}
    (answer,) = (await fetch("POST /batch", batch)).json["responses"]
    assert answer["status"] == 405
    assert (await fetch(f"GET {RECORDS}/r")).status == 200


@pytest.mark.gen_test
async def test_fields_of_an_object_are_those_asked_for_and_its_names(fetch: Fetch) -> None:
    await fill(fetch)
    answer = await fetch(f"GET {RECORDS}/r?_fields=a.b,none")
    assert set(answer.json) == {"data"}
    data = answer.data
    assert data == {"id": "r", "last_modified": data["last_modified"], "a": {"b": 1}}
    assert (await fetch(f"GET {RECORDS}/r?_fields=a&_fields=d")).status == 400


@pytest.mark.gen_test
async def test_fields_of_a_list_leave_tombstones_whole(fetch: Fetch) -> None:
    await fill(fetch)
    await fetch(f"PUT {RECORDS}/gone")
    await fetch(f"DELETE {RECORDS}/gone")
    gone, there = (await fetch(f"GET {RECORDS}?_since=0&_fields=d")).data
    assert (gone["id"], gone["deleted"]) == ("gone", True)
    assert there == {"id": "r", "last_modified": there["last_modified"], "d": 3}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (60, "max-age=60"),
        (0, "no-cache, no-store, must-revalidate"),
        (-5, "no-cache, no-store, must-revalidate"),
        (1e300, "max-age=1000000000"),
        (10**30, "max-age=1000000000"),
        (None, "no-cache, no-store"),
    ],
)
async def test_collection_says_how_long_anonymous_may_keep_its_records(
    own: Any, expected: str, fetch: Fetch
) -> None:
    await fill(fetch, cache_expires=own)
    for path in (RECORDS, f"{RECORDS}/r"):
        answer = await fetch(f"GET {path}", user=None)
        assert (answer.status, answer.headers["Cache-Control"]) == (200, expected)
        user = await fetch(f"GET {path}", user=BOB)
        assert user.headers["Cache-Control"] == "no-cache, no-store"
    answer = await fetch("GET /buckets/b/collections/c", user=None)
    assert answer.headers["Cache-Control"] == "no-cache, no-store"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({"b__record_cache_expires_seconds": 7}, 7),
        ({"b__record_cache_expires_seconds": 7, "b__c__record_cache_expires_seconds": 9}, 9),
        ({"other__record_cache_expires_seconds": 7}, 60),
    ],
)
async def test_setting_goes_before_what_the_collection_says(
    settings: dict[str, int], seconds: int, start: Start
) -> None:
    fetch = await start(**settings)
    await fill(fetch, cache_expires=60)
    answer = await fetch(f"GET {RECORDS}", user=None)
    assert answer.headers["Cache-Control"] == f"max-age={seconds}"
    assert "Expires" in answer.headers


@pytest.mark.gen_test
@pytest.mark.parametrize("date", ["x", "", "1&last_modified=2", "%22%22", "-1", "1" * 16, "1.5"])
async def test_date_of_a_deletion_that_is_none_is_400_and_deletes_nothing(
    date: str, fetch: Fetch
) -> None:
    await fill(fetch)
    answer = await fetch(f"DELETE {RECORDS}/r?last_modified={date}")
    assert (answer.status, answer.json["details"][0]["location"]) == (400, "querystring")
    assert (await fetch(f"GET {RECORDS}/r")).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("quote", ["", "%22"])
async def test_date_of_a_deletion_is_that_of_the_tombstone(quote: str, fetch: Fetch) -> None:
    await fill(fetch)
    later = (await fetch(f"GET {RECORDS}/r")).data["last_modified"] + 1000
    answer = await fetch(f"DELETE {RECORDS}/r?last_modified={quote}{later}{quote}")
    assert answer.data == {"id": "r", "last_modified": later, "deleted": True}


@pytest.mark.gen_test
async def test_patch_answers_what_was_asked_for(fetch: Fetch) -> None:
    await fill(fetch)
    for behavior, expected in [("light", {"e": 1}), ("diff", {}), ("full", None)]:
        body = {"data": {"e": 1}}
        headers = {"Response-Behavior": behavior}
        answer = await fetch(f"PATCH {RECORDS}/r", body, headers=headers)
        data = {k: v for k, v in answer.data.items() if k not in ("id", "last_modified")}
        assert answer.status == 200
        assert data == ({"a": {"b": 1, "c": 2}, "d": 3, "e": 1} if expected is None else expected)


@pytest.mark.gen_test
async def test_generated_id_that_is_taken_is_replaced_by_another(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter(["taken", "taken", "free"])
    monkeypatch.setitem(app._MAKERS, "RelaxedUUID", lambda: next(ids))
    fetch = await start()
    await fetch("PUT /buckets/b")
    await fetch("PUT /buckets/b/collections/c")
    answers = [await fetch(f"POST {RECORDS}", {"data": {"n": n}}) for n in (1, 2)]
    assert [answer.status for answer in answers] == [201, 201]
    assert [answer.data["id"] for answer in answers] == ["taken", "free"]


@pytest.mark.gen_test
@pytest.mark.parametrize("user", [ALICE, None])
async def test_etag_of_a_list_and_its_objects_are_read_back(user: str | None, fetch: Fetch) -> None:
    await fill(fetch)
    for path in (RECORDS, f"{RECORDS}/r"):
        etag = (await fetch(f"GET {path}", user=user)).headers["ETag"]
        for method in ("GET", "HEAD"):
            target = f"{method} {path}"
            kept = await fetch(target, user=user, headers={"If-None-Match": etag})
            assert (kept.status, kept.body, kept.headers["ETag"]) == (304, b"", etag)
            stale = await fetch(target, user=user, headers={"If-Match": '"1"'})
            assert stale.status == 412


PAST = 1_000_000_000_000


@pytest.mark.gen_test
async def test_every_write_tells_its_cursor_and_so_does_a_batch(fetch: Fetch) -> None:
    await fill(fetch)
    parts = [
        ("PUT", f"{RECORDS}/p", {"data": {"last_modified": PAST}}),
        ("POST", RECORDS, {"data": {"id": "p"}}),
        ("PATCH", f"{RECORDS}/p", {"data": {"x": 1}}),
        ("DELETE", f"{RECORDS}/p", None),
        ("PUT", "/buckets/b/groups/g", {}),
        ("DELETE", "/buckets/b/groups", None),
    ]
    alone = [await fetch(f"{method} {path}", body) for method, path, body in parts]
    requests = [
        {"method": method, "path": path} | ({} if body is None else {"body": body})
        for method, path, body in parts
    ]
    items = (await fetch("POST /batch", {"requests": requests})).json["responses"]
    for headers in [*(one.headers for one in alone), *(item["headers"] for item in items)]:
        t, _, n = headers["Cursor"].partition("-")
        # What is dated in the past has the ETag of its date, and another place in the list.
        assert (f'"{t}"' == headers["ETag"]) == (n == "")
    assert alone[0].headers["Cursor"] == alone[1].headers["Cursor"]
    assert alone[0].headers["Cursor"].endswith("-1")


@pytest.mark.gen_test
@pytest.mark.parametrize("behavior", ["full", "light", "diff"])
async def test_every_answer_to_a_patch_tells_its_cursor(behavior: str, fetch: Fetch) -> None:
    await fill(fetch)
    headers = {"Response-Behavior": behavior}
    answer = await fetch(f"PATCH {RECORDS}/r", {"data": {"x": 1}}, headers=headers)
    assert f'"{answer.headers["Cursor"]}"' == answer.headers["ETag"]


@pytest.mark.gen_test
async def test_cursor_of_a_list_is_for_who_may_read_it_and_polls_without_a_gap(
    fetch: Fetch,
) -> None:
    await fill(fetch)
    first = await fetch(f"GET {RECORDS}")
    cursor = first.headers["Cursor"]
    assert cursor == first.headers["ETag"].strip('"') + "-0"
    written = await fetch(f"PUT {RECORDS}/p", {"data": {"last_modified": PAST}})
    answer = await fetch(f"GET {RECORDS}?_since=%22{cursor}%22")
    assert [one["id"] for one in answer.data] == ["p"]
    assert answer.headers["ETag"] == first.headers["ETag"]
    assert answer.headers["Cursor"] == written.headers["Cursor"]
    assert (await fetch(f"GET {RECORDS}?_since={cursor.partition('-')[0]}")).data == []
    assert "Cursor" not in (await fetch(f"GET {RECORDS}/p")).headers


@pytest.mark.gen_test
async def test_pollers_are_told_what_was_unshared_unless_it_is_switched_off(start: Start) -> None:
    for switched, told in [(True, ["r"]), (False, [])]:
        fetch = await start(sharee_tombstones=switched)
        await fetch("PUT /buckets/b")
        await fetch("PUT /buckets/b/collections/c")
        bob = (await fetch("GET /", user=BOB)).json["user"]["id"]
        shared = {"permissions": {"read": [bob]}}
        for name in ("kept", "r"):
            await fetch(f"PUT {RECORDS}/{name}", {"data": {"name": name}, **shared})
        first = await fetch(f"GET {RECORDS}", user=BOB)
        assert "Cursor" not in first.headers
        await fetch(f"PATCH {RECORDS}/r", {"permissions": {"read": []}})
        since = first.headers["ETag"].replace('"', "%22")
        answer = await fetch(f"GET {RECORDS}?_since={since}", user=BOB)
        assert [one["id"] for one in answer.data if one.get("deleted")] == told


async def turn(fetch: Fetch) -> tuple[str, Any]:
    """A record that was changed since, one that was deleted, and one that was made; the cursor."""
    await fill(fetch)
    await fetch(f"PUT {RECORDS}/gone", {"data": {"d": 4}})
    then = await fetch(f"GET {RECORDS}")
    await fetch(f"PUT {RECORDS}/r", {"data": {"d": 5}})
    await fetch(f"DELETE {RECORDS}/gone")
    await fetch(f"PUT {RECORDS}/new", {"data": {"d": 6}})
    return then.headers["Cursor"], then


@pytest.mark.gen_test
async def test_list_is_shown_as_it_was_with_the_headers_of_then(fetch: Fetch) -> None:
    cursor, then = await turn(fetch)
    answer = await fetch(f"GET {RECORDS}?_at={cursor}")
    assert answer.data == then.data
    for name in ("ETag", "Last-Modified", "Cursor"):
        assert answer.headers[name] == then.headers[name]
    head = await fetch(f"HEAD {RECORDS}?_at={cursor}&min_d=4")
    assert (head.headers["Total-Objects"], head.body) == ("1", b"")
    assert (await fetch(f"HEAD {RECORDS}?_at={cursor}")).headers["Total-Objects"] == "2"
    known = {"If-None-Match": then.headers["ETag"]}
    assert (await fetch(f"GET {RECORDS}?_at={cursor}", headers=known)).status == 304
    waiting = {**known, "Prefer": "wait=25"}
    assert (await fetch(f"GET {RECORDS}?_at={cursor}", headers=waiting)).status == 304


@pytest.mark.gen_test
async def test_walk_through_a_list_of_the_past_keeps_to_its_state(fetch: Fetch) -> None:
    cursor, then = await turn(fetch)
    first = await fetch(f"GET {RECORDS}?_limit=1&_sort=d&_at={cursor}&_fields=d")
    await fetch(f"PUT {RECORDS}/gone", {"data": {"d": 7}})
    second = await fetch(f"GET {first.headers['Next-Page'].partition('/v1')[2]}")
    assert [one["d"] for one in first.data + second.data] == [3, 4]
    assert second.headers["ETag"] == first.headers["ETag"] == then.headers["ETag"]
    assert "Next-Page" not in second.headers


@pytest.mark.gen_test
async def test_object_is_shown_as_it_was_also_if_it_is_gone(fetch: Fetch) -> None:
    cursor, _ = await turn(fetch)
    answer = await fetch(f"GET {RECORDS}/gone?_at={cursor}")
    assert (answer.data["d"], answer.json["permissions"]) == (4, {})
    answer = await fetch(f"GET {RECORDS}/r?_at={cursor}&_fields=a.b")
    assert answer.data["a"] == {"b": 1}
    assert answer.headers["ETag"] == f'"{answer.data["last_modified"]}"'
    known = {"If-None-Match": answer.headers["ETag"]}
    assert (await fetch(f"GET {RECORDS}/r?_at={cursor}", headers=known)).status == 304
    missing = await fetch(f"GET {RECORDS}/new?_at={cursor}")
    assert (missing.status, missing.json["errno"]) == (404, 110)
    assert (await fetch(f"HEAD {RECORDS}/r?_at={cursor}")).body == b""


@pytest.mark.gen_test
async def test_object_of_the_past_has_the_permissions_of_then_for_who_may_write_it(
    fetch: Fetch,
) -> None:
    cursor, _ = await turn(fetch)
    await fetch(f"PATCH {RECORDS}/r", EVERYBODY)
    answer = await fetch(f"GET {RECORDS}/r?_at={cursor}")
    assert set(answer.json["permissions"]) == {"write"}
    assert (await fetch(f"GET {RECORDS}/r?_at={cursor}", user=BOB)).json["permissions"] == {}


@pytest.mark.gen_test
@pytest.mark.parametrize("path", [RECORDS, f"{RECORDS}/r"])
@pytest.mark.parametrize(
    "query", ["_at=", "_at=x", "_at=1-", "_at=1&_at=2", "_at=1&_since=1", "_at=1&_wait=5"]
)
async def test_state_that_cannot_be_understood_is_400(fetch: Fetch, path: str, query: str) -> None:
    await fill(fetch)
    answer = await fetch(f"GET {path}?{query}")
    assert (answer.status, answer.json["errno"]) == (400, 107)
    private = path.replace("/b/", "/none/")
    assert (await fetch(f"GET {private}?{query}")).status == 403


@pytest.mark.gen_test
@pytest.mark.parametrize("path", [RECORDS, f"{RECORDS}/r"])
async def test_state_that_is_not_known_is_410(fetch: Fetch, path: str) -> None:
    cursor, _ = await turn(fetch)
    ahead = await fetch(f"GET {path}?_at=4000000000000")
    assert (ahead.status, ahead.json["details"]["reason"]) == (410, "ahead")
    await fetch("DELETE /buckets/b")
    await fill(fetch)
    floor = await fetch(f"GET {path}?_at={cursor}")
    assert (floor.status, floor.json["errno"]) == (410, 118)
    assert floor.json["details"]["reason"] == "floor"


@pytest.mark.gen_test
async def test_nothing_is_written_to_the_past_or_streamed_from_it(fetch: Fetch) -> None:
    cursor, _ = await turn(fetch)
    for target in (
        f"PUT {RECORDS}/r",
        f"PATCH {RECORDS}/r",
        f"DELETE {RECORDS}/r",
        f"POST {RECORDS}",
        f"DELETE {RECORDS}",
    ):
        body = None if target.startswith("DELETE") else {"data": {"d": 0}}
        assert (await fetch(f"{target}?_at={cursor}", body)).status == 400
    assert len((await fetch(f"GET {RECORDS}")).data) == 2
    events = {"Accept": "text/event-stream"}
    for path in (RECORDS, f"{RECORDS}/r"):
        assert (await fetch(f"GET {path}?_at={cursor}", headers=events)).status == 400
    for path in ("/permissions", "/buckets/b/changes"):
        assert (await fetch(f"GET {path}?_at={cursor}")).status == 400


@pytest.mark.gen_test
async def test_past_can_be_read_in_a_batch(fetch: Fetch) -> None:
    cursor, then = await turn(fetch)
    requests = [
        {"path": f"{RECORDS}?_at={cursor}"},
        {"method": "PUT", "path": f"{RECORDS}/r", "body": {"data": {"d": 8}}},
        {"path": f"{RECORDS}/r?_at={cursor}"},
    ]
    listed, _, one = (await fetch("POST /batch", {"requests": requests})).json["responses"]
    assert listed["body"]["data"] == then.data
    assert one["body"]["data"]["d"] == 3


@pytest.mark.gen_test
async def test_list_of_buckets_has_a_past_for_who_may_read_all_of_it(start: Start) -> None:
    fetch = await start(bucket_read_principals="system.Authenticated")
    first = await fetch("PUT /buckets/one", {"data": {"n": 1}})
    await fetch("PATCH /buckets/one", {"data": {"n": 2}})
    await fetch("PUT /buckets/two")
    await fetch("DELETE /buckets/one")
    at = first.headers["Cursor"]
    answer = await fetch(f"GET /buckets?_at={at}", user=BOB)
    assert answer.data == [first.data]
    assert (await fetch(f"HEAD /buckets?_at={at}", user=BOB)).headers["Total-Objects"] == "1"
    assert (await fetch(f"GET /buckets/one?_at={at}", user=BOB)).data == first.data
    assert len((await fetch("GET /buckets/one/revisions", user=BOB)).data) == 3


@pytest.mark.gen_test
async def test_accounts_have_no_past(start: Start) -> None:
    fetch = await start(
        includes="accounts",
        multiauth__policies="account",
        account_create_principals="system.Everyone",
        userid_hmac_secret="secret",
    )
    await fetch("PUT /accounts/carol", {"data": {"password": "secret"}}, user=None)
    carol = "Basic Y2Fyb2w6c2VjcmV0"
    for path in ("/accounts?_at=1", "/accounts/carol?_at=1"):
        answer = await fetch(f"GET {path}", user=carol)
        assert (answer.status, answer.json["errno"]) == (400, 107)
    assert (await fetch("GET /accounts/carol/revisions", user=carol)).status == 404


@pytest.mark.gen_test
async def test_flush_ends_the_past_of_the_list_of_buckets(start: Start) -> None:
    fetch = await start(includes="flush", bucket_read_principals="system.Authenticated")
    first = await fetch("PUT /buckets/one")
    await fetch("POST /__flush__")
    for path in ("/buckets", "/buckets/one"):
        assert (await fetch(f"GET {path}?_at={first.headers['Cursor']}")).status == 410
    assert (await fetch("GET /buckets/one/revisions")).status == 404
