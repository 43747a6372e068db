from server.core.objects import (
    Clock,
    StoredObject,
    make_clocks,
    make_json,
    make_root,
    make_tombstone_json,
)
from server.core.paths import ROOT
from server.core.positions import make_position

NOW = 1_000


def parent(uri: str, **clocks: Clock) -> StoredObject:
    return StoredObject(uri, 1, make_position(1), b"{}", clocks=clocks)


def test_an_objects_text_begins_with_its_id_and_date() -> None:
    assert make_json("r", 7, b'{"a":1,"b":{}}') == b'{"id":"r","last_modified":7,"a":1,"b":{}}'


def test_an_object_without_data_has_its_id_and_date() -> None:
    assert make_json("r", 0, b"{}") == b'{"id":"r","last_modified":0}'


def test_a_tombstone_has_its_id_its_date_and_a_mark() -> None:
    assert make_tombstone_json("r", 7) == b'{"id":"r","last_modified":7,"deleted":true}'


def test_an_objects_data_are_read_from_its_text() -> None:
    stored = StoredObject("/buckets/b", 7, make_position(7), make_json("b", 7, b'{"a":[1]}'))
    assert stored.data == {"id": "b", "last_modified": 7, "a": [1]}


def test_an_objects_data_are_not_read_again_where_they_are_at_hand() -> None:
    fields = {"id": "b"}
    stored = StoredObject("/buckets/b", 7, make_position(7), b"not read", fields=fields)
    assert stored.data is fields


def test_an_object_knows_its_path() -> None:
    stored = StoredObject("/buckets/b/groups/g", 7, make_position(7), b"{}")
    assert (stored.path.kind.name, stored.path.id) == ("group", "g")


def test_objects_are_equal_whether_or_not_their_data_are_at_hand() -> None:
    text = make_json("b", 7, b"{}")
    bare = StoredObject("/buckets/b", 7, 1, text)
    assert bare == StoredObject("/buckets/b", 7, 1, text, fields={"id": "b", "last_modified": 7})


def test_a_new_database_has_the_clocks_of_the_root_lists() -> None:
    root = make_root(NOW, "e1")
    assert (root.uri, root.epoch) == (ROOT, "e1")
    start = Clock(make_position(NOW))
    assert root.clocks == dict.fromkeys(("buckets", "accounts", "api-keys", "changes"), start)


def test_a_new_object_has_a_clock_for_each_of_its_lists_and_a_bucket_one_more() -> None:
    start = Clock(make_position(NOW))
    made = {name: make_clocks(name, NOW, None) for name in ("bucket", "collection", "group")}
    assert made == {
        "bucket": {"collections": start, "groups": start, "changes": start},
        "collection": {"records": start},
        "group": {},
    }
    assert make_clocks("record", NOW, None) == {}


def test_the_clocks_of_an_object_made_again_go_on_and_hide_what_was_before() -> None:
    former = Clock(make_position(NOW + 50, 3), floor=5, live=9)
    old = parent("/buckets/b/collections/c", records=former)
    start = make_position(NOW + 51)
    assert make_clocks("collection", NOW, old) == {"records": Clock(start, floor=start, live=0)}


def test_an_object_made_again_much_later_starts_at_that_time() -> None:
    old = parent("/buckets/b/collections/c", records=Clock(make_position(5, 1)))
    start = make_position(NOW)
    assert make_clocks("collection", NOW, old) == {"records": Clock(start, floor=start)}


def test_a_list_that_the_former_object_had_not_starts_afresh() -> None:
    old = parent("/buckets/b", collections=Clock(make_position(NOW)))
    clocks = make_clocks("bucket", NOW, old)
    assert clocks["groups"] == Clock(make_position(NOW))
    assert clocks["collections"].floor == make_position(NOW + 1)
