from typing import Any

import pytest

from server.core.commands import Create, Ensure, Flush, ListOutcome, RemoveMany
from server.core.contents import NOTHING
from server.core.errors import (
    Forbidden,
    InvalidParameters,
    MissingAuth,
    ModifiedMeanwhile,
    ObjectMissing,
    ParentMissing,
    TooLarge,
)
from server.core.filters import Condition, Operator
from server.core.json_text import parse_json
from server.core.patches import MERGE, OPERATIONS, SHALLOW
from server.core.paths import ROOT, object_path
from server.core.permissions import ANONYMOUS, Rules
from server.core.positions import make_position
from server.core.preconditions import ANY, NONE, Precondition
from server.core.quotas import Quotas
from server.core.schemas import Schemas
from tests.server.core.worlds import ALICE, BOB, NOW, RULES, World, error_of, list_path, target

BUCKET = "/buckets/b"
COLLECTION = "/buckets/b/collections/c"
RECORD = "/buckets/b/collections/c/records/r"
OTHER = "/buckets/b/collections/c/records/s"
GROUP = "/buckets/b/groups/g"


RECORDS = list_path(f"{COLLECTION}/records")


@pytest.fixture
def world() -> World:
    """Alice's bucket, collection and record of ``{"a": 1}``."""
    world = World()
    world.put(BUCKET)
    world.put(COLLECTION)
    world.put(RECORD, {"data": {"a": 1}})
    world.now = NOW + 100
    return world


def share(world: World, uri: str, **acl: list[str]) -> None:
    permissions = {name.replace("_", ":"): who for name, who in acl.items()}
    world.patch(uri, {"permissions": permissions})


# PUT


def test_put_of_nothing_makes_the_object_and_names_its_maker(world: World) -> None:
    made = world.put(OTHER, {"data": {"x": 1}, "permissions": {"read": ["bob"]}})
    assert made.created
    assert made.writable
    assert made.before is None
    assert made.object.data == {"id": "s", "last_modified": NOW + 100, "x": 1}
    assert made.object.acl == {"read": ("bob",), "write": ("alice",)}


def test_put_on_an_object_replaces_its_data_and_keeps_its_permissions(world: World) -> None:
    share(world, RECORD, read=["bob"])
    replaced = world.put(RECORD, {"data": {"b": 2}})
    assert not replaced.created
    assert replaced.before is not None
    assert replaced.before.data["a"] == 1
    assert world.get(RECORD) == {"id": "r", "last_modified": NOW + 101, "b": 2}
    assert world.acl(RECORD) == {"write": ("alice",), "read": ("bob",)}


@pytest.mark.parametrize("body", [{}, {"permissions": {}}])
def test_put_of_nothing_on_an_object_keeps_it_and_moves_its_date(world: World, body: Any) -> None:
    share(world, RECORD, read=["bob"])
    assert world.put(RECORD, body).object.data == {"id": "r", "last_modified": NOW + 101, "a": 1}
    assert world.acl(RECORD) == {"write": ("alice",), "read": ("bob",)}


def test_put_of_permissions_replaces_them_all_and_keeps_the_data(world: World) -> None:
    share(world, RECORD, read=["bob"], write=["carol"])
    world.put(RECORD, {"permissions": {"read": ["dave"]}})
    assert world.acl(RECORD) == {"read": ("dave",), "write": ("alice",)}
    data = world.get(RECORD)
    assert data is not None
    assert data["a"] == 1


def test_put_of_an_empty_list_of_principals_empties_the_entry(world: World) -> None:
    share(world, RECORD, read=["bob"])
    world.put(RECORD, {"permissions": {"read": []}})
    assert world.acl(RECORD) == {"write": ("alice",)}


def test_put_on_a_tombstone_makes_the_object_again(world: World) -> None:
    world.delete(RECORD)
    made = world.put(RECORD, {"data": {"b": 2}})
    assert made.created
    assert made.object.data == {"id": "r", "last_modified": NOW + 101, "b": 2}


def test_put_with_a_date_in_the_past_leaves_the_lists_etag(world: World) -> None:
    before = world.etag(RECORDS.uri)
    assert world.put(OTHER, {"data": {"last_modified": 7}}).object.last_modified == 7
    assert world.etag(RECORDS.uri) == before


