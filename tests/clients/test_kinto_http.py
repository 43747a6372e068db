"""PyPI's kinto-http client against a real server: loads, polls, filters, sorts, pages."""

import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import kinto_http
import pytest

from tests.clients.conftest import Serve
from tests.clients.iso_records import Record, load_iso_records

LOADED_AT_ONCE = 250
AUTH = ("alice", "secret")

Records = dict[str, dict[str, Record]]
"""{collection: {id: record}}."""


def connect(url: str, bucket: str) -> Any:
    """A kinto-http client of its own: nothing is shared between two of them."""
    return kinto_http.Client(server_url=url, auth=AUTH, bucket=bucket, retry=3, timeout=60)


def without_time(record: Record) -> Record:
    return {name: value for name, value in record.items() if name != "last_modified"}


@dataclass
class Poller:
    """A replica that asks again and again for what is new, until told that all was written."""

    client: Any
    collections: list[str]
    written: threading.Event = field(default_factory=threading.Event)
    records: Records = field(default_factory=dict)
    received: list[tuple[str, str, int]] = field(default_factory=list)
    stale: list[Record] = field(default_factory=list)
    polls: int = 0
    failure: BaseException | None = None

    def run(self) -> None:
        try:
            cursors = dict.fromkeys(self.collections, "")
            complete = False
            while not complete:
                # Looked at before the polls: what was written by then, the polls must find.
                complete = self.written.wait(0.05)
                for collection in self.collections:
                    cursors[collection] = self._poll(collection, cursors[collection])
        except BaseException as failure:  # Told to the test, which runs in another thread.
            self.failure = failure

    def _poll(self, collection: str, cursor: str) -> str:
        query = {"_since": cursor, "if_none_match": cursor} if cursor else {}
        changes = self.client.get_records(collection=collection, **query)
        self.polls += 1
        known = self.records.setdefault(collection, {})
        for change in changes:
            self.received.append((collection, change["id"], change["last_modified"]))
            if change["last_modified"] <= int(cursor or 0):
                self.stale.append(change)
            if change.get("deleted"):
                known.pop(change["id"], None)
            else:
                known[change["id"]] = change
        timestamp: str = self.client.get_records_timestamp(collection=collection)
        return timestamp


def write_everything(client: Any, wanted: Records) -> None:
    """Load all records in batches; then change some of them, and delete some others."""
    for collection, records in wanted.items():
        left = iter(list(records.values()))
        while chunk := list(islice(left, LOADED_AT_ONCE)):
            with client.batch(collection=collection) as batch:
                for record in chunk:
                    batch.create_record(data=record)
    languages = wanted["languages"]
    extinct = [id_ for id_, language in languages.items() if language["type"] == "E"]
    with client.batch(collection="languages") as batch:
        for id_ in extinct:
            batch.patch_record(id=id_, data={"status": "extinct"})
            languages[id_]["status"] = "extinct"
    ancient = [id_ for id_, language in languages.items() if language["type"] == "A"]
    with client.batch(collection="languages") as batch:
        for id_ in ancient:
            batch.delete_record(id=id_)
            del languages[id_]


@dataclass
class Loaded:
    """A server full of records, what they are, and what a poller made of their arrival."""

    client: Any
    wanted: Records
    poller: Poller

    def find(self, collection: str, **query: Any) -> list[Record]:
        found = self.client.get_records(collection=collection, **query)
        return [without_time(record) for record in found]


@pytest.fixture(scope="module")
def loaded(serve: Serve) -> Iterator[Loaded]:
    # The client logs each success within a batch as a warning.
    logging.getLogger("kinto_http").setLevel(logging.CRITICAL)
    url = serve()
    bucket = f"iso-{uuid.uuid4()}"
    client, wanted = connect(url, bucket), load_iso_records()
    client.create_bucket()
    for collection in wanted:
        client.create_collection(id=collection)
    poller = Poller(connect(url, bucket), list(wanted))
    thread = threading.Thread(target=poller.run, daemon=True)
    thread.start()
    try:
        write_everything(client, wanted)
    finally:
        poller.written.set()
        thread.join(60)
    assert not thread.is_alive(), "the poller does not come to its end"
    yield Loaded(client, wanted, poller)
    client.delete_bucket(id=bucket)
    logging.getLogger("kinto_http").setLevel(logging.NOTSET)


