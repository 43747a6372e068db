import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from handlers.messages import ApiRequest
from handlers.waits import asks_to_wait, parse_wait
from server.core.errors import InvalidParameters
from server.core.permissions import ANONYMOUS
from tests.handlers.conftest import ALICE, BOB
from tests.handlers.lives import B, C, Hesitant, LiveServer, R, etag_of, open_live, run_live

pytestmark = pytest.mark.gen_test(timeout=60)

MEMORY = {"KINTO_STORAGE_BACKEND": "memory"}


@pytest.fixture(params=["memory", "mongo"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[LiveServer]:
    yield from run_live(request, io_loop, includes="default_bucket")


async def furnished(server: LiveServer, *readers: str) -> str:
    """The ETag of a collection with one record, which some users may read besides alice."""
    names = [await server.user_id(one) for one in readers]
    await server.furnish({"read": names})
    await server.put(f"{R}/first", {"status": "open"})
    return etag_of(await server.ask(f"GET {R}"))


async def test_change_that_came_before_is_answered_at_once(server: LiveServer) -> None:
    since = await furnished(server)
    await server.put(f"{R}/a")
    answer = await server.ask(f"GET {R}?_since={since}&_wait=25")
    plain = await server.ask(f"GET {R}?_since={since}")
    assert [one["id"] for one in answer.data] == ["a"]
    assert answer.body == plain.body
    for name in ("etag", "cursor", "last-modified", "access-control-expose-headers"):
        assert answer.headers[name] == plain.headers[name]
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("write", ["create", "update", "delete", "list"])
async def test_change_answers_who_waits(write: str, server: LiveServer) -> None:
    since = await furnished(server)
    talk = await server.poll(f"{R}?_since={since}&_wait=25")
    body = {"data": {"n": 1}}
    if write == "create":
        await server.ask(f"POST {R}", body)
    elif write == "list":
        await server.ask(f"DELETE {R}")
    else:
        method = "PUT" if write == "update" else "DELETE"
        await server.ask(f"{method} {R}/first", body if write == "update" else None)
    answer = await talk.answer()
    plain = await server.ask(f"GET {R}?_since={since}")
    assert len(answer.data) == 1
    assert (answer.body, etag_of(answer)) == (plain.body, etag_of(plain))
    assert answer.headers["cursor"] == plain.headers["cursor"]
    await server.until(lambda: server.live.hub.count == 0)
    assert not server.live.waiters


async def test_end_of_the_wait_is_an_empty_list_with_the_etag_of_since(server: LiveServer) -> None:
    since = await furnished(server)
    for sent in (since, f'"{since}"', f"{since}-0"):
        answer = await server.ask(f"GET {R}?_since={sent}&_wait=1")
        assert (answer.status, answer.data) == (200, [])
        assert etag_of(answer) == since
        assert answer.headers["cursor"] == f"{since}-0"
        assert "no-store" in answer.headers["cache-control"]


async def test_end_of_the_wait_is_304_where_the_client_named_the_etag(server: LiveServer) -> None:
    since = await furnished(server)
    known = {"If-None-Match": f'"{since}"'}
    for query in ("?_wait=1", f"?_since={since}&_wait=1"):
        answer = await server.ask(f"GET {R}{query}", headers=known)
        assert (answer.status, answer.body, etag_of(answer)) == (304, b"", since)


async def test_etag_that_is_waited_for_is_answered_by_the_list(server: LiveServer) -> None:
    since = await furnished(server)
    known = {"If-None-Match": f'"{since}"'}
    talk = await server.poll(f"{R}?_wait=25", headers=known)
    await server.put(f"{R}/a")
    answer = await talk.answer()
    assert {one["id"] for one in answer.data} == {"first", "a"}


async def test_filtered_list_whose_etag_is_waited_for_is_answered_by_any_change(
    server: LiveServer,
) -> None:
    known = {"If-None-Match": f'"{await furnished(server)}"'}
    talk = await server.poll(f"{R}?status=open&_wait=25", headers=known)
    await server.put(f"{R}/a", {"status": "closed"})
    answer = await talk.answer()
    assert [one["id"] for one in answer.data] == ["first"]


@pytest.mark.parametrize("query", ["?_wait=25", "?_wait=25&_limit=5", "?_wait=25&_since=null"])
async def test_who_has_nothing_yet_does_not_wait(query: str, server: LiveServer) -> None:
    await furnished(server)
    answer = await server.ask(f"GET {R}{query}", headers={"Prefer": "wait=25"})
    assert [one["id"] for one in answer.data] == ["first"]
    assert "preference-applied" not in answer.headers


async def test_etag_that_is_old_is_answered_at_once(server: LiveServer) -> None:
    await furnished(server)
    answer = await server.ask(f"GET {R}?_wait=25", headers={"If-None-Match": '"5"'})
    assert [one["id"] for one in answer.data] == ["first"]


async def test_head_does_not_wait_nor_does_the_page_of_a_walk(server: LiveServer) -> None:
    since = await furnished(server)
    assert (await server.ask(f"HEAD {R}?_since={since}&_wait=25")).status == 200
    for name in ("a", "b"):
        await server.put(f"{R}/{name}")
    first = await server.ask(f"GET {R}?_since={since}&_wait=25&_limit=1")
    following = first.headers["next-page"].partition("/v1")[2]
    await server.ask(f"DELETE {R}/a")
    await server.ask(f"DELETE {R}/b")
    second = await server.ask(f"GET {following}")
    assert second.status == 200


async def test_preference_is_applied_and_said_to_be(server: LiveServer) -> None:
    since = await furnished(server)
    answer = await server.ask(f"GET {R}?_since={since}", headers={"Prefer": "foo, wait=1"})
    assert (answer.data, answer.headers["preference-applied"]) == ([], "wait=1")
    await server.put(f"{R}/a")
    answer = await server.ask(f"GET {R}?_since={since}", headers={"Prefer": "Wait=600; x=y"})
    assert (len(answer.data), answer.headers["preference-applied"]) == (1, "wait=25")


@pytest.mark.parametrize("wait", ["0", "26", "-1", "x", "", "1.5", "²", "9" * 5000])
async def test_wait_that_is_no_number_from_1_to_25_is_400(wait: str, server: LiveServer) -> None:
    await furnished(server)
    for target in (f"GET {R}", f"HEAD {R}", f"GET {B}/changes", f"GET {B}/collections"):
        answer = await server.ask(f"{target}?_wait={wait}".replace("²", "%C2%B2"))
        assert answer.status == 400, target
    twice = await server.ask(f"GET {R}?_wait=1&_wait=1")
    assert (twice.status, twice.json["errno"]) == (400, 107)
    assert (await server.ask(f"GET {R}?_wait=x", user=BOB)).status == 403


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, None),
        ("", None),
        ("respond-async", None),
        ("wait", None),
        ("wait=x", None),
        ("wait=0", None),
        ("wait=10", 10),
        ('wait="10"', 10),
        ("WAIT = 10 ; more", 10),
        ("return=minimal, wait=7, wait=9", 7),
        ("wait=26", 25),
    ],
)
def test_preference_that_is_not_understood_does_not_count(
    prefer: str | None, seconds: int | None
) -> None:
    headers = {} if prefer is None else {"Prefer": prefer}
    request = ApiRequest("GET", R, [], headers, b"", ANONYMOUS, "", 0)
    assert parse_wait(request) == seconds
    assert asks_to_wait(request) is (seconds is not None)