def test_put_below_a_bad_id_is_refused(world: World) -> None:
    error = error_of(lambda: world.put(f"{COLLECTION}/records/a.b"))
    assert isinstance(error, InvalidParameters)
    assert error.message == "path: Invalid object id"


def test_put_of_a_bad_id_is_forbidden_to_who_may_not_create(world: World) -> None:
    error = error_of(lambda: world.put(f"{COLLECTION}/records/a.b", actor=BOB))
    assert isinstance(error, Forbidden)


def test_a_group_made_without_data_has_no_members_until_it_is_patched(world: World) -> None:
    assert "members" not in world.put(GROUP).object.data
    assert "members" not in world.put(GROUP, {"permissions": {"read": ["bob"]}}).object.data
    assert world.patch(GROUP, {"permissions": {}}).object.data["members"] == []


# Who may


@pytest.mark.parametrize(
    ("uri", "acl"),
    [
        (RECORD, {BUCKET: {"write": ["bob"]}}),
        (RECORD, {COLLECTION: {"write": ["bob"]}}),
        (RECORD, {RECORD: {"write": ["bob"]}}),
        (COLLECTION, {COLLECTION: {"write": ["bob"]}}),
        (BUCKET, {BUCKET: {"write": ["bob"]}}),
    ],
)
def test_who_may_write_replaces_changes_and_deletes(world: World, uri: str, acl: Any) -> None:
    for holder, entries in acl.items():
        share(world, holder, **entries)
    world.put(uri, {"data": {"x": 1}}, BOB)
    world.patch(uri, {"data": {"y": 1}}, BOB)
    assert world.delete(uri, BOB).object.deleted


