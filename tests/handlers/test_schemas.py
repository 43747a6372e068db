import asyncio
import time
from typing import Any

import pytest

from handlers.schemas import parse_candidate
from server.core.errors import InvalidParameters
from tests.handlers.conftest import BOB, Fetch, Start

pytestmark = pytest.mark.gen_test

COLLECTION = "/buckets/b/collections/c"
CHECK = f"POST {COLLECTION}/schema:check"
TITLE = {"properties": {"title": {"type": "string"}}, "required": ["title"]}


async def begin(start: Start, **given: Any) -> Fetch:
    """A server that checks, with a collection of three records, one without a title."""
    fetch = await start(experimental_collection_schema_validation=True, **given)
    for path in ("/buckets/b", COLLECTION):
        await fetch(f"PUT {path}")
    for name, data in (("a", {"title": "x"}), ("b", {"title": 1}), ("c", {})):
        await fetch(f"PUT {COLLECTION}/records/{name}", {"data": data})
    return fetch


async def test_records_are_checked_stamped_and_found_by_their_schema(start: Start) -> None:
    fetch = await begin(start)
    made = await fetch(f"PATCH {COLLECTION}", {"data": {"schema": TITLE}})
    version = made.data["last_modified"]
    good = await fetch(f"PUT {COLLECTION}/records/d", {"data": {"title": "x", "schema": 1}})
    assert (good.status, good.data["schema"]) == (201, version)
    bad = await fetch(f"PUT {COLLECTION}/records/e", {"data": {"title": 1}})
    assert (bad.status, bad.json["errno"]) == (400, 107)
    assert bad.json["details"] == [
        {"location": "body", "name": "title", "description": '1 is not of type "string"'}
    ]
    assert bad.json["message"] == 'title in body: 1 is not of type "string"'
    found = await fetch(f"GET {COLLECTION}/records?has_schema=true&min_schema={version}")
    assert [one["id"] for one in found.data] == ["d"]


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"type": "Washmachine"}, "data.schema"),
        ("text", "data.schema"),
        ({"$ref": "http://127.0.0.1:1/x"}, "schema"),
        ({"$ref": "#"}, "schema"),
        ({"pattern": "("}, "data.schema"),
    ],
)
@pytest.mark.parametrize("is_on", [True, False])
async def test_what_is_no_schema_is_refused_when_it_is_written(
    is_on: bool, schema: Any, name: str, start: Start
) -> None:
    fetch = await start(experimental_collection_schema_validation=is_on)
    await fetch("PUT /buckets/b")
    for method in ("PUT", "PATCH"):
        answer = await fetch(f"{method} {COLLECTION}", {"data": {"schema": schema}})
        assert (answer.status, answer.json["details"][0]["name"]) == (400, name)
        await fetch(f"PUT {COLLECTION}")
    answer = await fetch("PATCH /buckets/b", {"data": {"record:schema": schema}})
    assert answer.status == 400
    assert answer.json["details"][0]["name"] == name.replace("data.", "data.record:")


async def test_check_counts_what_a_schema_would_refuse_and_changes_nothing(start: Start) -> None:
    fetch = await begin(start)
    before = (await fetch(f"GET {COLLECTION}/records")).headers["ETag"]
    for body in ({"data": {"schema": TITLE}}, {"schema": TITLE}):
        answer = await fetch(CHECK, body)
        assert (answer.status, answer.data["total"], answer.data["failing"]) == (200, 3, 2)
        assert [(one["id"], one["details"][0]["name"]) for one in answer.data["examples"]] == [
            ("c", "title"),
            ("b", "title"),
        ]
    assert (await fetch(f"GET {COLLECTION}/records")).headers["ETag"] == before
    assert "schema" not in (await fetch(f"GET {COLLECTION}")).data


