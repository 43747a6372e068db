from typing import Any

import pytest
from pymongo.database import Database
from tornado.ioloop import IOLoop

from server.core.paths import ListPath, object_path
from server.core.sorting import DEFAULT_ORDER, SortKey, full_order
from server.storage.base import LogPage, Page, RightsQuery
from server.storage.mongo.driver import open_driver
from server.storage.mongo.finds import (
    is_stored_order,
    last_entry_find,
    log_find,
    page_filter,
    rights_find,
)
from server.storage.mongo.schema import prepare

GROUPS = object_path("/buckets/b/groups/g").list
BUCKETS = object_path("/buckets/b").list


@pytest.fixture
def prepared(
    mongo_uri: str, mongo_database: str, io_loop: IOLoop, database: Database[dict[str, Any]]
) -> Database[dict[str, Any]]:
    """A database with its indexes."""

    async def make() -> None:
        driver = open_driver("pymongo", mongo_uri, mongo_database, 5000)
        await prepare(driver)
        await driver.close()

    io_loop.run_sync(make)
    entries = []
    for number in range(200):
        name = number % 5
        one: dict[str, Any] = {
            "bucket": f"b{name}" if name else "b",
            "list": "/buckets/b/groups" if number % 2 else "/buckets",
            "uri": f"/buckets/b/groups/g{name}",
            "seq": number,
            "pos": number,
            "date": number,
            "readers": [],
        }
        entries.append(one | ({"touched": ["x"]} if number % 10 == 0 else {}))
    database["revisions"].insert_many(entries)
    return database


def explain(database: Database[dict[str, Any]], command: dict[str, Any]) -> str:
    explained = database.command("explain", command, verbosity="queryPlanner")
    return str(explained["queryPlanner"]["winningPlan"])


def page_of(scope: ListPath | str, **options: Any) -> LogPage:
    return LogPage(scope, 10, 150, 20, **options)


@pytest.mark.parametrize(
    ("command", "indexes"),
    [
        (log_find(page_of(GROUPS)), {"list_pos"}),
        (log_find(page_of(GROUPS, readers={"x"})), {"list_pos"}),
        (log_find(page_of(BUCKETS)), {"root_buckets"}),
        (log_find(page_of("b")), {"bucket_seq"}),
        (log_find(page_of(GROUPS, uri="/buckets/b/groups/g0")), {"object_pos"}),
        (log_find(page_of("b", uri="/buckets/b/groups/g0")), {"object_pos"}),
        (log_find(page_of(BUCKETS, uri="/buckets/b")), {"object_pos"}),
        (log_find(page_of("b", plural="groups", trimmed=False)), {"bucket_seq"}),
        (log_find(page_of("b", readers={"x"}, also={"/buckets/b/groups"})), {"bucket_seq"}),
        (log_find(page_of("b", by="x", skip=3, descending=True)), {"bucket_seq"}),
        (last_entry_find(GROUPS, 100), {"list_pos"}),
        (last_entry_find(BUCKETS, 100), {"root_buckets"}),
    ],
    ids=str,
)
def test_finds_of_the_log_walk_an_index_in_its_order(
    prepared: Database[dict[str, Any]], command: dict[str, Any], indexes: set[str]
) -> None:
    plan = explain(prepared, command)
    assert all(f"'indexName': '{name}'" in plan for name in indexes), plan
    assert "'stage': 'SORT'" not in plan
    assert "COLLSCAN" not in plan


def test_find_of_rights_walks_an_index_for_each_of_its_reasons(
    prepared: Database[dict[str, Any]],
) -> None:
    query = RightsQuery("b", ("/buckets/b", "/buckets/b/collections/c"), {"x", "y"}, 5, 5)
    plan = explain(prepared, rights_find(query))
    assert "COLLSCAN" not in plan
    assert "'indexName': 'touched'" in plan


def test_entries_that_touch_nobody_are_not_in_the_index_of_the_touched(
    prepared: Database[dict[str, Any]],
) -> None:
    found = prepared["revisions"].find({"touched": {"$exists": True}}).hint("touched")
    assert len(list(found)) == 20
    explained = prepared.command(
        "explain",
        {"find": "revisions", "filter": {"touched": {"$exists": True}}, "hint": "touched"},
        verbosity="executionStats",
    )
    assert explained["executionStats"]["totalKeysExamined"] == 20


def test_only_the_order_of_dates_is_the_databases() -> None:
    assert is_stored_order(DEFAULT_ORDER)
    assert is_stored_order((SortKey("last_modified"), SortKey("id")))
    assert not is_stored_order(full_order([SortKey("n")]))


def test_page_that_goes_on_asks_for_what_is_beyond_only_in_an_order_of_the_database() -> None:
    stored = page_filter(Page(GROUPS, 7, (), DEFAULT_ORDER, 10, after=((5,), ("a",))))
    assert {"last_modified": {"$lt": 5}} in stored["$and"][-1]["$or"]
    order = full_order([SortKey("n")])
    other = page_filter(Page(GROUPS, 7, (), order, 10, after=((5,), (5,), ("a",))))
    assert other == {
        "$and": [
            {"bucket": "b", "list": "/buckets/b/groups"},
            {"pos": {"$gt": 7}},
            {"deleted": False},
        ]
    }
