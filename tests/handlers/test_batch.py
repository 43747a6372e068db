import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from handlers.batch import PartHeaders, parse_batch, split_target
from server import app
from server.core.errors import InvalidParameters, Unavailable
from server.core.permissions import Rules
from server.storage.memory import MemoryStorage
from tests.conftest import ExpectedLogs
from tests.handlers.conftest import ALICE, BOB, Fetch, Start


def requests(*targets: str, **more: Any) -> dict[str, Any]:
    """A batch of requests without bodies."""
    pairs = [target.split() for target in targets]
    return {"requests": [{"method": method, "path": path} for method, path in pairs], **more}


def exhausted(*ids: str) -> Callable[[], str]:
    """An id generator that fails once it has given these."""
    left: Iterator[str] = iter(ids)
    return lambda: next(left)


@pytest.mark.gen_test
async def test_batch_in_which_the_server_fails_is_500_and_has_done_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    # The second id is wanted while the batch is decided, after its first part.
    monkeypatch.setitem(app._MAKERS, "NameGenerator", exhausted("taken", "taken"))
    fetch = await start()
    await fetch("POST /buckets")
    expected_logs("could not be decided")
    answer = await fetch("POST /batch", requests("PUT /buckets/b", "POST /buckets"))
    assert (answer.status, answer.json["errno"]) == (500, 999)
    assert [one["id"] for one in (await fetch("GET /buckets")).data] == ["taken"]
    assert (await fetch("POST /batch", requests("PUT /buckets/b"))).json["responses"][0][
        "status"
    ] == 201


@pytest.mark.gen_test
async def test_batch_that_fails_while_it_is_planned_has_done_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    monkeypatch.setitem(app._MAKERS, "NameGenerator", exhausted())
    fetch = await start()
    expected_logs("/v1/batch failed")
    answer = await fetch("POST /batch", requests("PUT /buckets/b", "POST /buckets"))
    assert answer.status == 500
    assert (await fetch("GET /buckets")).data == []


@pytest.mark.gen_test
@pytest.mark.parametrize("others", [(), ("PUT /buckets/b",), ("GET /buckets",)])
async def test_flush_is_no_part_of_a_batch_which_goes_on_without_it(
    others: tuple[str, ...], fetch: Fetch
) -> None:
    await fetch("PUT /buckets/before")
    batch = requests("POST /__flush__", *others)
    answer = await asyncio.wait_for(fetch("POST /batch", batch), 5)
    first, *rest = answer.json["responses"]
    assert (first["status"], first["body"]["errno"]) == (400, 107)
    assert all(one["status"] in (200, 201) for one in rest)
    assert (await fetch("GET /buckets/before")).status == 200


@pytest.mark.gen_test
async def test_views_that_need_no_storage_stand_beside_writes(fetch: Fetch) -> None:
    batch = requests("GET /", "PUT /buckets/b", "GET /__heartbeat__", "GET /__version__", "GET /x")
    answer = await fetch("POST /batch", batch)
    assert [one["status"] for one in answer.json["responses"]] == [200, 201, 200, 404, 404]


@pytest.mark.gen_test
async def test_read_of_the_default_bucket_makes_it_before_a_write_in_the_same_batch(
    fetch: Fetch,
) -> None:
    batch = requests(
        "GET /buckets/default/collections/c/records", "PUT /buckets/default/collections/c/records/r"
    )
    answer = await fetch("POST /batch", batch)
    assert [one["status"] for one in answer.json["responses"]] == [200, 201]


@pytest.mark.gen_test
async def test_delete_of_a_list_in_a_batch_answers_its_tombstones_and_next_page(
    fetch: Fetch,
) -> None:
    for name in ("a", "b", "c"):
        await fetch(f"PUT /buckets/{name}")
    batch = requests("DELETE /buckets?_limit=2", "GET /buckets")
    first, second = (await fetch("POST /batch", batch)).json["responses"]
    assert {one["deleted"] for one in first["body"]["data"]} == {True}
    assert len(first["body"]["data"]) == 2
    assert "_token=" in first["headers"]["Next-Page"]
    assert [one["id"] for one in second["body"]["data"]] == ["a"]


