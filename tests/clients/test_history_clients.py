"""The histories of buckets, as the clients for Python and JavaScript ask for them."""

import uuid
from typing import Any

import kinto_http
import pytest

from tests.clients.conftest import Play, Serve


def connect(serve: Serve, user: str, bucket: str) -> Any:
    return kinto_http.Client(
        server_url=serve(includes="history"),
        auth=(user, "secret"),
        bucket=bucket,
        collection="notes",
    )


@pytest.fixture
def alice(serve: Serve) -> Any:
    """The owner of a new bucket, in which a record was made, changed and deleted."""
    client = connect(serve, "alice", f"history-{uuid.uuid4()}")
    client.create_bucket()
    client.create_collection()
    client.create_record(id="first", data={"rank": 1})
    client.patch_record(id="first", data={"rank": 2})
    client.delete_record(id="first")
    return client


def short(entries: list[dict[str, Any]]) -> list[str]:
    return [f"{one['action']} {one['uri'].rpartition('/')[2]}" for one in entries]


def test_python_client_reads_filters_and_pages(alice: Any) -> None:
    whole = alice.get_history()
    assert short(whole)[:4] == ["delete first", "update first", "create first", "create notes"]
    assert alice.get_history(_limit=2, pages=9) == whole
    assert short(alice.get_history(resource_name="record", action="update")) == ["update first"]
    assert short(alice.get_history(**{"target.data.rank": 1})) == ["create first"]
    since = whole[1]["last_modified"]
    assert short(alice.get_history(_since=str(since))) == ["delete first"]


def test_python_client_purges_what_it_names_and_then_the_rest(alice: Any) -> None:
    gone = alice.purge_history(resource_name="record")
    assert len(gone) == 3
    assert all(one["deleted"] for one in gone)
    assert short(alice.get_history()) == ["create notes", f"create {alice.bucket_name}"]
    assert len(alice.purge_history()) == 2
    assert alice.get_history() == []


def test_python_client_purges_only_what_it_knows_if_it_says_so(alice: Any) -> None:
    with pytest.raises(kinto_http.KintoException) as failed:
        alice.purge_history(safe=True, if_match=1)
    assert failed.value.response.status_code == 412
    newest = alice.get_history()[0]["last_modified"]
    assert alice.purge_history(safe=True, if_match=newest)


def test_stranger_neither_reads_nor_purges(alice: Any, serve: Serve) -> None:
    bob = connect(serve, "bob", alice.bucket_name)
    for ask in (bob.get_history, bob.purge_history):
        with pytest.raises(kinto_http.KintoException) as failed:
            ask()
        assert failed.value.response.status_code == 403


def test_javascript_client_pages_and_filters_as_the_admin_does(serve: Serve, play: Play) -> None:
    seen = play(serve(includes="history"), "history")
    assert seen["pages"] == [
        ["delete n2", "update n1", "create n3"],
        ["create n2", "create n1", "create n0"],
    ]
    assert seen["first"][0].startswith("create ")
    # Its ETag is the bucket's, which nothing came after.
    assert seen["since"] == 0
    assert seen["later"] == ["delete n2", "update n1"]
    assert (seen["ranked"], seen["others"]) == (["update n1"], 0)
