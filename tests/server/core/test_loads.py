from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from server.core.commands import Advance, Load, Loaded
from server.core.contents import Content, parse_content
from server.core.errors import InvalidParameters, ParentMissing
from server.core.loads import is_same_acl
from server.core.paths import object_path
from server.core.positions import SEQUENCE_MAX, make_position, sequence_of, timestamp_of
from tests.server.core.worlds import NOW, World, error_of, list_path

BUCKET = "/buckets/b"
COLLECTION = "/buckets/b/collections/c"
RECORDS = f"{COLLECTION}/records"
RECORD = f"{RECORDS}/r"
GROUP = "/buckets/b/groups/g"


def load(
    uri: str,
    data: Mapping[str, Any] | None = None,
    acl: Mapping[str, list[str]] | None = None,
    **options: Any,
) -> Load:
    path = object_path(uri)
    body: dict[str, Any] = {"data": dict(data or {})}
    if acl is not None:
        body["permissions"] = acl
    return Load(path, parse_content(path.kind.name, body), **options)


def bury(uri: str, date: int, **options: Any) -> Load:
    return Load(object_path(uri), Content(date=date), deleted=True, **options)


@pytest.fixture
def world() -> World:
    """A bucket and a collection that were loaded, dated before everything here."""
    world = World()
    world.do(load(BUCKET, {"last_modified": 100}, {"write": ["alice"]}))
    world.do(load(COLLECTION, {"last_modified": 200}))
    return world


def test_what_is_loaded_has_its_data_date_and_permissions_and_nothing_else(world: World) -> None:
    data = {"id": "r", "last_modified": 300, "a": {"b": [1]}}
    assert world.do(load(RECORD, data, {"read": ["bob"], "write": []})) is Loaded.CREATED
    assert world.get(RECORD) == data
    assert world.acl(RECORD) == {"read": ("bob",)}


def test_lists_of_what_is_loaded_have_the_etag_of_the_last_date_in_them(world: World) -> None:
    for name, date in (("x", 300), ("y", 301), ("z", 999_000)):
        world.do(load(f"{RECORDS}/{name}", {"last_modified": date}))
    assert world.etag(RECORDS) == 999_000
    assert world.etag(f"{BUCKET}/groups") == 0


def test_date_before_the_clock_is_kept_and_takes_the_next_place_in_the_order(world: World) -> None:
    world.do(load(f"{RECORDS}/x", {"last_modified": 300}))
    world.do(load(RECORD, {"last_modified": 300}))
    stored = world.objects[RECORD]
    assert stored is not None
    assert (stored.last_modified, stored.position) == (300, make_position(300, 1))
    assert world.etag(RECORDS) == 300


def test_date_is_kept_also_where_the_places_of_a_timestamp_are_spent(world: World) -> None:
    world.do(load(f"{RECORDS}/x", {"last_modified": 300}))
    collection = world.objects[COLLECTION]
    assert collection is not None
    world.objects[COLLECTION] = move_clock(collection, make_position(300, SEQUENCE_MAX))
    world.do(load(RECORD, {"last_modified": 250}))
    stored = world.objects[RECORD]
    assert stored is not None
    assert (stored.last_modified, stored.position) == (250, make_position(301))


def move_clock(stored: Any, position: int) -> Any:
    clocks = {**stored.clocks, "records": replace(stored.clocks["records"], position=position)}
    return replace(stored, clocks=clocks)


def test_what_has_no_date_is_dated_by_the_server(world: World) -> None:
    world.do(load(RECORD, {"a": 1}))
    assert world.get(RECORD) == {"id": "r", "last_modified": NOW, "a": 1}
    assert world.do(load(RECORD, {"a": 1})) is Loaded.SAME


def test_loading_the_same_again_changes_nothing(world: World) -> None:
    write = load(RECORD, {"last_modified": 300, "a": 1}, {"read": ["bob", "carol"]})
    world.do(write)
    before = dict(world.objects)
    assert world.do(write) is Loaded.SAME
    other = load(RECORD, {"last_modified": 300, "a": 1}, {"read": ["carol", "bob"]})
    assert world.do(other) is Loaded.SAME
    assert world.objects == before


def test_later_state_elsewhere_replaces_what_is_here(world: World) -> None:
    world.do(load(RECORD, {"last_modified": 300, "a": 1}, {"read": ["bob"]}))
    assert world.do(load(RECORD, {"last_modified": 301, "b": 2}, {})) is Loaded.UPDATED
    assert world.get(RECORD) == {"id": "r", "last_modified": 301, "b": 2}
    assert world.acl(RECORD) == {}


def test_other_permissions_of_the_same_date_are_taken(world: World) -> None:
    world.do(load(RECORD, {"last_modified": 300}, {"read": ["bob"]}))
    assert world.do(load(RECORD, {"last_modified": 300}, {"read": ["carol"]})) is Loaded.UPDATED
    assert world.acl(RECORD) == {"read": ("carol",)}


def test_permissions_that_are_not_shown_stay_as_they_are(world: World) -> None:
    world.do(load(RECORD, {"last_modified": 300}, {"read": ["bob"]}))
    assert world.do(load(RECORD, {"last_modified": 301})) is Loaded.UPDATED
    assert world.acl(RECORD) == {"read": ("bob",)}