def test_wait_in_the_query_counts_before_the_preference() -> None:
    request = ApiRequest("GET", R, [("_wait", "3")], {"Prefer": "wait=9"}, b"", ANONYMOUS, "", 0)
    assert parse_wait(request) == 3
    bad = ApiRequest("GET", R, [("_wait", "x")], {"Prefer": "wait=9"}, b"", ANONYMOUS, "", 0)
    with pytest.raises(InvalidParameters):
        parse_wait(bad)


async def test_change_that_is_no_matter_of_the_reader_answers_nobody(server: LiveServer) -> None:
    since = await furnished(server)
    bob = await server.user_id(BOB)
    await server.put(f"{R}/mine", acl={"read": [bob]})
    seen = etag_of(await server.ask(f"GET {R}", user=BOB))
    for_bob = await server.poll(f"{R}?_since={seen}&_wait=2", user=BOB)
    filtered = await server.poll(f"{R}?_since={seen}&_wait=2&status=open")
    await server.put(f"{R}/hidden", {"status": "closed"})
    await server.put(f"{B}/collections/other")
    for talk in (for_bob, filtered):
        answer = await talk.answer()
        assert (answer.status, answer.data, etag_of(answer)) == (200, [], seen)
    assert int(since) < int(seen)


async def test_what_comes_to_match_or_ceases_to_answers_who_waits(server: LiveServer) -> None:
    since = await furnished(server)
    talk = await server.poll(f"{R}?_since={since}&_wait=25&status=open")
    await server.put(f"{R}/first", {"status": "closed"})
    answer = await talk.answer()
    assert answer.data == []
    assert etag_of(answer) > since
    talk = await server.poll(f"{R}?_since={etag_of(answer)}&_wait=25&status=open")
    await server.put(f"{R}/first", {"status": "open"})
    assert [one["id"] for one in (await talk.answer()).data] == ["first"]


