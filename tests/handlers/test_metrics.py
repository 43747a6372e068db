import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from handlers.metrics import UNKNOWN, find_prefix
from tests.handlers.conftest import ALICE, Answer, Fetch, Start
from tests.handlers.lives import R, open_live

pytestmark = pytest.mark.gen_test

Labels = dict[str, str]
MEMORY = {"KINTO_STORAGE_BACKEND": "memory"}


def values(answer: Answer, name: str) -> list[tuple[Labels, float]]:
    """The samples of a name, with their labels."""
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    samples = [sample for family in families for sample in family.samples]
    return [(dict(one.labels), one.value) for one in samples if one.name == name]


async def read(fetch: Fetch) -> Answer:
    return await fetch("GET /__metrics__", user=None)


async def test_requests_are_counted_by_endpoint_and_status_and_not_by_path(start: Start) -> None:
    fetch = await start(includes="prometheus default_bucket")
    await fetch("PUT /buckets/b")
    await fetch("PUT /buckets/other")
    await fetch("GET /buckets/none")
    await fetch("GET /buckets/b/collections/c/records?_limit=3", user=None)
    await fetch("GET /buckets/b/changes?_since=0")
    for path in ("/no/such", "/buckets/b/collections/a%2Fb", "/__nothing__"):
        await fetch(f"GET {path}")
    await fetch("GET !/unversioned")
    await fetch("GET /live")
    answer = await read(fetch)
    assert answer.headers["Content-Type"].startswith("text/plain")
    counted = {
        (one["method"], one["endpoint"], one["status"]): count
        for one, count in values(answer, "kinto_request_summary_total")
    }
    assert counted == {
        ("put", "/buckets/{bucket_id}", "201"): 2,
        ("get", "/buckets/{bucket_id}", "403"): 1,
        ("get", "/buckets/{bucket_id}/collections/{collection_id}/records", "401"): 1,
        ("get", "/buckets/{bucket_id}/changes", "200"): 1,
        ("get", "/live", "400"): 1,
        ("get", UNKNOWN, "404"): 2,
        ("get", UNKNOWN, "400"): 1,
        ("get", UNKNOWN, "307"): 1,
    }


async def test_durations_sizes_and_users_are_counted(start: Start) -> None:
    fetch = await start(includes="prometheus", prometheus_histogram_buckets="0.5 60")
    await fetch("PUT /buckets/b")
    sent = len((await fetch("GET /buckets/b")).body)
    answer = await read(fetch)
    one = {"method": "get", "endpoint": "/buckets/{bucket_id}"}
    bounds = [
        (labels["le"], count)
        for labels, count in values(answer, "kinto_request_duration_seconds_bucket")
        if labels.items() >= one.items()
    ]
    assert bounds[-2:] == [("60.0", 1), ("+Inf", 1)]
    assert (one, sent) in values(answer, "kinto_request_size_sum")
    assert values(answer, "kinto_authentication_total") == [({"type": "basicauth"}, 2)]
    assert len(values(answer, "kinto_request_summary_created")) == 2
    assert values(answer, "process_open_fds")[0][1] > 0


async def test_what_was_held_does_not_count_as_slow(start: Start) -> None:
    fetch = await start(includes="prometheus")
    await fetch("PUT /buckets/b")
    etag = (await fetch("GET /buckets")).headers["ETag"]
    await fetch(f"GET /buckets?_since={etag}&_wait=1")
    answer = await read(fetch)
    found = dict((one["method"], n) for one, n in values(answer, "kinto_request_size_count"))
    assert found == {"put": 1, "get": 2}
    spread = values(answer, "kinto_request_duration_seconds_count")
    assert [n for one, n in spread if one["method"] == "get"] == [1]


async def test_ledger_and_changes_are_counted() -> None:
    async with open_live(MEMORY, includes="prometheus") as server:
        await server.furnish()
        talk = await server.listen(R)
        await talk.until("ready")
        await server.put(f"{R}/r")
        await talk.event()
        answer = await server.ask("GET /__metrics__", user=None)
        assert values(answer, "kinto_ledger_group_commands_sum") == [({}, 3)]
        assert values(answer, "kinto_ledger_commit_seconds_count") == [({}, 3)]
        assert values(answer, "kinto_ledger_retries_total") == [({}, 0)]
        assert values(answer, "kinto_storage_snapshots_total")[0][1] > 0
        (lagging,) = values(answer, "kinto_live_lag_seconds_count")
        assert lagging[1] >= 1
        transports = {
            one["transport"]: count for one, count in values(answer, "kinto_live_connections")
        }
        assert transports == {"websocket": 0, "sse": 1, "longpoll": 0}
        assert values(answer, "kinto_live_subscriptions") == [({}, 1)]
        assert values(answer, "kinto_live_reading") == [({}, 1)]
        assert values(answer, "kinto_live_outbox_messages_max") == [({}, 0)]


async def test_metrics_can_be_left_out_and_named_anew(start: Start) -> None:
    fetch = await start(
        includes="prometheus",
        prometheus_prefix="shop",
        prometheus_disabled_metrics="request_size shop_live_lag_seconds",
        prometheus_created_metrics_enabled="false",
    )
    await fetch("PUT /buckets/b")
    text = (await read(fetch)).body.decode()
    names = {one for one in re.findall(r"^# TYPE (\w+)", text, re.MULTILINE) if "shop" in one}
    assert "shop_request_summary_total" in names
    assert not [one for one in names if "size" in one or "lag" in one or "created" in one]


async def test_metrics_are_for_whom_the_setting_names_and_no_part_of_a_batch(
    start: Start,
) -> None:
    fetch = await start(includes="prometheus", prometheus_principals="system.Authenticated")
    assert (await read(fetch)).status == 401
    assert (await fetch("GET /__metrics__", user=ALICE)).status == 200
    assert (await fetch("HEAD /__metrics__", user=ALICE)).body == b""
    batch = await fetch("POST /batch", {"requests": [{"path": "/__metrics__"}]})
    assert batch.json["responses"][0]["status"] == 400


async def test_openmetrics_is_spoken_to_who_asks_for_it(start: Start) -> None:
    fetch = await start(includes="prometheus")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await fetch("GET /__metrics__", user=None, headers=accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


async def test_nothing_is_told_where_it_is_not_switched_on(start: Start) -> None:
    assert (await (await start())("GET /__metrics__")).status == 404


@pytest.mark.parametrize(("name", "prefix"), [("kinto_", "kinto_"), ("", ""), ("É-1", "1_")])
async def test_prefix_has_one_word(name: str, prefix: str) -> None:
    assert find_prefix(name) == prefix
