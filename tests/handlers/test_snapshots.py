import pytest

from tests.handlers.conftest import ALICE, BOB, Answer, Fetch, Start

RECORDS = "/buckets/b/collections/c/records"
SNAPSHOT = "/buckets/b/snapshot/collections/c"

pytestmark = pytest.mark.gen_test


async def begin(start: Start) -> tuple[Fetch, list[Answer]]:
    """A server with three records, the first of which was changed and the second deleted."""
    fetch = await start(includes="history default_bucket")
    await fetch("PUT /buckets/b")
    await fetch("PUT /buckets/b/collections/c")
    written = [await fetch(f"PUT {RECORDS}/r{n}", {"data": {"n": n}}) for n in range(3)]
    await fetch(f"PATCH {RECORDS}/r0", {"data": {"n": 10}})
    await fetch(f"DELETE {RECORDS}/r1")
    return fetch, written


def stamp(answer: Answer) -> int:
    return int(answer.headers["ETag"].strip('"'))


async def test_records_are_as_they_were_at_a_time_the_latest_first(start: Start) -> None:
    fetch, written = await begin(start)
    for count in (1, 2, 3):
        answer = await fetch(f"GET {SNAPSHOT}@{stamp(written[count - 1])}")
        assert answer.data == [one.data for one in reversed(written[:count])]
        assert stamp(answer) == stamp(written[count - 1])
    assert (await fetch(f"GET {SNAPSHOT}@{stamp(written[0]) - 1}")).data == []
    assert (await fetch(f"GET {SNAPSHOT}%40{stamp(written[0])}")).data == [written[0].data]


async def test_time_to_come_is_now(start: Start) -> None:
    fetch, _ = await begin(start)
    now = await fetch(f"GET {RECORDS}")
    answer = await fetch(f"GET {SNAPSHOT}@9999999999999")
    assert answer.data == now.data
    assert answer.headers["ETag"] == now.headers["ETag"]


async def test_filters_fields_pages_and_counts_are_those_of_lists(start: Start) -> None:
    fetch, written = await begin(start)
    at = stamp(written[2])
    answer = await fetch(f"GET {SNAPSHOT}@{at}?min_n=1&_sort=n&_fields=n")
    assert [one["n"] for one in answer.data] == [1, 2]
    first = await fetch(f"GET {SNAPSHOT}@{at}?_limit=2")
    rest = await fetch(f"GET {first.headers['Next-Page'].partition('/v1')[2]}")
    assert [one["id"] for one in first.data + rest.data] == ["r2", "r1", "r0"]
    head = await fetch(f"HEAD {SNAPSHOT}@{at}?min_n=1")
    assert head.headers["Total-Objects"] == "2"
    known = {"If-None-Match": first.headers["ETag"]}
    assert (await fetch(f"GET {SNAPSHOT}@{at}", headers=known)).status == 304


async def test_collection_that_is_not_there_held_nothing(start: Start) -> None:
    fetch, _ = await begin(start)
    answer = await fetch("GET /buckets/b/snapshot/collections/none@5")
    assert (answer.status, answer.data) == (200, [])
    head = await fetch("HEAD /buckets/b/snapshot/collections/none@5")
    assert head.headers["Total-Objects"] == "0"


async def test_who_may_not_read_is_refused(start: Start) -> None:
    fetch, _ = await begin(start)
    for path in (f"{SNAPSHOT}@5", "/buckets/b/snapshot/collections/none@5"):
        assert (await fetch(f"GET {path}", user=BOB)).status == 403
        assert (await fetch(f"GET {path}", user=None)).status == 401
    assert (await fetch("GET /buckets/none/snapshot/collections/c@5")).status == 403


@pytest.mark.parametrize(
    "target",
    [
        "c",
        "c@",
        "@5",
        "c@x",
        "c@-5",
        "c@5-1",
        "c@99999999999999",
        "c@5@6",
        ".c@5",
        "c@5?_since=1",
        "c@5?_at=1",
        "c@5?_limit=x",
    ],
)
async def test_what_names_no_state_is_400(start: Start, target: str) -> None:
    fetch, _ = await begin(start)
    answer = await fetch(f"GET /buckets/b/snapshot/collections/{target}")
    assert (answer.status, answer.json["errno"]) == (400, 107)


async def test_collection_held_nothing_before_it_was_made_again(start: Start) -> None:
    fetch, written = await begin(start)
    await fetch("DELETE /buckets/b/collections/c")
    await fetch("PUT /buckets/b/collections/c")
    await fetch(f"PUT {RECORDS}/r0")
    answer = await fetch(f"GET {SNAPSHOT}@{stamp(written[0])}")
    assert (answer.status, answer.data) == (200, [])
    head = await fetch(f"HEAD {SNAPSHOT}@{stamp(written[0])}")
    assert head.headers["Total-Objects"] == "0"


async def test_time_of_which_the_history_was_cleared_is_gone(start: Start) -> None:
    fetch, written = await begin(start)
    assert (await fetch("DELETE /buckets/b/history")).status == 200
    answer = await fetch(f"GET {SNAPSHOT}@{stamp(written[0])}")
    assert (answer.status, answer.json["errno"]) == (410, 118)
    assert len((await fetch(f"GET {SNAPSHOT}@9999999999999")).data) == 2


async def test_snapshots_are_of_the_history_and_read_only(start: Start) -> None:
    fetch, _ = await begin(start)
    assert (await fetch(f"POST {SNAPSHOT}@5")).status == 405
    without = await start()
    assert (await without(f"GET {SNAPSHOT}@5", user=ALICE)).status == 404


async def test_snapshot_is_not_cut_where_lists_are(start: Start) -> None:
    fetch = await start(includes="history", paginate_by=1)
    await fetch("PUT /buckets/b")
    await fetch("PUT /buckets/b/collections/c")
    for number in range(3):
        await fetch(f"PUT {RECORDS}/r{number}")
    answer = await fetch(f"GET {SNAPSHOT}@9999999999999")
    assert (len(answer.data), "Next-Page" in answer.headers) == (3, False)


async def test_bucket_that_is_not_there_is_404_for_who_may_know(start: Start) -> None:
    fetch = await start(includes="history", bucket_read_principals="system.Authenticated")
    answer = await fetch("GET /buckets/none/snapshot/collections/c@5")
    assert (answer.status, answer.json["errno"]) == (404, 111)
