"""Every public method of PyPI's kinto-http, of both its clients."""

import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kinto_http
import pytest
from kinto_http.endpoints import Endpoints
from kinto_http.patch_type import BasicPatch

from tests.clients.conftest import Serve
from tests.clients.recorders import Recorded, Register, public_methods

SETTINGS: dict[str, object] = {
    "includes": "accounts api_keys attachments counters default_bucket discovery flush history "
    "prometheus quotas",
    "multiauth_policies": "account basicauth",
    "account_create_principals": "system.Everyone",
    "experimental_permissions_endpoint": True,
    "experimental_collection_schema_validation": True,
    "quotas_bucket_max_items": 1000,
    "paginate_by": 5,
    "batch_max_requests": 4,
}
KINDS = {"Client": kinto_http.Client, "AsyncClient": kinto_http.AsyncClient}
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
}

Client = Any
Connect = Callable[..., Client]
calls = Register()


@pytest.fixture(params=list(KINDS))
def connect(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Connect]:
    """``connect(user, **options)`` makes a client of one kind; a user of the name is new."""
    called: set[str] = set()
    logger = logging.getLogger("kinto_http")
    # The client logs each success within a batch as a warning.
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    run = uuid.uuid4().hex

    def make(user: str | None = "alice", **options: Any) -> Client:
        auth = (f"{user}-{run}", "secret") if user else None
        given = {"auth": auth, "bucket": f"b-{run}", "collection": "notes", **options}
        return Recorded(KINDS[request.param](server_url=serve(**SETTINGS), **given), called)

    yield make
    logger.setLevel(level)
    assert getattr(request.function, "calls", set()) <= called, "says that it calls, but does not"


@pytest.fixture
def alice(connect: Connect) -> Client:
    """The owner of a new bucket with the collection "notes"."""
    client = connect()
    client.create_bucket()
    client.create_collection()
    return client


@pytest.fixture
def bob(connect: Connect, alice: Client) -> Client:
    return connect("bob")


