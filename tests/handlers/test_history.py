from typing import Any

import pytest
from tornado.ioloop import IOLoop

from tests.handlers.conftest import ALICE, BOB, Fetch, Start

pytestmark = pytest.mark.gen_test

HISTORY = "/buckets/b/history"


@pytest.fixture
def fetch(start: Start, io_loop: IOLoop) -> Fetch:
    """Asks a server that has a history."""
    return io_loop.run_sync(lambda: start(includes="history default_bucket"))  # type: ignore[no-any-return]


async def fill(fetch: Fetch) -> None:
    """A bucket with a group, a collection, and a record that was made, changed and deleted."""
    await fetch("PUT /buckets/b", {"data": {"n": 0}})
    await fetch("PUT /buckets/b/groups/g", {"data": {"members": []}})
    await fetch("PUT /buckets/b/collections/c")
    await fetch("PUT /buckets/b/collections/c/records/r", {"data": {"n": 1}})
    await fetch("PATCH /buckets/b/collections/c/records/r", {"data": {"n": 2}})
    await fetch("DELETE /buckets/b/collections/c/records/r")


async def principal(fetch: Fetch, user: str) -> str:
    answer = await fetch("GET /", user=user)
    return str(answer.json["user"]["id"])


def spell(answer: Any) -> list[str]:
    """Actions and URIs of the entries, for short."""
    return [f"{one['action']} {one['uri'].rpartition('/')[2]}" for one in answer.data]


async def test_history_tells_what_was_done_newest_first(fetch: Fetch) -> None:
    await fill(fetch)
    answer = await fetch(f"GET {HISTORY}")
    assert spell(answer) == [
        "delete r",
        "update r",
        "create r",
        "create c",
        "create g",
        "create b",
    ]
    stamps = [one["last_modified"] for one in answer.data]
    assert stamps == sorted(stamps, reverse=True)
    assert answer.headers["ETag"] == f'"{stamps[0]}"'
    assert len({one["id"] for one in answer.data}) == 6


async def test_entry_has_the_members_of_the_reference(fetch: Fetch) -> None:
    await fill(fetch)
    user = await principal(fetch, ALICE)
    update = (await fetch(f"GET {HISTORY}?action=update")).data[0]
    assert update["date"][10] == "T"
    assert update["date"][-6:] == "+00:00"
    assert {**update, "id": 0, "date": 0, "last_modified": 0} == {
        "id": 0,
        "last_modified": 0,
        "date": 0,
        "action": "update",
        "uri": "/buckets/b/collections/c/records/r",
        "user_id": user,
        "resource_name": "record",
        "collection_id": "c",
        "record_id": "r",
        "target": {
            "data": {"id": "r", "n": 2, "last_modified": update["target"]["data"]["last_modified"]},
            "permissions": {"write": [user]},
        },
    }


async def test_entries_name_the_ids_in_their_uri(fetch: Fetch) -> None:
    await fill(fetch)
    entries = (await fetch(f"GET {HISTORY}")).data
    ids = [{name: one[name] for name in one if name.endswith("_id")} for one in entries]
    assert [sorted(set(one) - {"user_id"}) for one in ids] == [
        *[["collection_id", "record_id"]] * 3,
        ["collection_id"],
        ["group_id"],
        ["bucket_id"],
    ]


async def test_entry_of_a_deletion_has_the_tombstone_only(fetch: Fetch) -> None:
    await fill(fetch)
    target = (await fetch(f"GET {HISTORY}?action=delete")).data[0]["target"]
    assert sorted(target["data"]) == ["deleted", "id", "last_modified"]
    assert target["permissions"] == {}


async def test_cascade_is_one_entry_that_says_how_much_went(fetch: Fetch) -> None:
    await fill(fetch)
    for name in ("x", "y"):
        await fetch(f"PUT /buckets/b/collections/c/records/{name}")
    await fetch("DELETE /buckets/b/collections/c")
    answer = await fetch(f"GET {HISTORY}?action=delete&resource_name=collection")
    assert [one["removed"] for one in answer.data] == [{"records": 2}]
    assert len((await fetch(f"GET {HISTORY}?record_id=x")).data) == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("resource_name=group", ["create g"]),
        ("in_resource_name=group,bucket", ["create g", "create b"]),
        ("exclude_resource_name=record,collection", ["create g", "create b"]),
        ("collection_id=c&resource_name=record&action=create", ["create r"]),
        ("record_id=r&collection_id=c&_sort=last_modified&_limit=1", ["create r"]),
        ("uri=/buckets/b", ["create b"]),
        ("uri=/buckets/other", []),
        ("uri=nonsense", []),
        ("target.data.n=2", ["update r"]),
        ("gt_target.data.n=1&resource_name=record&has_target.data.n=true", ["update r"]),
        ("like_user_id=basicauth:*&resource_name=bucket", ["create b"]),
        ("exclude_user_id=nobody&resource_name=bucket", ["create b"]),
        ("record_id=1", []),
        ("_since=1&resource_name=bucket", ["create b"]),
        ("_before=1", []),
        ("_sort=action,uri&_limit=2", ["create b", "create c"]),
        ("_sort=-target.data.n&has_target.data.n=true&_limit=2", ["update r", "create r"]),
    ],
)
async def test_filters_and_orders_are_those_of_every_list(
    query: str, found: list[str], fetch: Fetch
) -> None:
    await fill(fetch)
    assert spell(await fetch(f"GET {HISTORY}?{query}")) == found