@pytest.mark.gen_test
async def test_a_part_that_cannot_be_planned_is_refused_alone(fetch: Fetch) -> None:
    batch = {
        "requests": [
            {"path": "/buckets/%FF"},
            {"path": "/buckets?a=%FF"},
            {"path": "/buckets", "headers": {"authorization": "Basic !"}},
            {"method": "PUT", "path": "/buckets/b", "headers": {"AUTHORIZATION": BOB}},
        ]
    }
    answer = await fetch("POST /batch", batch, user=ALICE)
    assert [one["status"] for one in answer.json["responses"]] == [400, 400, 401, 201]
    assert (await fetch("GET /buckets/b", user=BOB)).status == 200
    assert (await fetch("GET /buckets/b", user=ALICE)).status == 403


@pytest.mark.gen_test
async def test_batch_of_refusals_and_reads_reads(fetch: Fetch) -> None:
    answer = await fetch("POST /batch", requests("GET /buckets", "GET /buckets/%FF", "GET /none"))
    assert [one["status"] for one in answer.json["responses"]] == [200, 400, 404]


@pytest.mark.gen_test
async def test_batch_of_reads_is_503_as_a_whole_when_the_database_is_away(start: Start) -> None:
    class Away(MemoryStorage):
        def snapshot(self) -> Any:
            raise Unavailable("The database cannot be reached.", 9)

    fetch = await start(storage=Away(Rules()))
    answer = await fetch("POST /batch", requests("GET /__lbheartbeat__", "GET /buckets"))
    assert (answer.status, answer.json["errno"]) == (503, 201)
    assert answer.headers["Retry-After"] == "9"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/v1/buckets/b?a=1?2", "/buckets/b", "a=1?2"),
        ("/v1", "/", ""),
        ("/v1/", "/", ""),
        ("/", "/", ""),
        ("/buckets//", "/buckets", ""),
        ("/v1/v1/buckets", "/v1/buckets", ""),
        ("/v10/buckets", "/v10/buckets", ""),
    ],
)
def test_target_of_a_part_has_no_version_and_no_slash_at_its_end(
    target: str, path: str, query: str
) -> None:
    assert split_target(target) == (path, query)


def test_headers_of_a_part_are_found_whatever_their_case() -> None:
    headers = PartHeaders({"If-MATCH": '"1"'})
    assert headers.get("if-match") == '"1"'
    assert headers.get("ETag") is None