async def test_what_is_shared_or_unshared_answers_who_waits(server: LiveServer) -> None:
    await furnished(server)
    bob = await server.user_id(BOB)
    await server.put(f"{R}/mine", acl={"read": [bob]})
    seen = etag_of(await server.ask(f"GET {R}", user=BOB))
    talk = await server.poll(f"{R}?_since={seen}&_wait=25", user=BOB)
    await server.put(f"{R}/more", acl={"read": [bob]})
    answer = await talk.answer()
    assert [one["id"] for one in answer.data] == ["more"]
    talk = await server.poll(f"{R}?_since={etag_of(answer)}&_wait=25", user=BOB)
    await server.put(f"{R}/mine", acl={"read": []})
    answer = await talk.answer()
    assert [(one["id"], one.get("deleted")) for one in answer.data] == [("mine", True)]


async def test_reader_who_loses_everything_meanwhile_is_answered_as_any_poll(
    server: LiveServer,
) -> None:
    since = await furnished(server, BOB)
    talk = await server.poll(f"{R}?_since={since}&_wait=25", user=BOB)
    await server.ask(f"PATCH {B}", {"permissions": {"read": []}})
    answer = await talk.answer()
    plain = await server.ask(f"GET {R}?_since={since}", user=BOB)
    assert (answer.status, answer.body) == (plain.status, plain.body)
    assert answer.status == 403 or [one["deleted"] for one in answer.data] == [True]


async def test_list_that_is_deleted_meanwhile_is_404(server: LiveServer) -> None:
    since = await furnished(server)
    talk = await server.poll(f"{R}?_since={since}&_wait=25")
    await server.ask(f"DELETE {C}")
    answer = await talk.answer()
    assert (answer.status, answer.json["errno"]) == (404, 111)


async def test_refusals_do_not_wait(server: LiveServer) -> None:
    since = await furnished(server)
    for path, user, status in (
        (f"{R}?_since={since}", BOB, 403),
        (f"{R}?_since={since}", None, 401),
        (f"{B}/collections/none/records?_since={since}", ALICE, 404),
        (f"{R}?_since=4398046511104-1", ALICE, 410),
        (f"{R}?_since={since}&_limit=x", ALICE, 400),
    ):
        assert (await server.ask(f"GET {path}&_wait=25", user=user)).status == status
    refused = {"If-Match": '"1"'}
    answer = await server.ask(f"GET {R}?_since={since}&_wait=25", headers=refused)
    assert answer.status == 412


async def test_write_that_is_dated_in_the_past_answers_a_cursor_and_no_etag(
    server: LiveServer,
) -> None:
    since = await furnished(server)
    by_etag = await server.poll(f"{R}?_since={since}&_wait=25")
    by_cursor = await server.poll(f"{R}?_since={since}-0&_wait=25")
    await server.put(f"{R}/old", {"last_modified": 1000})
    answer = await by_cursor.answer()
    assert [one["id"] for one in answer.data] == ["old"]
    assert answer.headers["cursor"] == f"{since}-1"
    assert server.live.hub.count == 1
    await server.put(f"{R}/new")
    assert [one["id"] for one in (await by_etag.answer()).data] == ["new"]


async def test_every_kind_of_list_can_be_waited_for(server: LiveServer) -> None:
    await server.furnish()
    for path, write in (
        ("/buckets", "PUT /buckets/b2"),
        (f"{B}/collections", f"PUT {B}/collections/c2"),
        (f"{B}/groups", f"PUT {B}/groups/g"),
        (R, f"PUT {R}/r"),
        (f"{B}/changes", f"PUT {R}/r2"),
        ("/buckets/default/changes", "PUT /buckets/default/collections/d"),
    ):
        since = (await server.ask(f"GET {path}")).headers["etag"].strip('"')
        talk = await server.poll(f"{path}?_since={since}&_wait=25")
        body: dict[str, Any] = {"data": {"members": []}} if "groups" in path else {"data": {}}
        await server.ask(write, body)
        answer = await talk.answer()
        assert len(answer.data) == 1, path


async def test_readers_who_share_rights_in_a_bucket_hear_of_collections_in_it(
    server: LiveServer,
) -> None:
    await server.furnish({"collection:create": [await server.user_id(BOB)]})
    path = f"{B}/collections"
    since = etag_of(await server.ask(f"GET {path}", user=BOB))
    talk = await server.poll(f"{path}?_since={since}&_wait=25", user=BOB)
    await server.put(f"{B}/collections/bobs", user=BOB)
    assert [one["id"] for one in (await talk.answer()).data] == ["bobs"]