def test_a_client_that_polls_while_another_loads_ends_with_the_same_records(loaded: Loaded) -> None:
    poller = loaded.poller
    if poller.failure:
        raise poller.failure
    assert poller.polls > 2 * len(loaded.wanted)
    for collection, records in loaded.wanted.items():
        polled = poller.records[collection]
        assert {id_: without_time(record) for id_, record in polled.items()} == records
        assert sorted(polled) == sorted(r["id"] for r in loaded.find(collection))


def test_polling_brings_each_change_once_and_nothing_older_than_asked_for(loaded: Loaded) -> None:
    received = loaded.poller.received
    assert loaded.poller.stale == []
    assert len(received) == len(set(received))


def test_head_of_a_list_counts_the_records_that_a_filter_leaves(loaded: Loaded) -> None:
    endpoint = loaded.client.get_endpoint("records", collection="subdivisions")
    _, headers = loaded.client.session.request("head", endpoint, params={"country": "FR"})
    french = [r for r in loaded.wanted["subdivisions"].values() if r["country"] == "FR"]
    assert int(headers["Total-Objects"]) == len(french)


def starts(record: Record, name: str, pattern: str) -> bool:
    return re.fullmatch(pattern, record.get(name, ""), re.IGNORECASE) is not None


FILTERS: list[tuple[str, Record, Callable[[Record], bool]]] = [
    ("countries", {"name": "France"}, lambda r: r["name"] == "France"),
    ("countries", {"not_name": "France"}, lambda r: r["name"] != "France"),
    ("countries", {"id": "DE"}, lambda r: r["id"] == "DE"),
    ("countries", {"name": "Côte d'Ivoire"}, lambda r: r["name"] == "Côte d'Ivoire"),
    ("countries", {"flag": "\U0001f1eb\U0001f1f7"}, lambda r: r["id"] == "FR"),
    ("countries", {"code.numeric": 250}, lambda r: r["code"]["numeric"] == 250),
    ("countries", {"code.numeric": "250"}, lambda r: r["code"]["numeric"] == 250),
    ("countries", {"lt_code.numeric": 250}, lambda r: r["code"]["numeric"] < 250),
    ("countries", {"max_code.numeric": 250}, lambda r: r["code"]["numeric"] <= 250),
    ("countries", {"gt_code.numeric": 250}, lambda r: r["code"]["numeric"] > 250),
    (
        "countries",
        {"min_code.numeric": 250, "lt_code.numeric": 300},
        lambda r: 250 <= r["code"]["numeric"] < 300,
    ),
    ("countries", {"in_id": ["FR", "DE", "XX"]}, lambda r: r["id"] in ("FR", "DE")),
    ("countries", {"exclude_id": ["FR", "DE"]}, lambda r: r["id"] not in ("FR", "DE")),
    ("countries", {"in_code.numeric": ["4", "8"]}, lambda r: r["code"]["numeric"] in (4, 8)),
    ("countries", {"like_name": "LAND"}, lambda r: "land" in r["name"].lower()),
    ("countries", {"like_name": "*stan"}, lambda r: starts(r, "name", ".*stan")),
    ("countries", {"like_name": "s*n"}, lambda r: starts(r, "name", "s.*n")),
    ("countries", {"has_common_name": True}, lambda r: "common_name" in r),
    ("countries", {"has_common_name": False}, lambda r: "common_name" not in r),
    ("countries", {"contains_names": ["Taiwan"]}, lambda r: "Taiwan" in r["names"]),
    (
        "countries",
        {"contains_any_names": ["Taiwan", "France"]},
        lambda r: bool({"Taiwan", "France"} & set(r["names"])),
    ),
    ("subdivisions", {"country": "US"}, lambda r: r["country"] == "US"),
    (
        "subdivisions",
        {"country": "ES", "type": "Province"},
        lambda r: r["country"] == "ES" and r["type"] == "Province",
    ),
    ("subdivisions", {"has_parent": True, "country": "FR"}, lambda r: "parent" in r and fr(r)),
    ("subdivisions", {"like_id": "FR-*"}, lambda r: fr(r)),
    ("subdivisions", {"not_parent": "FR-ARA", "country": "FR"}, lambda r: fr(r) and not ara(r)),
    ("subdivisions", {"parent": "FR-ARA"}, lambda r: ara(r)),
    ("subdivisions", {"in_type": ["State", "Canton"]}, lambda r: r["type"] in ("State", "Canton")),
    ("languages", {"type": "C", "scope": "I"}, lambda r: r["type"] == "C"),
    ("languages", {"min_alpha_2": "y"}, lambda r: r.get("alpha_2", "zz") >= "y"),
    ("languages", {"max_alpha_2": "be"}, lambda r: r.get("alpha_2", "zz") <= "be"),
    ("languages", {"status": "extinct"}, lambda r: r["type"] == "E"),
]