def refused(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """The answer to a request that is refused: its status and errno."""
    with pytest.raises(kinto_http.KintoException) as failed:
        call(*given, **named)
    answer = failed.value.response
    return answer.status_code, answer.json()["errno"]


def ids(objects: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in objects]


def test_every_public_method_has_a_test() -> None:
    for kind in KINDS.values():
        assert public_methods(kind) == calls.names


@calls("server_info")
def test_server_says_who_asks_and_what_it_can(connect: Connect) -> None:
    client = connect()
    info = client.server_info()
    wanted = {"accounts", "attachments", "default_bucket", "history", "permissions_endpoint"}
    assert wanted | {"quotas", "schema", "flush_endpoint"} <= set(info["capabilities"])
    assert info["user"]["id"].startswith("basicauth:")
    assert info["settings"]["batch_max_requests"] == 4
    assert "user" not in connect(None).server_info()


@calls("get_endpoint")
def test_endpoints_are_those_that_the_server_has(alice: Client) -> None:
    alice.create_record(id="a", data={})
    alice.create_group(id="g", data={"members": []})
    missing = set()
    for name in Endpoints.endpoints:
        method = "post" if name == "batch" else "get"
        path = alice.get_endpoint(name, id="a", group="g")
        try:
            alice.session.request(method, path)
        except kinto_http.KintoException as failure:
            missing.add((name, failure.response.status_code))
    # An empty batch is bad; files are sent and removed there, and read where they lie.
    assert missing == {("batch", 400), ("attachment", 405), ("changeset", 404)}


@calls("clone")
def test_clone_shares_the_connection_or_is_of_somebody_else(alice: Client) -> None:
    other = alice.clone(collection="other")
    assert (other.bucket_name, other.collection_name) == (alice.bucket_name, "other")
    assert other.session is alice.session
    other.create_collection()
    assert ids(alice.get_collections()) == ["other", "notes"]
    stranger = alice.clone(auth=("stranger", "secret"))
    assert refused(stranger.get_collection) == (403, 121)


@calls("create_bucket", "get_bucket", "update_bucket", "patch_bucket", "delete_bucket")
def test_bucket_is_made_read_changed_and_deleted(connect: Connect) -> None:
    alice = connect()
    made = alice.create_bucket(data={"title": "mine"}, permissions={"read": ["system.Everyone"]})
    assert made["data"]["title"] == "mine"
    assert refused(alice.create_bucket) == (412, 114)
    again = alice.create_bucket(id=alice.bucket_name, if_not_exists=True)
    assert again["data"] == made["data"]
    assert connect(None).get_bucket(_fields="title")["data"]["title"] == "mine"
    old = made["data"]
    new = alice.update_bucket(data={**old, "title": "ours"})["data"]
    assert refused(alice.update_bucket, data={**old, "title": "late"}) == (412, 114)
    assert refused(alice.update_bucket, data={"id": old["id"]}, if_match=1) == (412, 114)
    forced = alice.update_bucket(data={"id": old["id"], "title": "forced"}, if_match=1, safe=False)
    assert forced["data"]["last_modified"] > new["last_modified"]
    assert refused(alice.patch_bucket, original=old, changes=BasicPatch(data={})) == (412, 114)
    patched = alice.patch_bucket(original=forced["data"], changes=BasicPatch(data={"size": 3}))
    assert (patched["data"]["title"], patched["data"]["size"]) == ("forced", 3)
    assert refused(alice.delete_bucket, if_match=old["last_modified"]) == (412, 114)
    assert alice.delete_bucket(if_match=patched["data"]["last_modified"])["deleted"] is True
    assert alice.delete_bucket(if_exists=True) is None
    with pytest.raises(kinto_http.BucketNotFound):
        alice.get_bucket()
    with pytest.raises(kinto_http.KintoException, match="Please authenticate"):
        connect(None).get_bucket()


@calls("get_buckets", "delete_buckets")
def test_buckets_are_listed_and_deleted(connect: Connect) -> None:
    alice, bob = connect(), connect("bob")
    names = [f"{alice.bucket_name}-{number}" for number in range(7)]
    for name in names:
        alice.create_bucket(id=name, data={"rank": int(name[-1])})
    bob.create_bucket()
    assert ids(alice.get_buckets(_sort="rank")) == names
    assert ids(alice.get_buckets(_sort="-rank", min_rank=2, max_rank=3)) == [names[3], names[2]]
    assert ids(alice.get_buckets(_sort="rank", _limit=3)) == names[:3]
    assert ids(alice.get_buckets(_sort="rank", _limit=3, pages=2)) == names[:6]
    assert refused(alice.delete_buckets, if_match=1) == (412, 114)
    assert set(ids(alice.delete_buckets())) == set(names)
    assert alice.get_buckets() == []
    assert ids(bob.get_buckets()) == [bob.bucket_name]


@calls("create_group", "get_group", "update_group", "patch_group", "delete_group")
def test_group_is_made_read_changed_and_deleted(alice: Client, bob: Client) -> None:
    with pytest.raises(kinto_http.KintoException, match="that you have the permission"):
        bob.create_group(id="g", data={"members": []})
    made = alice.create_group(id="g", data={"members": ["x"]}, permissions={"read": ["y"]})
    assert made["permissions"]["read"] == ["y"]
    assert refused(alice.create_group, id="g", data={"members": []}) == (412, 114)
    kept = alice.create_group(
        id="g", bucket=alice.bucket_name, data={"members": []}, if_not_exists=True
    )
    assert kept == alice.get_group(id="g") == made
    old = made["data"]
    new = alice.update_group(data={**old, "members": ["z"]})["data"]
    assert refused(alice.update_group, data=old) == (412, 114)
    assert refused(alice.patch_group, original=old, changes=BasicPatch(data={})) == (412, 114)
    patched = alice.patch_group(original=new, changes=BasicPatch(data={"title": "readers"}))
    assert (patched["data"]["members"], patched["data"]["title"]) == (["z"], "readers")
    assert refused(alice.delete_group, id="g", if_match=old["last_modified"]) == (412, 114)
    assert alice.delete_group(id="g")["deleted"] is True
    assert alice.delete_group(id="g", if_exists=True) is None
    assert refused(alice.get_group, id="g") == (404, 110)


@calls("get_groups", "delete_groups")
def test_groups_are_listed_and_deleted(alice: Client, bob: Client) -> None:
    for name in ("g0", "g1", "g2"):
        alice.create_group(id=name, data={"members": [name]})
    assert ids(alice.get_groups(_sort="id", contains_members=["g1"])) == ["g1"]
    assert refused(bob.get_groups) == refused(bob.delete_groups) == (403, 121)
    assert refused(alice.delete_groups, if_match=1) == (412, 114)
    assert len(alice.delete_groups()) == 3
    assert alice.get_groups() == []


@calls(
    "create_collection",
    "get_collection",
    "update_collection",
    "patch_collection",
    "delete_collection",
)
def test_collection_is_made_read_changed_and_deleted(alice: Client, bob: Client) -> None:
    with pytest.raises(kinto_http.KintoException, match="that you have the permission"):
        bob.create_collection(id="c")
    made = alice.create_collection(id="c", data={"sort": "title"})
    assert refused(alice.create_collection, id="c") == (412, 114)
    kept = alice.create_collection(id="c", bucket=alice.bucket_name, if_not_exists=True)
    assert kept == alice.get_collection(id="c") == made
    old = made["data"]
    new = alice.update_collection(id="c", data={**old, "sort": "-title"})["data"]
    assert refused(alice.update_collection, id="c", data=old) == (412, 114)
    assert refused(alice.patch_collection, original=old, changes=BasicPatch(data={})) == (412, 114)
    patched = alice.patch_collection(original=new, changes=BasicPatch(data={"cache": 1}))
    assert (patched["data"]["sort"], patched["data"]["cache"]) == ("-title", 1)
    assert alice.get_collection(id="c", _fields="sort")["data"]["sort"] == "-title"
    assert refused(alice.delete_collection, id="c", if_match=old["last_modified"]) == (412, 114)
    assert alice.delete_collection(id="c")["deleted"] is True
    assert alice.delete_collection(id="c", if_exists=True) is None
    with pytest.raises(kinto_http.CollectionNotFound):
        alice.get_collection(id="c")


@calls("get_collections", "delete_collections")
def test_collections_are_listed_and_deleted(alice: Client) -> None:
    alice.create_collection(id="other", data={"kind": "rare"})
    assert ids(alice.get_collections(kind="rare")) == ["other"]
    assert ids(alice.get_collections(_sort="id", pages=1)) == ["notes", "other"]
    assert refused(alice.delete_collections, if_match=1) == (412, 114)
    assert set(ids(alice.delete_collections())) == {"notes", "other"}
    assert alice.get_collections() == []


@calls("create_record", "get_record", "update_record", "patch_record", "delete_record")
def test_record_is_made_read_changed_and_deleted(alice: Client, bob: Client) -> None:
    with pytest.raises(kinto_http.KintoException, match="that you have the permission"):
        bob.create_record(data={})
    named_by_the_client = alice.create_record(data={"title": "no id"})["data"]
    assert uuid.UUID(named_by_the_client["id"])
    place = {"id": "a", "bucket": alice.bucket_name, "collection": "notes"}
    made = alice.create_record(**place, data={"title": "first"}, permissions={"read": ["x"]})
    assert alice.create_record(**place, data={}, if_not_exists=True) == made
    assert alice.create_record(**place, data={"title": "over"}, safe=False)["data"]["title"]
    old = made["data"]
    assert refused(alice.update_record, data={**old, "title": "late"}) == (412, 114)
    new = alice.update_record(id="a", data={"title": "second"}, safe=False)["data"]
    assert refused(alice.patch_record, original=old, changes=BasicPatch(data={})) == (412, 114)
    patched = alice.patch_record(original=new, changes=BasicPatch(permissions={"read": ["y"]}))
    assert (patched["data"]["title"], patched["permissions"]["read"]) == ("second", ["y"])
    assert alice.get_record(id="a", _fields="id")["data"].keys() == {"id", "last_modified"}
    past = alice.get_record(id="a", _at=old["last_modified"])["data"]
    assert past["title"] == "first"
    assert refused(alice.delete_record, id="a", if_match=old["last_modified"]) == (412, 114)
    assert alice.delete_record(id="a")["deleted"] is True
    assert alice.delete_record(id="a", if_exists=True) is None
    assert refused(alice.get_record, id="a") == (404, 110)


@calls("get_records", "get_records_timestamp", "get_paginated_records", "delete_records")
def test_records_are_listed_paged_polled_and_deleted(alice: Client, connect: Connect) -> None:
    for number in range(12):
        alice.create_record(id=f"r{number}", data={"n": number})
    assert [one["n"] for one in alice.get_records(_sort="n")] == list(range(12))
    assert [one["n"] for one in alice.get_records(_sort="-n", _limit=2)] == [11, 10]
    assert len(alice.get_records(_limit=2, pages=3)) == 6
    pages = [len(page["data"]) for page in alice.get_paginated_records(_sort="n", max_n=10)]
    assert pages == [5, 5, 1]
    stamp = alice.get_records_timestamp()
    assert connect().get_records_timestamp() == stamp
    assert alice.get_records(if_none_match=stamp) == []
    assert list(alice.get_paginated_records(if_none_match=stamp)) == []
    alice.delete_record(id="r0")
    changed = alice.get_records(_since=stamp, if_none_match=stamp)
    assert [(one["id"], one["deleted"]) for one in changed] == [("r0", True)]
    assert len(alice.get_records(_at=stamp)) == 12
    assert refused(alice.delete_records, if_match=int(stamp)) == (412, 114)
    newest = int(connect().get_records_timestamp())
    assert len(alice.delete_records(if_match=newest)) == 11
    assert alice.get_records() == []


@calls("batch")
def test_batch_is_sent_in_chunks_and_tells_what_became_of_each(alice: Client) -> None:
    with alice.batch() as batch:
        for number in range(10):
            batch.create_record(id=f"r{number}", data={"n": number})
        batch.patch_record(id="r0", changes=BasicPatch(data={"n": 100}))
        batch.delete_record(id="r1")
        batch.create_group(id="g", data={"members": []})
        batch.patch_collection(id="notes", data={"batched": True})
    results = batch.results()
    assert len(results) == 14
    assert results[10]["data"]["n"] == 100
    assert results[11]["data"]["deleted"] is True
    assert alice.get_collection()["data"]["batched"] is True
    assert len(alice.get_records()) == 9


@calls("get_permissions")
def test_permissions_are_listed_filtered_and_paged(alice: Client, bob: Client) -> None:
    alice.create_record(id="a", data={}, permissions={"read": [bob.server_info()["user"]["id"]]})
    own = alice.get_permissions(params={"_limit": 100})
    assert {one["uri"].count("/") for one in own} >= {2, 4, 6}
    kinds = {one["resource_name"] for one in alice.get_permissions(["record", "bucket", "root"])}
    assert kinds == {"collection"}
    uri = f"/buckets/{alice.bucket_name}/collections/notes/records/a"
    shared = [one for one in bob.get_permissions() if one["uri"] == uri]
    assert [one["permissions"] for one in shared] == [["read"]]
    assert len(alice.get_permissions(params={"_limit": 1})) == 1


@calls("get_history", "purge_history")
def test_history_is_listed_and_purged(alice: Client, bob: Client) -> None:
    for number in range(8):
        alice.create_record(id=f"r{number}", data={"n": number})
    assert refused(bob.get_history) == (403, 121)
    entries = alice.get_history(resource_name="record", _sort="last_modified")
    assert [one["record_id"] for one in entries] == [f"r{number}" for number in range(8)]
    assert len(alice.get_history(**{"target.data.n": 3})) == 1
    purged = alice.purge_history(record_id="r3")
    assert len(purged) == 1
    assert len(alice.get_history(resource_name="record")) == 7
    assert refused(alice.purge_history, if_match=1) == (412, 114)


@calls("add_attachment", "download_attachment", "remove_attachment")
def test_file_is_sent_downloaded_once_and_removed(alice: Client, tmp_path: Path) -> None:
    source, target = tmp_path / "notes.txt", tmp_path / "deep" / "copy.txt"
    source.write_text("hello")
    sent = alice.add_attachment(
        id="a", filepath=str(source), data={"n": 1}, permissions={"read": ["system.Everyone"]}
    )
    assert (sent["mimetype"], sent["size"]) == ("text/plain", 5)
    record = alice.get_record(id="a")["data"]
    assert (record["attachment"], record["n"]) == (sent, 1)
    assert alice.download_attachment(record, filepath=str(target)) == str(target)
    assert target.read_text() == "hello"
    written = target.stat().st_mtime_ns
    alice.download_attachment(record, filepath=str(target))
    assert target.stat().st_mtime_ns == written
    target.write_text("other")
    alice.download_attachment(record, filepath=str(target), overwrite=True, save_metadata=True)
    assert target.read_text() == "hello"
    assert target.with_name("copy.txt.meta.json").exists()
    alice.remove_attachment(id="a")
    assert alice.get_record(id="a")["data"]["attachment"] is None


@calls("request_review", "decline_changes", "approve_changes", "rollback_changes")
def test_review_is_no_more_than_a_status_of_the_collection(alice: Client) -> None:
    def status() -> tuple[Any, Any, Any]:
        data = alice.get_collection()["data"]
        comments = (data.get("last_editor_comment"), data.get("last_reviewer_comment"))
        return data["status"], *comments

    alice.request_review("look", id="notes", data={"round": 1})
    assert status() == ("to-review", "look", None)
    alice.decline_changes("no", id="notes")
    assert status() == ("work-in-progress", "look", "no")
    alice.approve_changes(id="notes")
    assert status() == ("to-sign", "look", "no")
    alice.rollback_changes("back", id="notes")
    assert status() == ("to-rollback", "back", "no")
    assert alice.get_collection()["data"]["round"] == 1


@calls("get_changeset")
def test_changesets_are_not_there(alice: Client) -> None:
    assert refused(alice.get_changeset) == refused(alice.get_changeset, bust_cache=True)
    assert refused(alice.get_changeset) == (404, 111)
    assert "changes" not in alice.server_info()["capabilities"]


def test_records_must_fit_their_schema(alice: Client) -> None:
    alice.patch_collection(id="notes", changes=BasicPatch(data={"schema": SCHEMA}))
    assert refused(alice.create_record, id="a", data={"title": 1}) == (400, 107)
    made = alice.create_record(id="a", data={"title": "fits"})["data"]
    assert made["schema"] < made["last_modified"]
    assert refused(alice.patch_record, id="a", data={"title": None}) == (400, 107)
    broken = BasicPatch(data={"schema": {"type": "strange"}})
    assert refused(alice.patch_collection, id="notes", changes=broken) == (400, 107)


def test_default_bucket_is_everybodys_own(connect: Connect) -> None:
    alice, bob = connect(bucket="default"), connect("bob", bucket="default")
    alice.create_record(data={"title": "mine"})
    bob.create_record(data={"title": "his"})
    assert [one["title"] for one in alice.get_records()] == ["mine"]
    assert alice.get_bucket()["data"]["id"] == alice.server_info()["user"]["bucket"]
