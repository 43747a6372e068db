import asyncio
from collections.abc import Callable

import pytest

from handlers.messages import ApiResponse, json_response
from handlers.plans import Plan, Planner
from server.core.commands import Ensure, Replace, Target
from server.core.contents import Content
from server.core.errors import Forbidden, ObjectMissing, SyncError, Unavailable
from server.core.json_text import parse_json
from server.core.paths import object_path
from server.core.permissions import Rules, make_actor
from server.storage.base import Snapshot
from server.storage.memory import MemoryStorage
from tests.handlers.conftest import Start

pytestmark = pytest.mark.gen_test

ALICE = make_actor("basicauth:alice")
BUCKET = object_path("/buckets/b")


@pytest.fixture
def planner() -> Planner:
    rules = Rules({"bucket:create": frozenset({"system.Authenticated"})})
    return Planner(MemoryStorage(rules), "https://bugs.example/", 7)


def writing() -> Plan:
    part = Replace(Target(ALICE, BUCKET), Content())
    return Plan(part=part, answer=lambda outcome: ApiResponse(201 if outcome.created else 200))


def reading(then: Callable[[bool], ApiResponse], before: Ensure | None = None) -> Plan:
    async def read(snapshot: Snapshot) -> ApiResponse:
        return then(BUCKET.uri in await snapshot.objects([BUCKET.uri]))

    return Plan(read=read, before=before)


def status_of(*, there: bool) -> ApiResponse:
    if not there:
        raise ObjectMissing("b", "bucket")
    return ApiResponse(200)


async def test_write_is_stored_and_answered(planner: Planner) -> None:
    assert (await planner.run(writing())).status == 201
    assert (await planner.run(reading(lambda there: status_of(there=there)))).status == 200


async def test_read_makes_what_it_takes_for_granted_only_if_it_is_missing(
    planner: Planner,
) -> None:
    plan = reading(lambda there: status_of(there=there), Ensure(ALICE, BUCKET))
    assert (await planner.run(plan)).status == 200
    assert isinstance(planner.storage, MemoryStorage)
    stored = len(planner.storage.revisions)
    assert stored == 1
    assert (await planner.run(plan)).status == 200
    assert len(planner.storage.revisions) == stored


async def test_batch_reads_what_it_has_written_so_far(planner: Planner) -> None:
    look = reading(lambda there: json_response(there))
    plans = [look, writing(), look, writing()]
    responses = await planner.run_all(plans, 0)
    assert [one.status for one in responses] == [200, 201, 200, 200]
    assert [parse_json(one.body) for one in (responses[0], responses[2])] == [False, True]


async def test_batch_answers_a_refusal_in_its_place(planner: Planner) -> None:
    failing = reading(lambda there: status_of(there=there))
    for others, statuses in ([], [403, 404]), ([writing()], [403, 404, 201]):
        responses = await planner.run_all([Forbidden(), failing, *others], 0)
        assert [one.status for one in responses] == statuses


async def test_batch_of_reads_ends_with_the_first_failure_of_the_database(
    planner: Planner,
) -> None:
    async def fail() -> ApiResponse:
        raise Unavailable("The database cannot be reached.", 3)

    with pytest.raises(Unavailable):
        await planner.run_all([Plan(alone=fail)], 0)


async def test_what_is_taken_for_granted_comes_first_in_a_batch_too(planner: Planner) -> None:
    look = reading(lambda there: status_of(there=there), Ensure(ALICE, BUCKET))
    assert [one.status for one in await planner.run_all([look, writing()], 0)] == [200, 200]


async def test_ten_batches_at_once_are_each_whole(planner: Planner) -> None:
    plans = [writing(), reading(lambda there: status_of(there=there))]
    all_responses = await asyncio.gather(*(planner.run_all(plans, 0) for _ in range(10)))
    assert sum(first.status == 201 for first, _ in all_responses) == 1
    assert {second.status for _, second in all_responses} == {200}


@pytest.mark.parametrize(
    ("error", "headers"),
    [(Forbidden(), {}), (Unavailable("Away.", 9), {"Retry-After": "9"})],
)
async def test_error_becomes_json_and_tells_when_to_come_back(
    error: SyncError, headers: dict[str, str], planner: Planner
) -> None:
    response = planner.refusal(error)
    body = parse_json(response.body)
    assert (response.status, body["errno"]) == (error.status, error.errno)
    assert response.headers == headers
    assert ("info" in body) == (error.status >= 500)
    assert response.facts == {"errno": error.errno}


async def test_want_of_room_for_what_is_made_first_is_told_to_who_writes(start: Start) -> None:
    fetch = await start(includes="default_bucket quotas", quotas__bucket_max_bytes=0)
    path = "/buckets/default/collections/c/records/r"
    refused = await fetch(f"PUT {path}")
    assert (refused.status, refused.json["errno"]) == (507, 121)
    # To come back would be of no use, and it is no fault of the server's.
    assert "Retry-After" not in refused.headers
    assert "info" not in refused.json
    assert (await fetch(f"GET {path}")).status in (403, 404)
    parts = [{"method": "PUT", "path": path}, {"path": path}]
    answer = await fetch("POST /batch", {"requests": parts})
    assert [one["status"] for one in answer.json["responses"]] == [507, 403]
    answer = await fetch("POST /batch", {"requests": parts, "atomic": True})
    assert [one["status"] for one in answer.json["responses"]] == [507, 424]


async def test_part_beyond_a_quota_is_refused_alone(start: Start) -> None:
    fetch = await start(includes="quotas", quotas__collection_max_items=1)
    paths = (
        "",
        "/collections/c",
        "/collections/c/records/a",
        "/collections/c/records/b",
        "/groups/g",
    )
    parts = [{"method": "PUT", "path": f"/buckets/b{path}"} for path in paths]
    answer = await fetch("POST /batch", {"requests": parts})
    assert [one["status"] for one in answer.json["responses"]] == [201, 201, 201, 507, 201]