async def test_feed_that_is_waited_for_answers_with_events_and_ends_empty(
    server: LiveServer,
) -> None:
    await furnished(server)
    cursor = (await server.ask(f"GET {B}/changes")).headers["cursor"]
    talk = await server.poll(f"{B}/changes?_since={cursor}", headers={"Prefer": "wait=25"})
    await server.put(f"{R}/a")
    answer = await talk.answer()
    assert [(one["action"], one["uri"]) for one in answer.data] == [("create", f"{R}/a")]
    assert answer.headers["preference-applied"] == "wait=25"
    following = answer.headers["cursor"]
    answer = await server.ask(f"GET {B}/changes?_since={following}&_wait=1")
    assert (answer.data, answer.headers["cursor"]) == ([], following)


async def test_client_that_goes_away_while_it_waits_leaves_nothing_behind(
    server: LiveServer,
) -> None:
    since = await furnished(server)
    talks = [await server.poll(f"{R}?_since={since}&_wait=25") for _ in range(5)]
    assert (server.live.hub.count, len(server.live.waiters)) == (5, 5)
    for talk in talks:
        talk.cut()
    await server.until(lambda: not server.live.waiters)
    assert server.live.hub.count == 0


async def test_waiting_holds_no_snapshot_and_no_task_of_the_server() -> None:
    async with open_live(MEMORY) as server:
        since = await furnished(server)
        tasks = len(asyncio.all_tasks())
        talk = await server.poll(f"{R}?_since={since}&_wait=25")
        # One serves the connection, one runs the handler.
        assert len(asyncio.all_tasks()) - tasks <= 2
        talk.cut()


async def test_changes_that_were_missed_are_not_missed_by_who_waits(server: LiveServer) -> None:
    since = await furnished(server)
    talk = await server.poll(f"{R}?_since={since}&_wait=25")
    (waiter,) = server.live.waiters
    server.live.hub.forget_past(server.live.hub.at)
    await server.until(lambda: bool(server.live.waiters) and waiter not in server.live.waiters)
    await server.put(f"{R}/a")
    assert [one["id"] for one in (await talk.answer()).data] == ["a"]


async def test_server_that_stops_answers_who_waits() -> None:
    async with open_live(MEMORY) as server:
        since = await furnished(server)
        talks = [await server.poll(f"{path}?_since={since}&_wait=25") for path in (R, R)]
        await asyncio.wait_for(server.server.stop(), 15)
        for talk in talks:
            answer = await talk.answer()
            assert (answer.status, answer.data, etag_of(answer)) == (200, [], since)
            assert await talk.rest() == b""


async def test_poll_of_a_server_that_stops_does_not_wait() -> None:
    async with open_live(MEMORY) as server:
        since = await furnished(server)
        server.live.stopping.set()
        assert (await server.ask(f"GET {R}?_since={since}&_wait=25")).data == []


async def test_wait_is_refused_in_a_batch_and_the_other_parts_are_not(server: LiveServer) -> None:
    since = await furnished(server)
    parts = [
        {"path": f"{R}?_since={since}&_wait=5"},
        {"path": f"{R}?_since={since}", "headers": {"Prefer": "wait=5"}},
        {"path": f"{B}/changes"},
        {"path": f"{R}?_since={since}"},
        {"method": "POST", "path": R, "headers": {"Prefer": "wait=5"}, "body": {"data": {}}},
    ]
    answer = await server.ask("POST /batch", {"requests": parts})
    assert [one["status"] for one in answer.json["responses"]] == [400, 400, 400, 200, 201]


async def test_wait_ends_in_time_also_where_the_database_does_not_answer() -> None:
    storage = Hesitant()
    async with open_live(MEMORY, storage) as server:
        since = await furnished(server)
        storage.passes = 1
        answer = await server.ask(f"GET {R}?_since={since}&_wait=1")
        assert (answer.status, answer.data, etag_of(answer)) == (200, [], since)
        assert storage.stopped.is_set()
        storage.goes_on.set()
        assert server.live.hub.count == 0


async def test_right_that_is_lost_before_anybody_listens_is_told_as_to_any_poll() -> None:
    storage = Hesitant()
    async with open_live(MEMORY, storage) as server:
        since = await furnished(server, BOB)
        storage.passes = 1
        talk = await server.connect()
        talk.send(f"GET {R}?_since={since}&_wait=25", user=BOB)
        await storage.stopped.wait()
        await server.ask(f"PATCH {B}", {"permissions": {"read": []}})
        storage.passes = None
        storage.goes_on.set()
        answer = await talk.answer()
        plain = await server.ask(f"GET {R}?_since={since}", user=BOB)
        assert (answer.status, answer.body) == (plain.status, plain.body)