def test_what_was_changed_later_here_is_left_unless_it_is_to_be_overwritten(world: World) -> None:
    world.put(RECORD, {"data": {"mine": True}})
    older = {"last_modified": 300, "theirs": True}
    assert world.do(load(RECORD, older)) is Loaded.NEWER
    assert world.get(RECORD) == {"id": "r", "last_modified": NOW, "mine": True}
    assert world.do(load(RECORD, older, overwrite=True)) is Loaded.UPDATED
    assert world.get(RECORD) == {"id": "r", **older}


def test_tombstone_of_what_was_never_here_is_here(world: World) -> None:
    assert world.do(bury(RECORD, 300)) is Loaded.DELETED
    assert world.do(bury(RECORD, 300)) is Loaded.SAME
    stored = world.objects[RECORD]
    assert stored is not None
    assert stored.json == b'{"id":"r","last_modified":300,"deleted":true}'
    assert world.get(RECORD) is None
    assert world.etag(RECORDS) == 300


def test_tombstone_removes_what_is_older_and_leaves_what_is_newer(world: World) -> None:
    world.do(load(RECORD, {"last_modified": 300}))
    assert world.do(bury(RECORD, 299)) is Loaded.NEWER
    assert world.get(RECORD) is not None
    assert world.do(bury(RECORD, 301)) is Loaded.DELETED
    assert world.get(RECORD) is None
    stored = world.objects[RECORD]
    assert stored is not None
    assert stored.last_modified == 301


def test_what_was_deleted_and_made_anew_elsewhere_is_made_anew_here(world: World) -> None:
    world.do(bury(RECORD, 300))
    assert world.do(load(RECORD, {"last_modified": 301})) is Loaded.CREATED
    assert world.do(bury(RECORD, 302)) is Loaded.DELETED


@pytest.mark.parametrize("uri", [BUCKET, COLLECTION, GROUP])
def test_tombstone_of_a_parent_can_be_made_anew_by_a_client(uri: str) -> None:
    world = World()
    if uri != BUCKET:
        world.do(load(BUCKET, {"last_modified": 100}, {"write": ["alice"]}))
    assert world.do(bury(uri, 300)) is Loaded.DELETED
    assert world.put(uri).created


def test_objects_are_counted_as_they_come_and_go(world: World) -> None:
    def live() -> tuple[int, int]:
        bucket, collection = world.objects[BUCKET], world.objects[COLLECTION]
        assert bucket is not None
        assert collection is not None
        return bucket.clocks["changes"].live, collection.clocks["records"].live

    world.do(load(RECORD, {"last_modified": 300}))
    world.do(bury(f"{RECORDS}/x", 301))
    assert live() == (1, 1)
    world.do(bury(RECORD, 302))
    assert live() == (0, 0)


@pytest.mark.parametrize("uri", ["/buckets/x/groups/g", "/buckets/b/collections/x/records/r"])
def test_what_lies_in_nothing_is_refused(world: World, uri: str) -> None:
    assert isinstance(error_of(lambda: world.do(load(uri))), ParentMissing)


def test_bad_id_is_refused(world: World) -> None:
    assert isinstance(error_of(lambda: world.do(load(f"{RECORDS}/a b"))), InvalidParameters)


def test_secret_is_stored_beside_an_account_and_compared(world: World) -> None:
    path = object_path("/accounts/alice")

    def account(secret: str) -> Load:
        return Load(path, Content({}, b"{}", date=300, permissions={}, secret=secret))

    assert world.do(account("hash")) is Loaded.CREATED
    stored = world.objects[path.uri]
    assert stored is not None
    assert stored.secret == "hash"
    assert b"hash" not in stored.json
    assert world.do(account("hash")) is Loaded.SAME
    assert world.do(account("other")) is Loaded.UPDATED


def test_lists_clock_moves_on_and_never_back(world: World) -> None:
    world.do(Advance(list_path(RECORDS), 5_000))
    assert world.etag(RECORDS) == 5_000
    world.do(Advance(list_path(RECORDS), 4_000))
    assert world.etag(RECORDS) == 5_000
    world.do(load(RECORD, {"last_modified": 300}))
    stored = world.objects[RECORD]
    assert stored is not None
    assert (timestamp_of(stored.position), sequence_of(stored.position)) == (5_000, 1)


def test_clock_of_a_list_that_is_gone_is_nobodys(world: World) -> None:
    before = dict(world.objects)
    world.do(Advance(list_path("/buckets/x/groups"), 5_000))
    assert {uri: one for uri, one in world.objects.items() if one is not None} == before


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"read": ("a", "b")}, {"read": ("b", "a")}, True),
        ({"read": ("a",), "write": ()}, {"read": ("a",)}, True),
        ({"read": ("a",)}, {"read": ("a", "b")}, False),
        ({"read": ("a",)}, {"write": ("a",)}, False),
    ],
)
def test_acls_are_the_same_if_they_give_the_same(one: Any, other: Any, same: bool) -> None:
    assert is_same_acl(one, other) is same
