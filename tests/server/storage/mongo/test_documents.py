from dataclasses import replace
from typing import Any

import bson
import pytest
from bson import Timestamp
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
    CROWD,
    WITHOUT_TEXTS,
    decode_object,
    decode_revision,
    decode_time,
    encode_object,
    encode_revisions,
    encode_updates,
)
from tests.server.storage.scenes import BOB, NOW, RULES, make_revision, put

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
        make_revision(acl_before={}, touched=("basicauth:bob", "basicauth:carol")),
    ],
    ids=["update", "create", "delete", "memberships"],
)
def test_revision_comes_back_from_bson_as_it_was(revision: Revision) -> None:
    (document,) = encode_revisions([revision], "batch")
    assert decode_revision(bson.decode(bson.encode(document))) == revision


@pytest.mark.parametrize(
    ("revision", "before"),
    [
        (make_revision(), b""),
        (make_revision(acl_before={}), b""),
        (make_revision(action="create", before=None, acl_before={}, readers_before=()), None),
    ],
)
def test_revision_without_texts_says_still_whether_there_was_one(
    revision: Revision, before: bytes | None
) -> None:
    (document,) = encode_revisions([revision], "batch")
    bare = {name: value for name, value in document.items() if name not in WITHOUT_TEXTS}
    assert decode_revision(bare) == replace(revision, before=before, json=b"")


def test_revision_that_touches_nobody_is_not_in_the_index_of_those_that_do() -> None:
    (document,) = encode_revisions([make_revision()], "batch")
    assert "touched" not in document


def test_revision_that_touches_a_crowd_has_one_key_and_knows_them_all() -> None:
    crowd = tuple(f"basicauth:{number}" for number in range(CROWD + 1))
    few, many = encode_revisions(
        [make_revision(touched=crowd[:-1]), make_revision(touched=crowd)], "batch"
    )
    assert (len(few["touched"]), len(many["touched"])) == (CROWD, 1)
    assert decode_revision(few).touched == crowd[:-1]
    assert decode_revision(many).touched == crowd


def test_object_without_its_text_has_all_else() -> None:
    document = store(BUCKET)
    del document["json"]
    assert decode_object(document) == replace(BUCKET, json=b"")


def test_cluster_times_sort_as_numbers_as_they_do() -> None:
    times = [Timestamp(1, 2), Timestamp(1, 300), Timestamp(2, 1), Timestamp(1 << 31, 5)]
    numbers = [decode_time(one) for one in times]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == (1 << 32) + 2


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
