"""Every public method of the HTTP client for JavaScript, as kinto.js carries it and on its own."""

import re
from typing import Any

import pytest
import requests
from pymongo import MongoClient

from tests.clients.conftest import Play, Serve
from tests.clients.test_kinto_http_everything import SETTINGS
from tests.processes import ServerProcess


@pytest.fixture(scope="module", params=["kinto", "kinto-http"])
def seen(request: pytest.FixtureRequest, serve: Serve, play: Play) -> Any:
    """What the npm package saw, which is named by the parameter."""
    return play(serve(**SETTINGS), "http_everything", request.param)


def test_every_public_method_was_called(seen: Any) -> None:
    assert seen["unused"] == []


def test_server_tells_what_it_can_and_who_asks(seen: Any) -> None:
    server = seen["server"]
    assert server["settings"]["batch_max_requests"] == 4
    assert server["user"].startswith("basicauth:")
    assert {"accounts", "attachments", "history"} <= set(server["capabilities"])
    assert re.fullmatch(r"1\.\d+", server["api"])
    assert (server["remote"], server["version"], server["backoff"]) == (True, "v1", 0)


def test_account_that_is_made_can_log_in(seen: Any) -> None:
    assert seen["server"]["account"] is True


def test_buckets_are_made_changed_shared_listed_and_deleted(seen: Any) -> None:
    buckets = seen["buckets"]
    assert (buckets["made"], buckets["title"]) == (["first", ["x"]], "first")
    assert buckets["patched"] == ["first", 3]
    assert (buckets["taken"], buckets["stale"]) == (412, 412)
    assert sorted(buckets["added"]) == ["x", "y"]
    assert (buckets["removed"], buckets["set"]) == (["y"], ["z"])
    assert (buckets["all"], buckets["more"]) == (2, True)
    assert buckets["gone"] is buckets["execute"] is True
    assert seen["end"] == {"deleted": 1, "left": 0}


def test_groups_are_made_changed_listed_and_deleted(seen: Any) -> None:
    groups = seen["groups"]
    assert groups["made"] == [["a"], "group"]
    assert groups["updated"] == groups["read"] == ["b"]
    assert [groups[name] for name in ("taken", "stale", "refused", "missing")] == [412] * 3 + [404]
    assert (groups["listed"], groups["left"]) == (["g", "h"], ["h"])
    assert re.fullmatch(r'"\d{13}"', groups["stamp"])


def test_collections_are_made_changed_shared_listed_and_deleted(seen: Any) -> None:
    collections = seen["collections"]
    assert collections["listed"] == ["c1", "c2", "c3", "notes"]
    assert collections["patched"] == ["n", 1]
    assert (collections["stale"], collections["gone"]) == (412, True)
    # A PUT of permissions alone leaves the data.
    assert (collections["id"], collections["sort"]) == ("notes", "n")
    assert (collections["left"], collections["read"]) == (["c2", "c3"], ["y"])
    assert re.fullmatch(r'"\d{13}"', collections["stamp"])


def test_records_are_made_changed_paged_polled_and_deleted(seen: Any) -> None:
    records = seen["records"]
    assert [records[name] for name in ("taken", "stale", "kept")] == [412] * 3
    assert (records["first"], records["patched"]) == (0, [0, True])
    assert records["pages"] == [[-1, 0, 2], [3, 4, 5], [6, 7]]
    assert (records["fields"], records["everything"]) == (["id", "last_modified"], 8)
    assert (records["gone"], records["changed"]) == (True, 1)
    assert (records["one"], records["total"]) == ([["r5"], True], 7)
    assert (records["some"], records["executed"]) == (["r6", "r7"], 2)


def test_files_are_added_named_and_removed(seen: Any) -> None:
    files = seen["files"]
    assert (files["names"], files["n"]) == (["a.txt", "b.txt"], 50)
    assert (files["stale"], files["text"], files["bare"]) == (412, "first", None)


def test_history_is_read_and_a_snapshot_is_the_list_as_it_was(seen: Any) -> None:
    history = seen["history"]
    assert (history["complete"], history["then"]) == (True, 2)
    assert history["same"] is history["total"] is True
    assert history["entries"] == ["create", "update"]
    assert "positive integer" in history["wrong"]


def test_batches_come_in_chunks_and_tell_what_became_of_each_part(seen: Any) -> None:
    batches = seen["batches"]
    assert batches["plain"] == [201] * 10
    assert batches["many"] == [201] * 3
    assert (batches["published"], batches["conflicts"]) == ([11], ["b0"])
    assert (batches["skipped"], batches["errors"]) == (["never"], [107])
    assert batches["none"] == []
    assert "within a batch" in batches["nested"]


def test_permissions_of_the_user_are_listed_in_pages(seen: Any) -> None:
    assert seen["permissions"] == {"uris": True, "kinds": ["collection"], "bucket": True}


def test_write_that_the_server_could_not_do_in_time_is_tried_again(
    hasty: ServerProcess,
    mongo_client: MongoClient[dict[str, object]],
    mongo_database: str,
    play: Play,
) -> None:
    for path in ("buckets/busy", "buckets/busy/collections/notes"):
        requests.put(hasty.url + path, auth=("alice", "secret"), timeout=30)
    with mongo_client.start_session() as session:
        # mongod ends it after five seconds.
        session.start_transaction()
        objects = mongo_client[mongo_database]["objects"]
        lock = {"$inc": {"lock": 1}}
        objects.update_one({"_id": "/buckets/busy"}, lock, session=session)
        seen = play(hasty.url.rstrip("/"), "retries", "busy")
    assert seen["title"] == "at last"
    assert "retry-after" in seen["events"]
