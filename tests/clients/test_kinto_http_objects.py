"""PyPI's kinto-http client: preconditions, patches, groups and sharing, object by object."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import kinto_http
import pytest
from kinto_http.patch_type import BasicPatch, JSONPatch, MergePatch

from tests.clients.conftest import Serve
from tests.servers import run_alone

Client = Any


@pytest.fixture
def alice(serve: Serve) -> Iterator[Client]:
    """The owner of a new bucket with the collection "notes"."""
    bucket = f"objects-{uuid.uuid4()}"
    client = kinto_http.Client(
        server_url=serve(), auth=("alice", "secret"), bucket=bucket, collection="notes"
    )
    client.create_bucket()
    client.create_collection()
    yield client
    client.delete_bucket(if_exists=True)


@pytest.fixture
def bob(serve: Serve, alice: Client) -> Client:
    """A stranger who looks at the same collection."""
    return kinto_http.Client(
        server_url=serve(), auth=("bob", "secret"), bucket=alice.bucket_name, collection="notes"
    )


def status(failed: pytest.ExceptionInfo[Exception]) -> int:
    answered: int = failed.value.response.status_code  # type: ignore[attr-defined]
    return answered


def user_id(client: Client) -> str:
    return str(client.server_info()["user"]["id"])


def test_record_created_again_is_refused_and_stays_as_it_was(alice: Client) -> None:
    alice.create_record(id="note", data={"title": "first"})
    with pytest.raises(kinto_http.KintoException) as failed:
        alice.create_record(id="note", data={"title": "second"})
    assert status(failed) == 412
    kept = alice.create_record(id="note", data={"title": "third"}, if_not_exists=True)
    assert kept["data"]["title"] == "first"


def test_update_of_a_record_that_changed_meanwhile_is_refused_with_what_it_is_now(
    alice: Client,
) -> None:
    old = alice.create_record(id="note", data={"title": "first"})["data"]
    alice.update_record(data={**old, "title": "second"})
    with pytest.raises(kinto_http.KintoException) as failed:
        alice.update_record(data={**old, "title": "third"})
    assert status(failed) == 412
    existing = failed.value.response.json()["details"]["existing"]
    assert existing["title"] == "second"


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (BasicPatch(data={"a": {"y": 2}, "b": None}), {"a": {"y": 2}, "b": None, "c": [1]}),
        (MergePatch(data={"a": {"y": 2}, "b": None}), {"a": {"x": 1, "y": 2}, "c": [1]}),
        (
            JSONPatch(
                [
                    {"op": "test", "path": "/data/b", "value": 1},
                    {"op": "remove", "path": "/data/a/x"},
                    {"op": "add", "path": "/data/c/-", "value": 2},
                ]
            ),
            {"a": {}, "b": 1, "c": [1, 2]},
        ),
    ],
    ids=["JSON", "merge patch", "JSON patch"],
)
def test_patch_of_each_kind_changes_what_it_says(
    alice: Client, patch: Any, expected: dict[str, Any]
) -> None:
    alice.create_record(id="note", data={"a": {"x": 1}, "b": 1, "c": [1]})
    alice.patch_record(id="note", changes=patch)
    data = alice.get_record(id="note")["data"]
    assert {name: value for name, value in data.items() if name in "abc"} == expected


def test_deleted_record_is_gone_and_deleting_it_if_it_exists_is_no_error(alice: Client) -> None:
    alice.create_record(id="note", data={})
    assert alice.delete_record(id="note")["deleted"] is True
    with pytest.raises(kinto_http.KintoException) as failed:
        alice.get_record(id="note")
    assert status(failed) == 404
    alice.delete_record(id="note", if_exists=True)


def test_member_of_a_group_reads_what_the_group_may_and_no_more_once_removed(
    alice: Client, bob: Client
) -> None:
    bucket = alice.bucket_name
    alice.create_record(id="note", data={"title": "for readers"})
    alice.create_group(id="readers", data={"members": [user_id(bob)]})
    with pytest.raises(kinto_http.KintoException) as refused:
        bob.get_record(id="note")
    assert status(refused) == 403
    alice.patch_collection(
        id="notes", changes=BasicPatch(permissions={"read": [f"/buckets/{bucket}/groups/readers"]})
    )
    assert bob.get_record(id="note")["data"]["title"] == "for readers"
    with pytest.raises(kinto_http.KintoException) as refused:
        bob.update_record(id="note", data={"title": "mine now"})
    assert status(refused) == 403
    alice.patch_group(id="readers", changes=BasicPatch(data={"members": []}))
    with pytest.raises(kinto_http.KintoException) as refused:
        bob.get_record(id="note")
    assert status(refused) == 403


def test_list_of_who_may_read_some_records_holds_those(alice: Client, bob: Client) -> None:
    alice.create_record(id="private", data={})
    alice.create_record(id="shared", data={}, permissions={"read": [user_id(bob)]})
    assert [record["id"] for record in bob.get_records()] == ["shared"]


def test_deleted_lists_are_empty_and_leave_tombstones(alice: Client) -> None:
    before = alice.create_record(id="first", data={})["data"]["last_modified"]
    alice.create_record(id="second", data={})
    assert {gone["id"] for gone in alice.delete_records()} == {"first", "second"}
    assert alice.get_records() == []
    changes = alice.get_records(_since=str(before))
    assert {change["id"] for change in changes if change["deleted"]} == {"first", "second"}


def test_asynchronous_client_writes_and_reads_side_by_side(serve: Serve, alice: Client) -> None:
    client = kinto_http.AsyncClient(
        server_url=serve(), auth=("alice", "secret"), bucket=alice.bucket_name, collection="notes"
    )

    async def write_and_read() -> list[dict[str, Any]]:
        await asyncio.gather(*(client.create_record(id=f"n{i}", data={}) for i in range(10)))
        records: list[dict[str, Any]] = await client.get_records()
        return records

    assert {record["id"] for record in run_alone(write_and_read())} == {f"n{i}" for i in range(10)}