async def test_check_tells_of_the_first_hundred_and_sees_neither_tombstones_nor_old_ones(
    start: Start,
) -> None:
    fetch = await begin(start)
    await fetch(f"DELETE {COLLECTION}/records/c")
    for n in range(6):
        parts = [{"method": "PUT", "path": f"{COLLECTION}/records/r{n}-{m}"} for m in range(20)]
        await fetch("POST /batch", {"requests": parts})
    answer = await fetch(CHECK, {"schema": TITLE})
    assert (answer.data["total"], answer.data["failing"]) == (122, 121)
    assert len(answer.data["examples"]) == 100
    await fetch(f"DELETE {COLLECTION}")
    await fetch(f"PUT {COLLECTION}")
    answer = await fetch(CHECK, {"schema": TITLE})
    assert answer.data == {"total": 0, "failing": 0, "examples": []}


async def test_check_is_for_who_may_write_the_collection(start: Start) -> None:
    fetch = await begin(start)
    assert (await fetch(CHECK, {"schema": TITLE}, user=BOB)).status == 403
    assert (await fetch(CHECK, {"schema": TITLE}, user=None)).status == 401
    await fetch(f"PATCH {COLLECTION}", {"permissions": {"read": ["system.Everyone"]}})
    assert (await fetch(CHECK, {"schema": TITLE}, user=BOB)).status == 403
    missing = await fetch("POST /buckets/b/collections/no/schema:check", {"schema": {}})
    assert missing.status == 404
    assert (
        await fetch("POST /buckets/no/collections/c/schema:check", {"schema": {}})
    ).status == 403


async def test_check_is_no_part_of_a_batch_and_not_there_where_nothing_is_checked(
    start: Start,
) -> None:
    fetch = await begin(start)
    part = {"method": "POST", "path": f"{COLLECTION}/schema:check", "body": {"schema": {}}}
    batch = await fetch("POST /batch", {"requests": [part]})
    assert batch.json["responses"][0]["status"] == 400
    fetch = await start()
    assert (await fetch(CHECK, {"schema": {}})).status == 404


async def test_check_works_in_the_default_bucket(start: Start) -> None:
    fetch = await begin(start, includes="default_bucket")
    await fetch("PUT /buckets/default/collections/c/records/r", {"data": {"a": 1}})
    answer = await fetch("POST /buckets/default/collections/c/schema:check", {"schema": TITLE})
    assert answer.data["failing"] == 1


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ([], "schema"),
        ({}, "schema"),
        ({"data": {}}, "data.schema"),
        ({"data": 1}, "data.schema"),
        ({"schema": 1}, "schema"),
        ({"data": {"schema": {"type": 1}}}, "data.schema"),
        ({"data": {"schema": {"$ref": "x"}}}, "schema"),
    ],
)
async def test_candidate_that_is_no_schema_is_told_where_it_is_not(body: Any, name: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_candidate(body)
    assert caught.value.problems[0].name == name


async def test_others_are_answered_while_an_expression_is_tried_that_would_take_minutes(
    start: Start,
) -> None:
    fetch = await begin(start)
    nasty = {"properties": {"a": {"pattern": "(a|b)*a(a|b){1000}c"}}}
    big = {"data": {"a": "ab" * 1_900_000}}
    await fetch(f"PUT {COLLECTION}/records/big", big)
    await fetch(f"PATCH {COLLECTION}", {"data": {"schema": nasty}})
    slowest = 0.0

    async def ask() -> None:
        nonlocal slowest
        for _ in range(20):
            begun = time.perf_counter()
            await fetch("GET /__lbheartbeat__")
            slowest = max(slowest, time.perf_counter() - begun)

    write = fetch(f"PUT {COLLECTION}/records/more", big)
    check = fetch(CHECK, {"schema": nasty})
    refused, checked, _ = await asyncio.gather(write, check, ask())
    assert (refused.status, refused.json["details"][0]["name"]) == (400, "schema")
    assert checked.data["failing"] == 1
    # It alone would take more than half a minute.
    assert slowest < 3