async def test_write_before_anybody_listens_is_not_missed() -> None:
    storage = Hesitant()
    async with open_live(MEMORY, storage) as server:
        since = await furnished(server)
        storage.passes = 1
        talk = await server.connect()
        talk.send(f"GET {R}?_since={since}&_wait=25")
        await storage.stopped.wait()
        await server.put(f"{R}/a")
        storage.passes = None
        storage.goes_on.set()
        assert [one["id"] for one in (await talk.answer()).data] == ["a"]


async def test_everybody_who_waits_is_answered_what_is_theirs(server: LiveServer) -> None:
    await furnished(server)
    bob = await server.user_id(BOB)
    await server.put(f"{R}/mine", acl={"read": [bob]})
    since = etag_of(await server.ask(f"GET {R}"))
    asked = [(user, query) for user in (ALICE, BOB) for query in ("", "&_fields=n", "&n=2")] * 3
    talks = [
        await server.poll(f"{R}?_since={since}&_wait=25{query}", user=user) for user, query in asked
    ]
    writes = [
        {"method": "PUT", "path": f"{R}/a", "body": {"data": {"n": 1, "m": 1}}},
        {"method": "PUT", "path": f"{R}/mine", "body": {"data": {"n": 2}}},
    ]
    await server.ask("POST /batch", {"requests": writes})
    for talk, (user, query) in zip(talks, asked, strict=True):
        plain = await server.ask(f"GET {R}?_since={since}{query}", user=user)
        assert (await talk.answer()).body == plain.body
        assert plain.data


@pytest.mark.gen_test(timeout=120)
async def test_one_write_answers_a_thousand_who_wait(server: LiveServer) -> None:
    since = await furnished(server)
    talks = [await server.connect() for _ in range(1000)]
    for talk in talks:
        talk.send(f"GET {R}?_since={since}&_wait=25")
    await server.until(lambda: server.live.hub.count == 1000)
    await server.put(f"{R}/a")
    answers = [await talk.answer() for talk in talks]
    assert {one.body for one in answers} == {(await server.ask(f"GET {R}?_since={since}")).body}
    await server.until(lambda: not server.live.waiters)
    assert server.live.hub.count == 0


@pytest.mark.gen_test(timeout=120)
async def test_loop_of_polls_sees_every_change_once_and_in_order(server: LiveServer) -> None:
    since = await furnished(server)
    writers, each = 4, 40

    async def write(number: int) -> None:
        for n in range(each):
            dated = {"last_modified": 1000 + n} if n % 5 == 4 else {}
            await server.put(f"{R}/w{number}-{n}", dated)

    async def follow() -> list[str]:
        cursor = f"{since}-0"
        seen: list[str] = []
        while len(seen) < writers * each:
            answer = await server.ask(f"GET {R}?_since={cursor}&_wait=25&_limit=1000")
            assert answer.data
            seen += sorted(one["id"] for one in answer.data)
            assert answer.headers["cursor"] != cursor
            cursor = answer.headers["cursor"]
        return seen

    following = [asyncio.ensure_future(follow()) for _ in range(3)]
    await asyncio.gather(*(write(number) for number in range(writers)))
    for seen in await asyncio.gather(*following):
        assert len(set(seen)) == len(seen) == writers * each
        for number in range(writers):
            mine = [int(one.partition("-")[2]) for one in seen if one.startswith(f"w{number}-")]
            assert sorted(mine) == list(range(each))


@pytest.mark.gen_test(timeout=120)
async def test_loop_of_feed_polls_sees_every_change_in_commit_order(server: LiveServer) -> None:
    await furnished(server)
    cursor = (await server.ask(f"GET {B}/changes")).headers["cursor"]

    async def write(number: int) -> None:
        for n in range(40):
            await server.put(f"{R}/w{number}-{n}")

    writing = [asyncio.ensure_future(write(number)) for number in range(3)]
    seen: list[str] = []
    while len(seen) < 120:
        answer = await server.ask(f"GET {B}/changes?_since={cursor}&_wait=25")
        seen += [one["data"]["id"] for one in answer.data]
        cursor = answer.headers["cursor"]
    await asyncio.gather(*writing)
    assert len(set(seen)) == 120
    for number in range(3):
        mine = [int(one.partition("-")[2]) for one in seen if one.startswith(f"w{number}-")]
        assert mine == list(range(40))