def fr(record: Record) -> bool:
    return bool(record["country"] == "FR")


def ara(record: Record) -> bool:
    return record.get("parent") == "FR-ARA"


@pytest.mark.parametrize(
    ("collection", "query", "is_wanted"), FILTERS, ids=[f"{c} {q}" for c, q, _ in FILTERS]
)
def test_filter_finds_what_python_finds(
    loaded: Loaded, collection: str, query: Record, is_wanted: Callable[[Record], bool]
) -> None:
    expected = {id_: r for id_, r in loaded.wanted[collection].items() if is_wanted(r)}
    assert expected, "a filter that finds nothing proves nothing"
    found = loaded.find(collection, **query)
    assert {record["id"]: record for record in found} == expected


def last_if_missing(record: Record, name: str) -> tuple[bool, str]:
    return (name not in record, record.get(name, ""))


SORTS: list[tuple[str, str, list[Callable[[Record], Any]], list[bool]]] = [
    ("countries", "name", [lambda r: r["name"]], [False]),
    ("countries", "-code.numeric", [lambda r: r["code"]["numeric"]], [True]),
    (
        "countries",
        "common_name,name",
        [lambda r: last_if_missing(r, "common_name"), lambda r: r["name"]],
        [False, False],
    ),
    (
        "subdivisions",
        "-country,type,-id",
        [lambda r: r["country"], lambda r: r["type"], lambda r: r["id"]],
        [True, False, True],
    ),
]


def sorted_ids(
    records: dict[str, Record], keys: list[Callable[[Record], Any]], descending: list[bool]
) -> list[str]:
    """Sort by several keys, each in its direction: the last first, for sorting is stable."""
    ordered = list(records.values())
    for key, reverse in reversed(list(zip(keys, descending, strict=True))):
        ordered.sort(key=key, reverse=reverse)
    return [record["id"] for record in ordered]


@pytest.mark.parametrize(
    ("collection", "sort", "keys", "descending"), SORTS, ids=[f"{c} {s}" for c, s, _, _ in SORTS]
)
def test_sorted_list_has_the_order_that_python_gives_it(
    loaded: Loaded,
    collection: str,
    sort: str,
    keys: list[Callable[[Record], Any]],
    descending: list[bool],
) -> None:
    found = [record["id"] for record in loaded.find(collection, _sort=sort)]
    assert found == sorted_ids(loaded.wanted[collection], keys, descending)


def test_walking_sorted_pages_gives_each_record_once_and_in_order(loaded: Loaded) -> None:
    collection, sort, keys, descending = SORTS[-1]
    walk = loaded.client.get_paginated_records(collection=collection, _sort=sort, _limit=400)
    pages = [[record["id"] for record in page["data"]] for page in islice(walk, 100)]
    expected = sorted_ids(loaded.wanted[collection], keys, descending)
    assert [len(page) for page in pages[:-1]] == [400] * (len(expected) // 400)
    assert [id_ for page in pages for id_ in page] == expected


def test_walking_filtered_pages_in_the_default_order_loses_nothing(loaded: Loaded) -> None:
    walk = loaded.client.get_paginated_records(collection="languages", type="L", _limit=1000)
    pages = [page["data"] for page in islice(walk, 100)]
    found = [record for page in pages for record in page]
    living = {id_ for id_, r in loaded.wanted["languages"].items() if r["type"] == "L"}
    assert sorted(record["id"] for record in found) == sorted(living)
    times = [record["last_modified"] for record in found]
    assert times == sorted(times, reverse=True)


def test_list_with_selected_fields_has_those_and_the_identity(loaded: Loaded) -> None:
    found = loaded.client.get_records(collection="countries", _fields="code.alpha_3", id="FR")
    assert [without_time(record) for record in found] == [{"id": "FR", "code": {"alpha_3": "FRA"}}]
    assert isinstance(found[0]["last_modified"], int)