async def test_filters_by_time_are_exact_at_both_ends(fetch: Fetch) -> None:
    await fill(fetch)
    stamps = [one["last_modified"] for one in (await fetch(f"GET {HISTORY}")).data]
    middle = stamps[2]
    for query, wanted in (
        (f"_since={middle}", stamps[:2]),
        (f'_since="{middle}"', stamps[:2]),
        (f"_since={middle}-0", stamps[:2]),
        (f"min_last_modified={middle}", stamps[:3]),
        (f"_before={middle}", stamps[3:]),
        (f"max_last_modified={middle}", stamps[2:]),
        (f"last_modified={middle}", [middle]),
        (f"id={middle}", [middle]),
        (f"in_id={middle},{stamps[0]}", [stamps[0], middle]),
    ):
        answer = await fetch(f"GET {HISTORY}?{query}")
        assert [one["last_modified"] for one in answer.data] == wanted, query


@pytest.mark.parametrize(
    "query", ["foo=1", "_sort=foo", "_fields=foo", "_limit=-1", "_token=x", "_since=x", "_at=1"]
)
async def test_bad_query_is_400_for_readers_and_403_for_others(query: str, fetch: Fetch) -> None:
    await fill(fetch)
    for method in ("GET", "DELETE"):
        answer = await fetch(f"{method} {HISTORY}?{query}")
        assert (answer.status, answer.json["errno"]) == (400, 107)
        assert (await fetch(f"{method} {HISTORY}?{query}", user=BOB)).status == 403


@pytest.mark.parametrize("order", ["", "_sort=last_modified&", "_sort=uri&", "_sort=-action&"])
async def test_walk_through_the_pages_meets_every_entry_once(order: str, fetch: Fetch) -> None:
    await fill(fetch)
    whole = (await fetch(f"GET {HISTORY}?{order}")).data
    seen: list[Any] = []
    target, etags = f"GET {HISTORY}?{order}_limit=4", set()
    while target:
        answer = await fetch(target)
        seen += answer.data
        etags.add(answer.headers["ETag"])
        following = answer.headers.get("Next-Page")
        target = "GET " + following.partition("/v1")[2] if following else ""
        await fetch("PATCH /buckets/b", {"data": {"later": True}})
    assert (seen, len(etags)) == (whole, 1)


async def test_fields_that_are_not_asked_for_are_left_out(fetch: Fetch) -> None:
    await fill(fetch)
    answer = await fetch(f"GET {HISTORY}?_fields=uri,target.data.n&record_id=r&action=update")
    assert [sorted(one) for one in answer.data] == [["id", "last_modified", "target", "uri"]]
    assert answer.data[0]["target"] == {"data": {"n": 2}}


async def test_head_counts_what_matches(fetch: Fetch) -> None:
    await fill(fetch)
    for query, total in (("", "6"), ("?resource_name=record", "3"), ("?target.data.n=1", "1")):
        answer = await fetch(f"HEAD {HISTORY}{query}")
        assert (answer.status, answer.headers["Total-Objects"]) == (200, total)
        assert answer.headers["Total-Records"] == total


async def test_client_that_has_it_is_told_so_until_something_happens(fetch: Fetch) -> None:
    await fill(fetch)
    etag = (await fetch(f"GET {HISTORY}")).headers["ETag"]
    known = {"If-None-Match": etag}
    assert (await fetch(f"GET {HISTORY}", headers=known)).status == 304
    await fetch(f"DELETE {HISTORY}?resource_name=group")
    assert (await fetch(f"GET {HISTORY}", headers=known)).status == 200
    assert (await fetch(f"GET {HISTORY}", headers={"If-Match": etag})).status == 412


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_history_is_not_written(method: str, fetch: Fetch) -> None:
    await fill(fetch)
    answer = await fetch(f"{method} {HISTORY}", {})
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, DELETE, OPTIONS")


