from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.core.decisions import Decider
from server.core.effects import Body, Effects
from server.core.judge import Judge
from server.core.objects import Clock, StoredObject, make_json, make_root
from server.core.paths import ROOT, object_path
from server.core.positions import make_position
from server.core.revisions import Revision
from server.core.state import State
from server.storage.mongo.documents import (
    decode_object,
    decode_revision,
    encode_object,
    encode_revisions,
    encode_updates,
)
from tests.server.storage.scenes import BOB, RULES, put

NOW = 1_700_000_000_000

BUCKET = StoredObject(
    "/buckets/b",
    NOW,
    make_position(NOW, 3),
    make_json("b", NOW, b'{"a.b":1,"$c":{"":[null]}}'),
    acl={"write": ("basicauth:alice", "basicauth:b"), "group:create": ("basicauth:alice",)},
    readers=("basicauth:alice", "basicauth:b"),
    clocks={"groups": Clock(5), "collections": Clock(7, 6, 2), "changes": Clock(9, 1)},
)


def store(stored: StoredObject) -> dict[str, Any]:
    """The document as it comes back from the database."""
    document: dict[str, Any] = bson.decode(bson.encode(encode_object(stored)))
    return document


def make_revision(**changed: Any) -> Revision:
    given = {
        "uri": "/buckets/b/groups/g",
        "list": "/buckets/b/groups",
        "bucket": "b",
        "seq": make_position(NOW),
        "position": make_position(NOW, 1),
        "action": "update",
        "by": "basicauth:alice",
        "date": NOW,
        "last_modified": NOW - 1,
        "before": b'{"id":"g"}',
        "json": b'{"id":"g","x":1}',
        "acl": {"write": ("basicauth:alice",)},
        "acl_before": {"read": ("basicauth:bob",)},
        "readers": ("basicauth:alice",),
        "readers_before": ("basicauth:bob",),
    }
    return Revision(**{**given, **changed})


@pytest.mark.parametrize(
    "stored",
    [
        BUCKET,
        make_root(NOW, "epoch"),
        StoredObject(
            "/buckets/b/groups/g",
            NOW,
            make_position(NOW),
            make_json("g", NOW, b'{"members":["basicauth:x"]}'),
            members=("basicauth:x",),
        ),
        StoredObject(
            "/buckets/b/collections/c/records/r",
            12,
            make_position(NOW),
            make_json("r", 12, b'{"deleted":true}'),
            deleted=True,
            readers=("basicauth:bob",),
        ),
    ],
    ids=["bucket", "root", "group", "tombstone"],
)
def test_object_comes_back_from_bson_as_it_was(stored: StoredObject) -> None:
    assert decode_object(store(stored)) == stored


def test_document_has_what_the_indexes_are_of() -> None:
    document = store(BUCKET)
    assert (document["bucket"], document["list"], document["id"]) == ("b", "/buckets", "b")
    assert document["principals"] == ["basicauth:alice", "basicauth:b"]
    assert document["pos"] == make_position(NOW, 3)
    assert document["q"] == {"a%2Eb": 1, "%24c": {"%": [None]}}


def test_tombstone_has_no_shadow_and_root_is_in_no_list() -> None:
    gone = StoredObject("/buckets/b/groups/g", 1, 1, b'{"id":"g"}', deleted=True)
    assert "q" not in store(gone)
    assert {"bucket", "list", "q", "purge"}.isdisjoint(store(make_root(NOW, "epoch")))


def test_parent_is_marked_for_the_purger_when_its_lists_hold_what_is_gone() -> None:
    assert store(BUCKET)["purge"] is True
    fresh = StoredObject("/buckets/b", 1, 1, b'{"id":"b"}', clocks={"groups": Clock(5)})
    assert "purge" not in store(fresh)
    gone = StoredObject(
        "/buckets/b", 1, 1, b'{"id":"b"}', deleted=True, clocks={"groups": Clock(5)}
    )
    assert store(gone)["purge"] is True


def test_flushed_root_is_not_the_purgers_business() -> None:
    root = make_root(NOW, "epoch")
    flushed = StoredObject(ROOT, 1, 1, b"{}", clocks={"buckets": Clock(5, 5)}, epoch="next")
    assert "purge" not in store(flushed)
    assert decode_object(store(root)).epoch == "epoch"


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_any_json_can_be_stored(fields: dict[str, Any]) -> None:
    stored = StoredObject("/buckets/b/groups/g", 1, 1, b"{}", fields=fields)
    assert store(stored)["json"] == b"{}"


@pytest.mark.parametrize(
    "revision",
    [
        make_revision(),
        make_revision(action="create", before=None, acl_before={}, readers_before=()),
        make_revision(action="delete", acl={}, readers=(), by=""),
    ],
    ids=["update", "create", "delete"],
)
def test_revision_comes_back_from_bson_as_it_was(revision: Revision) -> None:
    (document,) = encode_revisions([revision], "batch")
    assert decode_revision(bson.decode(bson.encode(document))) == revision


def test_ids_of_revisions_are_known_before_the_first_attempt() -> None:
    documents = encode_revisions([make_revision(), make_revision()], "batch")
    assert [one["_id"] for one in documents] == ["batch-0", "batch-1"]
    assert {one["tx"] for one in documents} == {"batch"}


def test_written_objects_are_replaced_and_of_their_parents_only_clocks_move() -> None:
    state = State({BUCKET.uri: BUCKET, "/buckets/b/groups/g": None, ROOT: make_root(NOW, "e")})
    path = object_path("/buckets/b/groups/g")
    made = Effects(state, "basicauth:alice", NOW).make(path, Body({"members": []}, b"{}", {}))
    written, moved = encode_updates(state)
    assert (written["q"], written["upsert"]) == ({"_id": path.uri}, True)
    assert written["u"]["pos"] == made.position
    assert moved["q"] == {"_id": BUCKET.uri}
    assert set(moved["u"]["$set"]) == {"clocks.groups", "clocks.changes"}
    assert moved["u"]["$set"]["clocks.groups"]["live"] == 1
    # And only once in one transaction.
    assert encode_updates(state, state.finished()) == []


def test_bucket_that_a_decision_only_read_has_its_lock_moved() -> None:
    other = StoredObject(
        "/buckets/o", NOW, 1, b'{"id":"o"}', clocks={"groups": Clock(0), "changes": Clock(0)}
    )
    group = StoredObject("/buckets/o/groups/g", NOW, 2, b'{"id":"g"}', members=("basicauth:bob",))
    home = StoredObject(
        "/buckets/b",
        NOW,
        1,
        b'{"id":"b"}',
        acl={"write": (group.uri,)},
        clocks={"collections": Clock(0), "groups": Clock(0), "changes": Clock(0)},
    )
    read = {one.uri: one for one in (other, group, home)}
    state = State({**read, "/buckets/b/collections/c": None})
    mark = state.mark()
    Decider(Judge(state, RULES), NOW).decide(put("/buckets/b/collections/c", by=BOB))
    state.keep(mark)
    locks = [one for one in encode_updates(state) if "$inc" in one["u"]]
    assert locks == [{"q": {"_id": "/buckets/o"}, "u": {"$inc": {"lock": 1}}}]
    assert encode_updates(state, state.finished(), {"o"}) == []