def test_defaults_fill_up_every_depth_and_lose_to_the_request() -> None:
    body = {
        "defaults": {"method": "PUT", "body": {"data": {"a": 1, "b": {"c": 2}}}},
        "requests": [{"path": "/x", "body": {"data": {"b": {"d": 3}, "a": None}}}],
    }
    (part,) = parse_batch(body, 25)
    assert part == {
        "method": "PUT",
        "path": "/x",
        "body": {"data": {"a": None, "b": {"c": 2, "d": 3}}},
    }


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ([], ""),
        ({"requests": [], "x" * 100: 1}, ""),
        ({}, "requests"),
        ({"requests": {}}, "requests"),
        ({"requests": [{"path": "/"}] * 3}, "requests"),
        ({"requests": [], "defaults": []}, "defaults"),
        ({"requests": [1]}, "requests.0"),
        ({"requests": [{"path": "/"}, {}]}, "requests.1.path"),
        ({"requests": [{"path": "/", "method": "x" * 100}]}, "requests.0.method"),
        ({"requests": [{"path": "/", "method": ["GET"]}]}, "requests.0.method"),
        ({"requests": [{"path": "/", "headers": []}]}, "requests.0.headers"),
        ({"requests": [{"path": "/", "headers": {"A": None}}]}, "requests.0.headers"),
        ({"requests": [{"path": "/", "body": None}]}, "requests.0.body"),
        ({"requests": [{"path": "/v1/%62atch/?x"}]}, "requests"),
    ],
)
def test_what_is_no_batch_is_told_where_it_is_not(body: Any, name: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_batch(body, 2)
    assert [problem.name for problem in caught.value.problems] == [name]
    assert len(caught.value.message or "") < 300


@pytest.mark.gen_test
async def test_atomic_batch_of_which_one_part_fails_does_nothing(fetch: Fetch) -> None:
    await fetch("PUT /buckets/b")
    parts = (
        "PUT /buckets/b/collections/c",
        "GET /buckets/b/collections/c",
        "PUT /buckets/none/groups/g",
        "GET /buckets/b",
    )
    answer = await fetch("POST /batch", requests(*parts, atomic=True))
    assert answer.status == 200
    told = [(one["status"], one["body"]["errno"]) for one in answer.json["responses"]]
    assert told == [(424, 119), (424, 119), (403, 121), (424, 119)]
    assert (await fetch("GET /buckets/b/collections/c")).status == 404


@pytest.mark.gen_test
async def test_atomic_batch_of_which_none_fails_is_done_and_sees_itself(fetch: Fetch) -> None:
    parts = ("PUT /buckets/b", "PUT /buckets/b/collections/c", "HEAD /buckets/b/collections")
    answer = await fetch("POST /batch", requests(*parts, atomic=True))
    assert [one["status"] for one in answer.json["responses"]] == [201, 201, 200]
    assert answer.json["responses"][2]["headers"]["Total-Objects"] == "1"
    assert (await fetch("GET /buckets/b/collections/c")).status == 200


@pytest.mark.gen_test
async def test_read_that_fails_undoes_an_atomic_batch_and_a_304_does_not(fetch: Fetch) -> None:
    made = await fetch("PUT /buckets/b")
    parts = [
        {"method": "PUT", "path": "/buckets/b/groups/g"},
        {"path": "/buckets/b", "headers": {"If-None-Match": made.headers["ETag"]}},
    ]
    answer = await fetch("POST /batch", {"atomic": True, "requests": parts})
    assert [one["status"] for one in answer.json["responses"]] == [201, 304]
    parts = [{"method": "DELETE", "path": "/buckets/b/groups/g"}, {"path": "/buckets/b/groups/h"}]
    answer = await fetch("POST /batch", {"atomic": True, "requests": parts})
    assert [one["status"] for one in answer.json["responses"]] == [424, 404]
    assert (await fetch("GET /buckets/b/groups/g")).status == 200


@pytest.mark.gen_test
async def test_atomic_batch_with_a_part_that_cannot_be_planned_does_nothing(fetch: Fetch) -> None:
    parts = ("PUT /buckets/b", "GET /buckets/%FF", "POST /__flush__", "GET /none")
    answer = await fetch("POST /batch", requests(*parts, atomic=True))
    assert [one["status"] for one in answer.json["responses"]] == [424, 400, 400, 404]
    assert (await fetch("GET /buckets")).data == []


@pytest.mark.gen_test
async def test_what_an_atomic_batch_takes_for_granted_is_undone_with_it(fetch: Fetch) -> None:
    parts = ("GET /buckets/default/collections/tasks", "GET /buckets/default/groups/none")
    answer = await fetch("POST /batch", requests(*parts, atomic=True))
    assert [one["status"] for one in answer.json["responses"]] == [424, 404]
    assert (await fetch("GET /buckets")).data == []
    answer = await fetch("POST /batch", requests(parts[0], atomic=True))
    assert [one["status"] for one in answer.json["responses"]] == [200]
    assert len((await fetch("GET /buckets")).data) == 1


@pytest.mark.gen_test
async def test_list_that_an_atomic_batch_emptied_is_full_again_when_it_fails(fetch: Fetch) -> None:
    for name in ("a", "b"):
        await fetch(f"PUT /buckets/{name}")
    answer = await fetch("POST /batch", requests("DELETE /buckets", "GET /no", atomic=True))
    assert [one["status"] for one in answer.json["responses"]] == [424, 404]
    assert len((await fetch("GET /buckets")).data) == 2
    answer = await fetch("POST /batch", requests("DELETE /buckets", "HEAD /buckets", atomic=True))
    assert [one["status"] for one in answer.json["responses"]] == [200, 200]
    assert (await fetch("GET /buckets")).data == []


@pytest.mark.gen_test
async def test_batch_that_is_said_not_to_be_atomic_goes_on_after_a_refusal(fetch: Fetch) -> None:
    batch = requests("PUT /buckets/b", "GET /none", "PUT /buckets/c", atomic=False)
    answer = await fetch("POST /batch", batch)
    assert [one["status"] for one in answer.json["responses"]] == [201, 404, 201]


@pytest.mark.gen_test
async def test_atomic_batch_of_nothing_is_answered_by_nothing(fetch: Fetch) -> None:
    assert (await fetch("POST /batch", requests(atomic=True))).json == {"responses": []}


@pytest.mark.gen_test
@pytest.mark.parametrize("value", [1, "true", None, []])
async def test_atomic_that_is_neither_true_nor_false_is_400(value: Any, fetch: Fetch) -> None:
    answer = await fetch("POST /batch", requests("PUT /buckets/b", atomic=value))
    assert (answer.status, answer.json["details"][0]["name"]) == (400, "atomic")
    assert (await fetch("GET /buckets")).data == []