async def test_strangers_see_nothing_also_of_what_is_not_there(fetch: Fetch) -> None:
    await fill(fetch)
    for bucket in ("b", "nothing"):
        assert (await fetch(f"GET /buckets/{bucket}/history", user=BOB)).status == 403
        assert (await fetch(f"GET /buckets/{bucket}/history", user=None)).status == 401
        assert (await fetch(f"DELETE /buckets/{bucket}/history", user=BOB)).status == 403


async def test_reader_of_a_collection_sees_what_was_done_in_it_from_the_beginning(
    fetch: Fetch,
) -> None:
    await fill(fetch)
    bob = await principal(fetch, BOB)
    await fetch("PUT /buckets/b/collections/d/records/x")
    await fetch("PATCH /buckets/b/collections/c", {"permissions": {"read": [bob]}})
    answer = await fetch(f"GET {HISTORY}", user=BOB)
    assert spell(answer) == ["update c", "delete r", "update r", "create r"]
    assert {str(one["target"]["permissions"]) for one in answer.data} == {"{}"}
    assert (await fetch(f"HEAD {HISTORY}", user=BOB)).headers["Total-Objects"] == "4"
    await fetch("PATCH /buckets/b/collections/c", {"permissions": {"read": []}})
    # What was shown stays shown: it names them.
    assert spell(await fetch(f"GET {HISTORY}", user=BOB)) == ["update c"]


async def test_reader_of_a_record_sees_what_named_them_and_its_going(fetch: Fetch) -> None:
    await fill(fetch)
    bob = await principal(fetch, BOB)
    uri = "/buckets/b/collections/c/records/s"
    await fetch(f"PUT {uri}", {"data": {"n": 1}})
    await fetch(f"PATCH {uri}", {"data": {"n": 2}, "permissions": {"read": [bob]}})
    await fetch(f"PATCH {uri}", {"data": {"n": 3}, "permissions": {"read": []}})
    await fetch(f"PATCH {uri}", {"data": {"n": 4}, "permissions": {"read": [bob]}})
    await fetch(f"DELETE {uri}")
    answer = await fetch(f"GET {HISTORY}?record_id=s", user=BOB)
    assert spell(answer) == ["delete s", "update s", "update s"]
    assert [one["target"]["data"].get("n") for one in answer.data] == [None, 4, 2]
    etag = int(answer.headers["ETag"].strip('"'))
    assert etag < answer.data[0]["last_modified"]
    known = {"If-None-Match": answer.headers["ETag"]}
    assert (await fetch(f"GET {HISTORY}", user=BOB, headers=known)).status == 200


async def test_member_of_a_group_sees_what_the_group_was_given(fetch: Fetch) -> None:
    await fill(fetch)
    bob = await principal(fetch, BOB)
    rights = {"permissions": {"read": ["/buckets/b/groups/g"]}}
    await fetch("PUT /buckets/b/collections/c/records/s", rights)
    assert (await fetch(f"GET {HISTORY}", user=BOB)).status == 403
    await fetch("PATCH /buckets/b/groups/g", {"data": {"members": [bob]}})
    assert spell(await fetch(f"GET {HISTORY}", user=BOB)) == ["create s"]


async def test_reader_of_the_bucket_sees_all_but_clears_nothing(fetch: Fetch) -> None:
    await fill(fetch)
    bob = await principal(fetch, BOB)
    await fetch("PATCH /buckets/b", {"permissions": {"read": [bob]}})
    assert len((await fetch(f"GET {HISTORY}", user=BOB)).data) == 7
    assert (await fetch(f"DELETE {HISTORY}", user=BOB)).status == 403


async def test_clearing_gives_tombstones_and_leaves_nothing(fetch: Fetch) -> None:
    await fill(fetch)
    ids = [one["id"] for one in (await fetch(f"GET {HISTORY}")).data]
    answer = await fetch(f"DELETE {HISTORY}")
    assert answer.status == 200
    assert [one["id"] for one in answer.data] == ids
    stamp = int(answer.headers["ETag"].strip('"'))
    assert {(one["last_modified"], one["deleted"]) for one in answer.data} == {(stamp, True)}
    assert (await fetch(f"GET {HISTORY}")).data == []
    assert (await fetch(f"DELETE {HISTORY}")).data == []
    await fetch("PUT /buckets/b/collections/c/records/later")
    assert spell(await fetch(f"GET {HISTORY}")) == ["create later"]


