"""Whoever follows a list or a bucket, while its history is cleared."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from tests.handlers.conftest import BOB
from tests.handlers.lives import B, LiveServer, R, run_live

pytestmark = pytest.mark.gen_test(timeout=60)

HISTORY = f"{B}/history"
FEED = f"{B}/changes"


@pytest.fixture(params=["memory", "mongo"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[LiveServer]:
    yield from run_live(request, io_loop, includes="history")


async def cursors_of(server: LiveServer, count: int) -> list[str]:
    """The cursors of so many new records."""
    return [(await server.put(f"{R}/r{n}", {"n": n})).headers["cursor"] for n in range(count)]


@pytest.mark.parametrize("path", [R, FEED])
async def test_who_is_connected_hears_of_all_that_follows_and_of_nothing_else(
    path: str, server: LiveServer
) -> None:
    await server.furnish()
    await cursors_of(server, 2)
    talk = await server.listen(f"{path}?_since=now")
    ready = (await talk.until("ready"))[-1]
    assert (await server.ask(f"DELETE {HISTORY}")).status == 200
    await server.put(f"{R}/next", {"n": 1})
    event = await talk.event()
    assert (event.type, event.data["data"]["id"]) == ("event", "next")
    assert event.data["prev"] == ready.data["cursor"]


@pytest.mark.parametrize("include", ["latest", "all"])
async def test_list_is_resumed_from_where_the_log_was_cut_and_not_from_before(
    include: str, server: LiveServer
) -> None:
    await server.furnish()
    first, second, third, last = await cursors_of(server, 4)
    cleared = await server.ask(f"DELETE {HISTORY}?record_id=r2")
    assert len(cleared.data) == 1
    for cursor in (first, second):
        talk = await server.listen(f"{R}?_since={cursor}-0&_history={include}")
        answer = await server.ask(f"GET {R}?_since={cursor}-0")
        assert (talk.status, answer.status, answer.json["errno"]) == (410, 410, 118)
        assert answer.json["details"]["floor"] == third
    talk = await server.listen(f"{R}?_since={third}-0&_history={include}")
    told = await talk.until("ready")
    assert [one.data["data"]["id"] for one in told if one.type == "event"] == ["r3"]
    assert told[-1].data["cursor"] == last
    answer = await server.ask(f"GET {R}?_since={third}-0")
    assert [one["id"] for one in answer.data] == ["r3"]


async def test_feed_of_the_bucket_is_resumed_only_from_above_what_was_cut(
    server: LiveServer,
) -> None:
    await server.furnish()
    await cursors_of(server, 3)
    entries = (await server.ask(f"GET {HISTORY}?resource_name=record")).data
    newest, middle, oldest = (one["id"] for one in entries)
    assert len((await server.ask(f"DELETE {HISTORY}?id={middle}")).data) == 1
    assert (await server.ask(f"GET {FEED}?_since={oldest}")).status == 410
    answer = await server.ask(f"GET {FEED}?_since={middle}")
    assert [one["cursor"] for one in answer.data] == [newest]
    talk = await server.listen(FEED, headers={"Last-Event-ID": oldest})
    assert [one.type for one in await talk.until("ready")][:2] == ["subscribed", "reset"]


async def test_reader_of_a_part_polls_by_etag_only_from_above_what_was_cut(
    server: LiveServer,
) -> None:
    await server.furnish()
    bob = await server.user_id(BOB)
    shared = await server.put(f"{R}/shared", {}, {"read": [bob]})
    before = shared.headers["cursor"]
    await server.put(f"{R}/shared", {"n": 1}, {"read": [bob]})
    await server.ask(f"DELETE {HISTORY}?resource_name=record")
    answer = await server.ask(f'GET {R}?_since="{before}"', user=BOB)
    assert (answer.status, answer.json["errno"]) == (410, 118)
    anew = await server.ask(f"GET {R}", user=BOB)
    etag = {name.lower(): value for name, value in anew.headers.items()}["etag"]
    answer = await server.ask(f"GET {R}?_since={etag}", user=BOB)
    assert (answer.status, answer.data) == (200, [])
    # Who reads all of it, and always could, needs no log.
    assert len((await server.ask(f'GET {R}?_since="{before}"')).data) == 1
