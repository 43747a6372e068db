import pytest

from tests.handlers.conftest import Start

pytestmark = pytest.mark.gen_test


async def test_objects_and_tombstones_are_told_by_kind_and_none_of_none(start: Start) -> None:
    fetch = await start(includes="counters")
    empty = await fetch("GET /__counters__", user=None)
    assert (empty.status, empty.json) == (200, {"objects": {}, "tombstones": {}})
    await fetch("PUT /buckets/b")
    await fetch("PUT /buckets/b/collections/c")
    await fetch("PUT /buckets/b/collections/c/records/r")
    await fetch("PUT /buckets/b/collections/c/records/s")
    await fetch("DELETE /buckets/b/collections/c/records/s")
    assert (await fetch("GET /__counters__")).json == {
        "objects": {"bucket": 1, "collection": 1, "record": 1},
        "tombstones": {"record": 1},
    }


async def test_counters_are_missing_where_they_are_not_switched_on(start: Start) -> None:
    fetch = await start()
    answer = await fetch("GET /__counters__")
    assert (answer.status, answer.json["errno"]) == (404, 111)


async def test_counting_is_no_part_of_a_batch(start: Start) -> None:
    fetch = await start(includes="counters")
    answer = await fetch("POST /batch", {"requests": [{"path": "/__counters__"}]})
    (part,) = answer.json["responses"]
    assert (part["status"], part["body"]["errno"]) == (400, 107)