async def test_clearing_by_filter_leaves_the_rest(fetch: Fetch) -> None:
    await fill(fetch)
    answer = await fetch(f"DELETE {HISTORY}?action=create&exclude_resource_name=bucket")
    assert len(answer.data) == 3
    assert spell(await fetch(f"GET {HISTORY}")) == ["delete r", "update r", "create b"]
    await fetch(f"DELETE {HISTORY}?uri=/buckets/b")
    assert spell(await fetch(f"GET {HISTORY}")) == ["delete r", "update r"]
    assert (await fetch(f"HEAD {HISTORY}")).headers["Total-Objects"] == "2"


@pytest.mark.parametrize("order", ["", "&_sort=last_modified", "&_sort=-target.data.n"])
async def test_clearing_page_by_page_ends_with_nothing(order: str, fetch: Fetch) -> None:
    await fill(fetch)
    target, gone = f"DELETE {HISTORY}?_limit=4{order}", 0
    first = ""
    while target:
        answer = await fetch(target)
        gone += len(answer.data)
        following = answer.headers.get("Next-Page")
        target = "DELETE " + following.partition("/v1")[2] if following else ""
        first = first or target
    assert (gone, (await fetch(f"GET {HISTORY}")).data) == (6, [])
    assert (await fetch(first)).status == 400


async def test_clearing_with_a_stale_belief_is_412_and_takes_nothing(fetch: Fetch) -> None:
    await fill(fetch)
    etag = (await fetch(f"GET {HISTORY}")).headers["ETag"]
    await fetch("PATCH /buckets/b", {"data": {"n": 1}})
    assert (await fetch(f"DELETE {HISTORY}", headers={"If-Match": etag})).status == 412
    assert len((await fetch(f"GET {HISTORY}")).data) == 7
    etag = (await fetch(f"GET {HISTORY}")).headers["ETag"]
    assert (await fetch(f"DELETE {HISTORY}", headers={"If-Match": etag})).status == 200


async def test_history_goes_with_its_bucket(fetch: Fetch) -> None:
    await fill(fetch)
    await fetch("DELETE /buckets/b")
    await fetch("PUT /buckets/b", user=BOB)
    answer = await fetch(f"GET {HISTORY}", user=BOB)
    assert spell(answer) == ["create b"]
    assert (await fetch(f"GET {HISTORY}", user=ALICE)).status == 403


async def test_default_bucket_has_a_history_from_its_first_use(fetch: Fetch) -> None:
    assert spell(await fetch("GET /buckets/default/history"))[0].startswith("create ")
    await fetch("PUT /buckets/default/collections/c/records/r")
    answer = await fetch("DELETE /buckets/default/history?resource_name=record")
    assert len(answer.data) == 1
    assert (await fetch("DELETE /buckets/default/history", user=BOB)).status == 200


async def test_excluded_resources_and_users_are_left_out(start: Start) -> None:
    fetch = await start(
        includes="history",
        history__exclude_resources="/buckets/b/collections/c /buckets/b/groups/g",
    )
    await fill(fetch)
    assert spell(await fetch(f"GET {HISTORY}")) == ["create b"]
    fetch = await start(includes="history", userid_hmac_secret="same")
    alice = await principal(fetch, ALICE)
    fetch = await start(
        includes="history", history__exclude_user_ids=alice, userid_hmac_secret="same"
    )
    await fill(fetch)
    assert (await fetch(f"GET {HISTORY}")).data == []


async def test_setting_lets_somebody_read_and_clear_every_history(start: Start) -> None:
    fetch = await start(includes="history", history_read_principals="system.Authenticated")
    await fill(fetch)
    assert len((await fetch(f"GET {HISTORY}", user=BOB)).data) == 6
    assert (await fetch(f"DELETE {HISTORY}", user=BOB)).status == 403
    fetch = await start(includes="history", history_write_principals="system.Authenticated")
    await fill(fetch)
    assert len((await fetch(f"DELETE {HISTORY}", user=BOB)).data) == 6


async def test_without_the_feature_there_is_no_history(start: Start) -> None:
    fetch = await start()
    await fill(fetch)
    assert (await fetch(f"GET {HISTORY}")).status == 404


async def test_history_of_a_batch_is_read_in_it_but_not_cleared(fetch: Fetch) -> None:
    await fill(fetch)
    requests = [
        {"method": "PATCH", "path": "/buckets/b", "body": {"data": {"n": 5}}},
        {"path": f"{HISTORY}?_limit=1"},
    ]
    answer = await fetch("POST /batch", {"requests": requests})
    (entry,) = answer.json["responses"][1]["body"]["data"]
    assert entry["target"]["data"]["n"] == 5
    answer = await fetch("POST /batch", {"requests": [{"method": "DELETE", "path": HISTORY}]})
    assert answer.json["responses"][0]["status"] == 400
