from collections.abc import Iterator
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from tests.handlers.conftest import ALICE, BOB
from tests.handlers.lives import B, C, LiveServer, R, etag_of, open_live, run_live

pytestmark = pytest.mark.gen_test(timeout=60)

FEED = f"{B}/changes"


@pytest.fixture(params=["memory", "mongo"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[LiveServer]:
    yield from run_live(request, io_loop, includes="default_bucket")


def told(data: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["action"], one["uri"]) for one in data]


async def test_feed_without_a_cursor_is_all_there_is(server: LiveServer) -> None:
    await server.furnish()
    await server.put(f"{B}/groups/g", {"members": []})
    await server.put(f"{R}/a", {"n": 1})
    answer = await server.ask(f"GET {FEED}")
    assert answer.status == 200
    assert [one["uri"] for one in answer.data] == [B, f"{B}/groups/g", C, f"{R}/a"]
    assert answer.data[-1]["resource_name"] == "record"
    assert answer.data[-1]["data"]["n"] == 1
    assert answer.headers["cursor"] == etag_of(answer) + "-0"
    assert (await server.ask(f"GET {FEED}?_since={etag_of(answer)}")).data == []


async def test_feed_after_a_cursor_is_what_changed_in_order(server: LiveServer) -> None:
    await server.furnish()
    cursor = (await server.ask(f"GET {FEED}")).headers["cursor"]
    await server.put(f"{R}/a", {"n": 1})
    await server.put(f"{R}/b")
    await server.put(f"{R}/a", {"n": 2})
    await server.ask(f"DELETE {R}/b")
    await server.put(f"{B}/groups/g", {"members": []})
    answer = await server.ask(f"GET {FEED}?_since={cursor}")
    assert told(answer.data) == [
        ("update", f"{R}/a"),
        ("delete", f"{R}/b"),
        ("create", f"{B}/groups/g"),
    ]
    assert answer.data[0]["data"]["n"] == 2
    assert answer.data[-1]["cursor"] == etag_of(answer)
    every = await server.ask(f"GET {FEED}?_since={cursor}&_history=all")
    assert [one["action"] for one in every.data] == [
        "create",
        "create",
        "update",
        "delete",
        "create",
    ]
    assert every.headers["etag"] == answer.headers["etag"]


async def test_pages_of_a_feed_lead_from_one_to_the_next(server: LiveServer) -> None:
    await server.furnish()
    cursor = (await server.ask(f"GET {FEED}")).headers["cursor"]
    for n in range(7):
        await server.put(f"{R}/r{n}")
    seen, path, pages = [], f"{FEED}?_since={cursor}&_limit=3", 0
    while path:
        answer = await server.ask(f"GET {path}")
        seen += [one["data"]["id"] for one in answer.data]
        path = answer.headers.get("next-page", "").partition("/v1")[2]
        pages += 1
    assert (seen, pages) == ([f"r{n}" for n in range(7)], 3)


async def test_filters_and_forms_count_in_a_feed_too(server: LiveServer) -> None:
    await server.furnish()
    cursor = (await server.ask(f"GET {FEED}")).headers["cursor"]
    await server.put(f"{R}/a", {"s": "x"})
    await server.put(f"{R}/b", {"s": "y"})
    answer = await server.ask(f"GET {FEED}?_since={cursor}&s=x&_include=user_id")
    (event,) = answer.data
    assert (event["uri"], event["user_id"]) == (f"{R}/a", await server.user_id(ALICE))
    (event, _) = (await server.ask(f"GET {FEED}?_since={cursor}&_deliver=ids")).data
    assert set(event["data"]) == {"id", "last_modified"}


async def test_reader_of_a_part_gets_that_part_and_hears_nothing_of_the_rest(
    server: LiveServer,
) -> None:
    await server.furnish()
    bob = await server.user_id(BOB)
    await server.put(f"{R}/mine", acl={"read": [bob]})
    answer = await server.ask(f"GET {FEED}", user=BOB)
    assert [one["uri"] for one in answer.data] == [f"{R}/mine"]
    cursor = answer.headers["cursor"]
    await server.put(f"{R}/hidden")
    answer = await server.ask(f"GET {FEED}?_since={cursor}", user=BOB)
    assert (answer.data, answer.headers["cursor"]) == ([], cursor)
    await server.put(f"{R}/mine", acl={"read": []})
    await server.put(f"{R}/other", acl={"read": [bob]})
    answer = await server.ask(f"GET {FEED}?_since={cursor}", user=BOB)
    assert told(answer.data) == [("leave", f"{R}/mine"), ("create", f"{R}/other")]
    assert answer.data[0]["data"] == {"id": "mine"}


async def test_cursor_since_which_rights_have_changed_is_410(server: LiveServer) -> None:
    bob = await server.user_id(BOB)
    await server.furnish()
    await server.put(f"{R}/mine", acl={"read": [bob]})
    cursor = (await server.ask(f"GET {FEED}", user=BOB)).headers["cursor"]
    await server.ask(f"PATCH {B}", {"permissions": {"read": [bob]}})
    answer = await server.ask(f"GET {FEED}?_since={cursor}", user=BOB)
    assert (answer.status, answer.json["errno"]) == (410, 118)
    assert answer.json["details"]["reason"] == "permissions-changed"
    answer = await server.ask(f"GET {FEED}", user=BOB)
    assert len(answer.data) == 3
    cursor = answer.headers["cursor"]
    assert (await server.ask(f"GET {FEED}?_since={cursor}", user=BOB)).data == []


@pytest.mark.parametrize(
    ("query", "user", "status", "errno"),
    [
        ("", None, 401, 104),
        ("", BOB, 403, 121),
        ("?_since=x", BOB, 403, 121),
        ("?_since=x", ALICE, 400, 107),
        ("?_limit=x", ALICE, 400, 107),
        ("?_sort=id", ALICE, 400, 107),
        ("?_deliver=poke", ALICE, 400, 107),
        ("?_since=4398046511104", ALICE, 410, 118),
    ],
)
async def test_feed_is_refused_as_lists_are(
    query: str, user: str | None, status: int, errno: int, server: LiveServer
) -> None:
    await server.furnish()
    answer = await server.ask(f"GET {FEED}{query}", user=user)
    assert (answer.status, answer.json["errno"]) == (status, errno)


async def test_feed_of_a_bucket_that_is_not_there_or_was_made_again(server: LiveServer) -> None:
    assert (await server.ask("GET /buckets/none/changes")).status == 403
    assert (await server.ask("GET /buckets/not%20one/changes")).status in (400, 403)
    await server.furnish()
    cursor = (await server.ask(f"GET {FEED}")).headers["cursor"]
    await server.ask(f"DELETE {B}")
    await server.furnish()
    answer = await server.ask(f"GET {FEED}?_since={cursor}")
    assert (answer.status, answer.json["details"]["reason"]) == (410, "floor")


async def test_feed_that_the_client_has_is_304_and_one_it_has_not_412(server: LiveServer) -> None:
    await server.furnish()
    etag = (await server.ask(f"GET {FEED}")).headers["etag"]
    known = await server.ask(f"GET {FEED}", headers={"If-None-Match": etag})
    assert (known.status, known.body, known.headers["etag"]) == (304, b"", etag)
    await server.put(f"{R}/a")
    assert (await server.ask(f"GET {FEED}", headers={"If-None-Match": etag})).status == 200
    assert (await server.ask(f"GET {FEED}", headers={"If-Match": etag})).status == 412


async def test_part_of_a_feed_that_the_client_has_is_304(server: LiveServer) -> None:
    await server.furnish()
    await server.put(f"{R}/mine", acl={"read": [await server.user_id(BOB)]})
    first = await server.ask(f"GET {FEED}", user=BOB)
    again = await server.ask(
        f"GET {FEED}?_since={first.headers['cursor']}",
        user=BOB,
        headers={"If-None-Match": first.headers["etag"]},
    )
    assert again.status == 304


async def test_feed_can_only_be_read(server: LiveServer) -> None:
    await server.furnish()
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        answer = await server.ask(f"{method} {FEED}", {})
        assert (answer.status, answer.json["errno"]) == (405, 115)
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    head = await server.ask(f"HEAD {FEED}")
    assert (head.status, head.headers["content-type"]) == (200, "application/json")
    asked = {"Origin": "https://a", "Access-Control-Request-Method": "GET"}
    answer = await server.ask(f"OPTIONS {FEED}", user=None, headers=asked)
    assert answer.headers["access-control-allow-methods"] == "GET,HEAD,OPTIONS"
    assert (await server.ask(f"GET {FEED}", headers={"Accept": "text/html"})).status == 406


async def test_feed_of_the_default_bucket_makes_it(server: LiveServer) -> None:
    answer = await server.ask("GET /buckets/default/changes")
    assert len(answer.data) == 1
    assert answer.data[0]["resource_name"] == "bucket"
    assert (await server.ask("GET /buckets/default/changes", user=None)).status == 401
    assert (await server.ask("GET /buckets/default/changes?_since=x")).status == 400


async def test_bucket_with_more_than_is_read_at_once_is_refused_as_a_whole() -> None:
    environ = {"KINTO_STORAGE_BACKEND": "memory"}
    async with open_live(environ, storage_max_fetch_size=5) as server:
        await server.furnish()
        cursor = (await server.ask(f"GET {FEED}")).headers["cursor"]
        for n in range(4):
            await server.put(f"{R}/r{n}")
        answer = await server.ask(f"GET {FEED}")
        assert (answer.status, answer.json["errno"]) == (413, 113)
        assert len((await server.ask(f"GET {FEED}?_since={cursor}")).data) == 4