@pytest.mark.parametrize(
    "acl",
    [
        {BUCKET: {"read": ["bob"]}},
        {BUCKET: {"collection_create": ["bob"], "group_create": ["bob"]}},
        {COLLECTION: {"read": ["bob"]}},
        {COLLECTION: {"record_create": ["bob"]}},
        {RECORD: {"read": ["bob"]}},
        {},
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_who_may_not_write_neither_replaces_nor_changes_nor_deletes(
    world: World, method: str, acl: Any
) -> None:
    for holder, entries in acl.items():
        share(world, holder, **entries)
    do = world.method(method)
    assert isinstance(error_of(lambda: do(RECORD, actor=BOB)), Forbidden)
    assert isinstance(error_of(lambda: do(RECORD, actor=ANONYMOUS)), MissingAuth)


def test_who_may_only_create_makes_but_does_not_replace(world: World) -> None:
    share(world, COLLECTION, record_create=["bob"])
    assert world.put(OTHER, actor=BOB).created
    assert world.acl(OTHER) == {"write": ("bob",)}
    assert isinstance(error_of(lambda: world.put(RECORD, actor=BOB)), Forbidden)


def test_who_may_only_create_replaces_a_tombstone(world: World) -> None:
    share(world, COLLECTION, record_create=["bob"])
    world.delete(RECORD)
    nothing = Precondition(none_match=ANY)
    assert world.put(RECORD, actor=BOB, precondition=nothing).created


def test_who_may_only_create_is_told_that_something_is_there_and_not_what(world: World) -> None:
    share(world, COLLECTION, record_create=["bob"])
    nothing = Precondition(none_match=ANY)
    error = error_of(lambda: world.put(RECORD, actor=BOB, precondition=nothing))
    assert isinstance(error, ModifiedMeanwhile)
    assert error.details is None
    assert error.headers == {}


def test_who_may_not_even_create_is_not_told_that_something_is_there(world: World) -> None:
    nothing = Precondition(none_match=ANY)
    error = error_of(lambda: world.put(RECORD, actor=BOB, precondition=nothing))
    assert isinstance(error, Forbidden)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_parent_that_is_missing_is_404_to_its_readers_and_403_to_others(
    world: World, method: str
) -> None:
    uri = f"{BUCKET}/collections/never/records/r"
    do = world.method(method)
    error = error_of(lambda: do(uri))
    assert isinstance(error, ParentMissing)
    assert error.details == {"id": "never", "resource_name": "collection"}
    assert isinstance(error_of(lambda: do(uri, actor=BOB)), Forbidden)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("precondition", [NONE, Precondition(ANY), Precondition(none_match=ANY)])
def test_what_does_not_exist_cannot_be_changed_whatever_the_precondition(
    world: World, method: str, precondition: Precondition
) -> None:
    world.delete(RECORD)
    do = world.method(method)
    error = error_of(lambda: do(RECORD, precondition=precondition))
    assert isinstance(error, ObjectMissing)
    assert error.details == {"id": "r", "resource_name": "record"}
    error = error_of(lambda: do(RECORD, actor=BOB, precondition=precondition))
    assert isinstance(error, Forbidden)


def test_who_writes_by_another_acl_is_named_from_then_on(world: World) -> None:
    share(world, BUCKET, write=["bob"])
    assert world.patch(RECORD, {"data": {}}, BOB).writable
    assert world.acl(RECORD) == {"write": ("alice", "bob")}


def test_who_takes_himself_out_of_the_writers_is_named_again(world: World) -> None:
    world.patch(RECORD, {"permissions": {"write": []}})
    assert world.acl(RECORD) == {"write": ("alice",)}


def test_an_anonymous_writer_is_named_as_everyone(world: World) -> None:
    share(world, COLLECTION, record_create=["system.Everyone"])
    world.put(OTHER, actor=ANONYMOUS)
    assert world.acl(OTHER) == {"write": ("system.Everyone",)}


def test_without_explicit_permissions_nobody_is_named_unasked() -> None:
    world = World(Rules({"bucket:create": frozenset(["alice"])}, explicit_permissions=False))
    made = world.put(BUCKET, {"permissions": {"write": []}})
    assert made.object.acl == {}
    assert not made.writable
    assert isinstance(error_of(lambda: world.put(BUCKET)), Forbidden)


def test_who_writes_by_a_setting_is_not_shown_the_permissions_of_another() -> None:
    grants = {"bucket:write": frozenset(["bob"]), "bucket:create": frozenset(["alice"])}
    world = World(Rules(grants, explicit_permissions=False))
    world.put(BUCKET, {"permissions": {"write": ["alice"]}})
    assert not world.put(BUCKET, {"data": {}}, BOB).writable
    assert not world.patch(BUCKET, {"data": {}}, BOB).writable
    assert world.patch(BUCKET, {"data": {}}, ALICE).writable


def test_a_revocation_counts_for_the_next_write(world: World) -> None:
    world.put(GROUP, {"data": {"members": ["bob"]}})
    share(world, COLLECTION, write=[GROUP])
    world.put(OTHER, actor=BOB)
    world.put(GROUP, {"data": {"members": []}})
    assert isinstance(error_of(lambda: world.delete(RECORD, BOB)), Forbidden)


# Preconditions


@pytest.mark.parametrize(
    "precondition",
    [Precondition(NOW + 99), Precondition(NOW + 2), Precondition(none_match=ANY)],
    ids=["later", "earlier", "nothing"],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_a_write_on_another_state_is_412_with_what_is_there(
    world: World, method: str, precondition: Precondition
) -> None:
    world.put(RECORD, {"data": {"a": 2}})
    do = world.method(method)
    error = error_of(lambda: do(RECORD, precondition=precondition))
    assert isinstance(error, ModifiedMeanwhile)
    assert error.details == {"existing": {"id": "r", "last_modified": NOW + 100, "a": 2}}
    assert error.headers == {"ETag": f'"{NOW + 100}"'}
    assert world.etag(RECORDS.uri) == NOW + 100


@pytest.mark.parametrize(
    "precondition",
    [Precondition(NOW + 1), Precondition(ANY), Precondition(none_match=NOW + 1)],
    ids=["the same", "anything", "none-match with a date"],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_a_write_whose_precondition_holds_goes_on(
    world: World, method: str, precondition: Precondition
) -> None:
    outcome = world.method(method)(RECORD, precondition=precondition)
    assert outcome.object.uri == RECORD


@pytest.mark.parametrize("match", [ANY, NOW + 1, 5], ids=["any", "the list's", "another"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("how", ["never made", "deleted"])
def test_if_match_on_what_is_missing_is_412_with_the_lists_etag(
    world: World, how: str, method: str, match: int
) -> None:
    if how == "deleted":
        world.put(OTHER)
        world.delete(OTHER)
    etag = world.etag(RECORDS.uri)
    error = error_of(lambda: world.method(method)(OTHER, precondition=Precondition(match)))
    assert isinstance(error, ModifiedMeanwhile)
    assert error.details is None
    assert error.headers == {"ETag": f'"{etag}"'}


@pytest.mark.parametrize("precondition", [Precondition(none_match=ANY), Precondition(none_match=5)])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_if_none_match_on_what_is_missing_makes_it(
    world: World, method: str, precondition: Precondition
) -> None:
    assert world.method(method)(OTHER, precondition=precondition).created


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_403_comes_before_412(world: World, method: str) -> None:
    do = world.method(method)
    error = error_of(lambda: do(RECORD, actor=BOB, precondition=Precondition(5)))
    assert isinstance(error, Forbidden)


# POST


def test_post_of_an_existing_id_gives_what_is_there_unchanged(world: World) -> None:
    outcome = world.post(RECORD, {"data": {"a": 2}, "permissions": {"read": ["bob"]}})
    assert (outcome.created, outcome.writable) == (False, True)
    assert outcome.object.data == {"id": "r", "last_modified": NOW + 1, "a": 1}
    assert world.etag(RECORDS.uri) == NOW + 1


def test_post_shows_permissions_only_to_the_writers_that_the_object_names(world: World) -> None:
    share(world, BUCKET, write=["bob"])
    assert not world.post(RECORD, actor=BOB).writable


def test_post_of_an_existing_id_is_403_to_who_may_create_but_not_read(world: World) -> None:
    share(world, COLLECTION, record_create=["bob"])
    assert isinstance(error_of(lambda: world.post(RECORD, actor=BOB)), Forbidden)
    nothing = Precondition(none_match=ANY)
    error = error_of(lambda: world.post(RECORD, actor=BOB, precondition=nothing))
    assert isinstance(error, ModifiedMeanwhile)
    assert error.details is None


def test_post_is_403_to_who_may_not_create(world: World) -> None:
    share(world, COLLECTION, read=["bob"])
    assert isinstance(error_of(lambda: world.post(RECORD, actor=BOB)), Forbidden)
    assert isinstance(error_of(lambda: world.post(OTHER, actor=ANONYMOUS)), MissingAuth)


def test_post_on_a_tombstone_makes_the_object_again(world: World) -> None:
    world.delete(RECORD)
    assert world.post(RECORD).created


def test_post_takes_other_ids_while_those_it_has_generated_are_taken(world: World) -> None:
    world.put(OTHER)
    world.delete(OTHER)
    ids = iter(["s", "free", "never asked for"])
    outcome = world.do(Create(target(RECORD), NOTHING, lambda: next(ids)))
    assert outcome.created
    assert outcome.object.data["id"] == "free"


def test_post_comes_to_an_end_though_each_new_id_must_be_read_first(world: World) -> None:
    count = iter(range(100))
    outcome = world.do(Create(target(RECORD), NOTHING, lambda: f"n{next(count)}"))
    assert outcome.object.data["id"] == "n0"


# PATCH


@pytest.mark.parametrize(
    ("kind", "body", "data"),
    [
        (SHALLOW, {"data": {"b": {"x": None}}}, {"a": 1, "b": {"x": None}}),
        (SHALLOW, {"data": {"a": None, "id": "r"}}, {"a": None}),
        (SHALLOW, {"data": {"last_modified": None}}, {"a": 1}),
        (MERGE, {"data": {"a": None, "id": None, "last_modified": None}}, {}),
        (OPERATIONS, [{"op": "remove", "path": "/data/id"}], {"a": 1}),
        (OPERATIONS, [{"op": "remove", "path": "/data/last_modified"}], {"a": 1}),
        (OPERATIONS, [], {"a": 1}),
    ],
)
def test_patch_changes_data_and_moves_the_date(
    world: World, kind: str, body: Any, data: dict[str, Any]
) -> None:
    outcome = world.patch(RECORD, body, kind=kind)
    assert outcome.object.data == {"id": "r", "last_modified": NOW + 100, **data}
    assert world.get(RECORD) == outcome.object.data
    assert outcome.sent is not None


@pytest.mark.parametrize(
    ("date", "modified"), [(0, NOW + 100), (NOW + 1, NOW + 100), (NOW + 500, NOW + 500)]
)
def test_patch_takes_a_date_later_than_the_objects_own(
    world: World, date: int, modified: int
) -> None:
    outcome = world.patch(RECORD, {"data": {"last_modified": date}})
    assert outcome.object.last_modified == modified


def test_an_object_dated_beyond_what_clients_may_can_still_be_patched(world: World) -> None:
    world.put(OTHER, {"data": {"last_modified": 1 << 42}})
    world.put(RECORD)
    assert world.patch(RECORD, {"data": {"b": 1}}).object.last_modified == (1 << 42) + 2


@pytest.mark.parametrize(
    ("body", "kind", "name"),
    [
        ({"data": {"id": "s"}}, SHALLOW, "id"),
        ({"data": {"id": None}}, SHALLOW, "id"),
        ([{"op": "add", "path": "/data/id", "value": 7}], OPERATIONS, "id"),
        ({"data": {"last_modified": -1}}, MERGE, "data.last_modified"),
    ],
)
def test_patch_of_what_cannot_be_is_refused_by_name(
    world: World, body: Any, kind: str, name: str
) -> None:
    error = error_of(lambda: world.patch(RECORD, body, kind=kind))
    assert isinstance(error, InvalidParameters)
    assert error.problems[0].name == name


def test_patch_to_members_that_cannot_be_is_refused(world: World) -> None:
    world.put(GROUP, {"data": {}})
    error = error_of(lambda: world.patch(GROUP, {"data": {"members": "x"}}))
    assert isinstance(error, InvalidParameters)


def test_patch_to_more_than_is_stored_is_refused(world: World) -> None:
    world.put(RECORD, {"data": {"a": "x" * (3 << 20)}})
    error = error_of(lambda: world.patch(RECORD, {"data": {"b": "x" * (2 << 20)}}))
    assert isinstance(error, TooLarge)


def test_patch_of_permissions_keeps_those_it_does_not_name(world: World) -> None:
    share(world, COLLECTION, read=["bob"], record_create=["bob"])
    share(world, COLLECTION, read=["carol"])
    assert world.acl(COLLECTION) == {
        "write": ("alice",),
        "read": ("carol",),
        "record:create": ("bob",),
    }


# DELETE


def test_delete_leaves_a_tombstone_dated_by_the_client_if_that_is_later(world: World) -> None:
    world.put(OTHER)
    assert world.delete(RECORD, date=NOW + 50).object.last_modified == NOW + 50
    assert world.etag(RECORDS.uri) == NOW + 100
    assert world.delete(OTHER, date=5).object.last_modified == NOW + 101


def test_delete_of_a_bucket_takes_all_in_it_and_frees_its_id(world: World) -> None:
    world.delete(BUCKET)
    assert world.get(BUCKET) is None
    world.put(BUCKET, actor=BOB)
    assert world.get(COLLECTION) is None
    world.put(COLLECTION, actor=BOB)
    assert world.get(RECORD) is None
    assert world.put(RECORD, actor=BOB).created


def test_delete_of_a_list_takes_what_matches_exists_and_may_be_written(world: World) -> None:
    share(world, COLLECTION, record_create=["bob"])
    for name in ("mine", "mine-too"):
        world.put(f"{COLLECTION}/records/{name}", {"data": {"n": name}}, BOB)
    condition = Condition("n", Operator.NOT, "mine-too")
    ids = ("r", "mine", "mine-too", "never")
    world.now = NOW + 200
    outcome = world.do(RemoveMany(BOB, RECORDS, ids, (condition,)))
    assert isinstance(outcome, ListOutcome)
    assert [one.data for one in outcome.tombstones] == [
        {"id": "mine", "last_modified": NOW + 200, "deleted": True}
    ]
    assert outcome.position == make_position(NOW + 200)
    assert world.get(f"{COLLECTION}/records/mine-too") is not None
    assert world.get(RECORD) is not None


def test_delete_of_a_list_reads_what_it_deletes_at_once(world: World) -> None:
    ids = tuple(f"r{number}" for number in range(50))
    for one in ids:
        world.put(f"{COLLECTION}/records/{one}")
    # The world gives up on who asks for one after the other.
    outcome = world.do(RemoveMany(ALICE, RECORDS, ids))
    assert len(outcome.tombstones) == len(ids)


def test_delete_of_a_list_of_which_nothing_is_there_leaves_its_clock(world: World) -> None:
    outcome = world.do(RemoveMany(ALICE, RECORDS, ("never",), precondition=Precondition(NOW + 1)))
    assert outcome == ListOutcome((), make_position(NOW + 1))


@pytest.mark.parametrize("precondition", [Precondition(NOW), Precondition(none_match=ANY)])
def test_delete_of_a_list_in_another_state_is_412(world: World, precondition: Precondition) -> None:
    write = RemoveMany(ALICE, RECORDS, ("r",), precondition=precondition)
    error = error_of(lambda: world.do(write))
    assert isinstance(error, ModifiedMeanwhile)
    assert error.headers == {"ETag": f'"{NOW + 1}"'}
    assert world.get(RECORD) is not None


# The default bucket, and the flush


@pytest.mark.parametrize("how", ["never made", "deleted"])
def test_missing_parents_are_made_where_they_are_taken_for_granted(how: str) -> None:
    world = World()
    if how == "deleted":
        world.put(BUCKET)
        world.delete(BUCKET)
    world.do(Ensure(ALICE, object_path(COLLECTION)))
    assert world.acl(COLLECTION) == {"write": ("alice",)}
    assert world.put(RECORD).created


def test_parents_with_a_bad_id_are_not_made() -> None:
    world = World()
    write = Ensure(ALICE, object_path(f"{BUCKET}/collections/a.b"))
    assert isinstance(error_of(lambda: world.do(write)), InvalidParameters)
    assert world.get(BUCKET) is None


def test_what_is_taken_for_granted_is_made_once() -> None:
    world = World()
    assert world.do(Ensure(ALICE, object_path(COLLECTION))) is None
    before = world.get(COLLECTION)
    world.now += 5
    world.do(Ensure(ALICE, object_path(COLLECTION)))
    assert world.get(COLLECTION) == before is not None


def test_a_flush_removes_the_buckets_and_begins_an_epoch_with_the_last(world: World) -> None:
    world.put("/buckets/z")
    assert world.do(Flush((BUCKET, "/buckets/never"), "e2")) is False
    root = world.objects[ROOT]
    assert root is not None
    assert (world.get(BUCKET), root.epoch) == (None, "e1")
    assert world.do(Flush(("/buckets/z",), "e2")) is True
    root = world.objects[ROOT]
    assert root is not None
    assert (world.get("/buckets/z"), root.epoch) == (None, "e2")
    clock = root.clocks["buckets"]
    assert (clock.live, clock.floor) == (0, clock.position)
    assert world.put(BUCKET).created


# Schemas and quotas


def test_record_is_checked_and_stamped_before_it_is_stored() -> None:
    world = World(Rules(RULES.grants, schemas=Schemas()))
    world.put(BUCKET)
    made = world.put(COLLECTION, {"data": {"schema": {"required": ["a"]}}})
    stored = world.put(RECORD, {"data": {"a": 1}}).object
    assert parse_json(stored.json)["schema"] == stored.data["schema"] == made.object.last_modified
    assert error_of(lambda: world.put(OTHER, {"data": {"b": 1}})).status == 400
    assert world.get(OTHER) is None


def test_what_the_default_bucket_makes_by_itself_is_not_checked() -> None:
    world = World(Rules(RULES.grants, schemas=Schemas()))
    world.put(BUCKET, {"data": {"collection:schema": {"required": ["a"]}}})
    world.do(Ensure(ALICE, object_path(COLLECTION)))
    assert world.get(COLLECTION) is not None


def test_write_beyond_a_quota_is_refused_and_counts_for_nothing() -> None:
    world = World(Rules(RULES.grants, quotas=Quotas({"max_items": {"": 0}})))
    world.put(BUCKET)
    world.put(COLLECTION)
    assert error_of(lambda: world.put(RECORD)).status == 507
    assert world.get(RECORD) is None
    bucket = world.objects[BUCKET]
    assert bucket is not None
    assert bucket.clocks["changes"].live == 0
