from collections.abc import Callable

import pytest

from server.core.errors import (
    Forbidden,
    InvalidParameters,
    MissingAuth,
    ObjectMissing,
    ParentMissing,
    SyncError,
)
from server.core.judge import Chain, Judge, ListReading
from server.core.objects import Clock, Permissions, StoredObject, make_clocks, make_root
from server.core.paths import ROOT, ListPath, ObjectPath, object_path, parse_path
from server.core.permissions import ANONYMOUS, Actor, Rules, make_actor
from server.core.positions import make_position
from server.core.state import State, Unread

NOW = 1_000
ALICE = make_actor("alice")
BUCKET = "/buckets/b"
GROUP = "/buckets/b/groups/g"
COLLECTION = "/buckets/b/collections/c"
RECORD = "/buckets/b/collections/c/records/r"
OTHERS_GROUP = "/buckets/other/groups/g"
ALL = (BUCKET, GROUP, COLLECTION, RECORD, "/buckets/other", OTHERS_GROUP)

Grants = dict[str, Permissions]

RULES = Rules()


def stored(
    uri: str,
    acl: Permissions | None = None,
    members: tuple[str, ...] | None = None,
    *,
    deleted: bool = False,
) -> StoredObject:
    position = make_position(NOW + 1)
    clocks = make_clocks(object_path(uri).kind.name, NOW, None)
    return StoredObject(
        uri,
        NOW + 1,
        position,
        b"{}",
        deleted=deleted,
        acl=acl or {},
        members=members,
        clocks=clocks,
    )


def judge_of(*objects: StoredObject, rules: Rules | None = None) -> Judge:
    """A judge of a database with these objects and no others."""
    read: dict[str, StoredObject | None] = {ROOT: make_root(NOW, "e1")}
    return Judge(
        State(read | dict.fromkeys(ALL) | {one.uri: one for one in objects}), rules or RULES
    )


def tree(grants: Grants | None = None, rules: Rules | None = None) -> Judge:
    """A judge of a bucket with a group, a collection and a record."""
    grants = grants or {}
    uris = (BUCKET, GROUP, COLLECTION, RECORD)
    return judge_of(*(stored(uri, grants.get(uri)) for uri in uris), rules=rules)


def list_path(uri: str) -> ListPath:
    path = parse_path(uri)
    assert isinstance(path, ListPath)
    return path


COLLECTIONS = list_path(f"{BUCKET}/collections")
RECORDS = list_path(f"{COLLECTION}/records")


def error_of(ask: Callable[[], object]) -> SyncError:
    with pytest.raises(SyncError) as caught:
        ask()
    return caught.value


def test_who_is_named_may() -> None:
    judge = tree({COLLECTION: {"record:create": ("alice",)}})
    chain = judge.chain(ALICE, RECORDS)
    assert judge.may(ALICE, object_path(RECORD), "create", chain)
    assert not judge.may(ALICE, object_path(RECORD), "read", chain)
    assert not judge.may(ANONYMOUS, object_path(RECORD), "create", chain)


def test_everyone_and_all_authenticated_may_where_they_are_named() -> None:
    judge = tree({BUCKET: {"read": ("system.Everyone",), "write": ("system.Authenticated",)}})
    chain = judge.chain(ALICE, RECORDS)
    path = object_path(RECORD)
    assert judge.may(ANONYMOUS, path, "read", chain)
    assert not judge.may(ANONYMOUS, path, "write", chain)
    assert judge.may(ALICE, path, "write", chain)


@pytest.mark.parametrize(
    ("bucket", "group", "grants"),
    [
        (stored("/buckets/other"), stored(OTHERS_GROUP, members=("alice",)), True),
        (stored("/buckets/other"), stored(OTHERS_GROUP, members=("system.Authenticated",)), True),
        (stored("/buckets/other"), stored(OTHERS_GROUP, members=("bob",)), False),
        (stored("/buckets/other"), stored(OTHERS_GROUP, members=None), False),
        (stored("/buckets/other"), stored(OTHERS_GROUP, None, ("alice",), deleted=True), False),
        (stored("/buckets/other", deleted=True), stored(OTHERS_GROUP, members=("alice",)), False),
        (None, None, False),
        (stored("/buckets/other"), None, False),
    ],
    ids=[
        "named",
        "as all",
        "another",
        "no members",
        "deleted",
        "bucket deleted",
        "no bucket",
        "no group",
    ],
)
def test_a_group_of_another_bucket_grants_to_its_members_while_it_exists(
    bucket: StoredObject | None, group: StoredObject | None, *, grants: bool
) -> None:
    objects = [one for one in (bucket, group) if one]
    judge = judge_of(stored(BUCKET, {"read": (OTHERS_GROUP,)}), *objects)
    chain = judge.chain(ALICE, list_path("/buckets/b/collections"))
    assert judge.may(ALICE, object_path(COLLECTION), "read", chain) is grants
    assert not judge.may(ANONYMOUS, object_path(COLLECTION), "read", chain)


def test_a_group_of_a_former_life_of_its_bucket_grants_nothing() -> None:
    judge = tree({COLLECTION: {"read": (GROUP,)}})
    judge.state.put(stored(GROUP, members=("alice",)))
    assert judge.grants(ALICE, object_path(GROUP))
    floor = make_position(NOW + 1)
    judge.state.set_clock(BUCKET, "groups", Clock(floor, floor))
    assert not judge.grants(ALICE, object_path(GROUP))


def test_groups_that_were_not_read_are_asked_for_at_once() -> None:
    read = {BUCKET: stored(BUCKET, {"read": ("/buckets/x/groups/g", "/buckets/b/groups/h")})}
    judge = Judge(State(read), RULES)
    with pytest.raises(Unread) as caught:
        judge.may(ALICE, object_path(COLLECTION), "read", judge.chain(ALICE, COLLECTIONS))
    assert set(caught.value.uris) == {
        "/buckets/x",
        "/buckets/x/groups/g",
        "/buckets/b/groups/h",
    }


def test_groups_are_not_asked_for_when_something_else_grants() -> None:
    read = {BUCKET: stored(BUCKET, {"read": ("/buckets/x/groups/g", "alice")})}
    judge = Judge(State(read), RULES)
    chain = judge.chain(ALICE, COLLECTIONS)
    assert judge.may(ALICE, object_path(COLLECTION), "read", chain)


def test_the_ancestors_of_a_list_are_found() -> None:
    judge = tree()
    expected: Chain = {"bucket": stored(BUCKET), "collection": stored(COLLECTION)}
    assert judge.chain(ALICE, RECORDS) == expected
    assert judge.chain(ALICE, list_path("/buckets")) == {}


@pytest.mark.parametrize(
    ("objects", "actor", "expected"),
    [
        ([], ALICE, Forbidden),
        ([], ANONYMOUS, MissingAuth),
        ([stored(BUCKET)], ALICE, Forbidden),
        ([stored(BUCKET)], ANONYMOUS, MissingAuth),
        ([stored(BUCKET, {"read": ("alice",)})], ALICE, ParentMissing),
        ([stored(BUCKET, {"write": ("alice",)})], ALICE, ParentMissing),
        ([stored(BUCKET, {"collection:create": ("alice",)})], ALICE, Forbidden),
        (
            [stored(BUCKET, {"read": ("alice",)}), stored(COLLECTION, deleted=True)],
            ALICE,
            ParentMissing,
        ),
        ([stored(BUCKET, {"read": ("alice",)}, deleted=True)], ALICE, Forbidden),
    ],
)
def test_a_missing_parent_is_told_only_to_who_may_read_around_it(
    objects: list[StoredObject], actor: Actor, expected: type[SyncError]
) -> None:
    judge = judge_of(*objects)
    assert isinstance(error_of(lambda: judge.chain(actor, RECORDS)), expected)


def test_a_missing_parent_is_told_by_its_id_and_kind() -> None:
    judge = judge_of(stored(BUCKET, {"read": ("alice",)}))
    error = error_of(lambda: judge.chain(ALICE, RECORDS))
    assert error.details == {"id": "c", "resource_name": "collection"}


def test_a_missing_bucket_is_told_to_who_may_read_all_buckets_by_a_setting() -> None:
    judge = judge_of(rules=Rules({"bucket:read": frozenset(["alice"])}))
    error = error_of(lambda: judge.chain(ALICE, RECORDS))
    assert error.details == {"id": "b", "resource_name": "bucket"}


@pytest.mark.parametrize(
    ("grants", "uri"),
    [
        ({BUCKET: {"group:create": ("alice",)}}, BUCKET),
        ({COLLECTION: {"record:create": ("alice",)}}, COLLECTION),
        ({BUCKET: {"read": ("alice",)}}, RECORD),
        ({RECORD: {"read": ("alice",)}}, RECORD),
        ({GROUP: {"write": ("alice",)}}, GROUP),
    ],
)
def test_an_object_is_shown_to_who_may_read_it(grants: Grants, uri: str) -> None:
    reading = tree(grants).read_object(ALICE, object_path(uri))
    assert reading.object == stored(uri, grants.get(uri))


@pytest.mark.parametrize(
    ("grants", "uri"),
    [
        ({}, BUCKET),
        ({COLLECTION: {"read": ("alice",)}}, BUCKET),
        ({BUCKET: {"collection:create": ("alice",)}}, COLLECTION),
        ({COLLECTION: {"record:create": ("alice",)}}, RECORD),
        ({RECORD: {"read": ("bob",)}}, RECORD),
        ({COLLECTION: {"read": ("alice",)}}, GROUP),
    ],
)
def test_an_object_is_closed_to_who_may_not_read_it(grants: Grants, uri: str) -> None:
    judge = tree(grants)
    path = object_path(uri)
    assert isinstance(error_of(lambda: judge.read_object(ALICE, path)), Forbidden)
    assert isinstance(error_of(lambda: judge.read_object(ANONYMOUS, path)), MissingAuth)


@pytest.mark.parametrize(
    ("grants", "writable"),
    [
        ({RECORD: {"write": ("alice",)}}, True),
        ({RECORD: {"write": ("bob", "system.Authenticated")}}, True),
        ({RECORD: {"write": (GROUP,)}}, True),
        ({RECORD: {"read": ("alice",)}}, False),
        ({BUCKET: {"write": ("alice",)}, RECORD: {"write": ("bob",)}}, False),
        ({COLLECTION: {"write": ("alice",)}}, False),
    ],
)
def test_an_objects_permissions_are_shown_to_the_writers_that_it_names(
    grants: Grants, *, writable: bool
) -> None:
    judge = tree(grants)
    judge.state.put(stored(GROUP, members=("alice",)))
    assert judge.read_object(ALICE, object_path(RECORD)).writable is writable


def test_an_objects_permissions_are_not_shown_for_a_setting() -> None:
    judge = tree(rules=Rules({"record:write": frozenset(["alice"])}))
    assert not judge.read_object(ALICE, object_path(RECORD)).writable


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ({BUCKET: {"read": ("alice",)}}, ObjectMissing),
        ({COLLECTION: {"write": ("alice",)}}, ObjectMissing),
        ({COLLECTION: {"record:create": ("alice",)}}, Forbidden),
        ({RECORD: {"write": ("alice",)}}, Forbidden),
    ],
)
@pytest.mark.parametrize("how", ["never made", "deleted"])
def test_a_missing_object_is_told_to_who_may_read_its_list(
    how: str, grants: Grants, expected: type[SyncError]
) -> None:
    judge = tree(grants)
    path = object_path(RECORD if how == "deleted" else f"{COLLECTION}/records/never")
    judge.state.add_read({path.uri: None})
    if how == "deleted":
        judge.state.put(stored(RECORD, deleted=True))
    error = error_of(lambda: judge.read_object(ALICE, path))
    assert isinstance(error, expected)
    if isinstance(error, ObjectMissing):
        assert error.details == {"id": path.id, "resource_name": "record"}


def test_a_bad_id_is_told_to_who_would_be_told_that_nothing_is_there() -> None:
    judge = tree({BUCKET: {"read": ("alice",)}})
    path = object_path(f"{COLLECTION}/records/a.b")
    judge.state.add_read({path.uri: None})
    assert isinstance(error_of(lambda: judge.read_object(ALICE, path)), InvalidParameters)
    bob = make_actor("bob")
    assert isinstance(error_of(lambda: judge.read_object(bob, path)), Forbidden)


@pytest.mark.parametrize(
    ("grants", "whole", "creatable"),
    [
        ({}, False, False),
        ({BUCKET: {"read": ("alice",)}}, True, False),
        ({COLLECTION: {"record:create": ("alice",)}}, False, True),
        ({COLLECTION: {"write": ("alice",)}}, True, True),
        ({RECORD: {"write": ("alice",)}}, False, False),
    ],
)
def test_a_list_is_open_as_far_as_what_it_lies_in_grants(
    grants: Grants, *, whole: bool, creatable: bool
) -> None:
    clock = Clock(make_position(NOW))
    assert tree(grants).read_list(ALICE, RECORDS) == ListReading(clock, whole, creatable)


def test_a_list_may_be_read_and_yet_not_written() -> None:
    judge = tree({COLLECTION: {"read": ("alice",)}})
    assert judge.read_list(ALICE, RECORDS).whole
    assert not judge.read_list(ALICE, RECORDS, "write").whole


def test_the_list_of_buckets_is_whole_by_settings_alone() -> None:
    path = list_path("/buckets")
    judge = tree({BUCKET: {"read": ("alice",)}}, Rules({"bucket:create": frozenset(["alice"])}))
    assert judge.read_list(ALICE, path) == ListReading(Clock(make_position(NOW)), False, True)
    judge = tree(rules=Rules({"bucket:read": frozenset(["alice"])}))
    assert judge.read_list(ALICE, path).whole


def test_a_list_in_what_is_missing_is_told_as_its_parent_is() -> None:
    assert isinstance(error_of(lambda: judge_of().read_list(ALICE, RECORDS)), Forbidden)


def has_access(judge: Judge, path: ListPath | ObjectPath, *, writes: bool) -> bool:
    try:
        judge.check_access(ALICE, path, writes=writes)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("grants", "uri", "reads", "writes"),
    [
        ({BUCKET: {"write": ("alice",)}}, RECORD, True, True),
        ({COLLECTION: {"read": ("alice",)}}, RECORD, True, False),
        ({COLLECTION: {"read": ("alice",)}}, f"{COLLECTION}/records/a.b", True, False),
        ({COLLECTION: {"record:create": ("alice",)}}, COLLECTION, True, False),
        ({COLLECTION: {"record:create": ("alice",)}}, RECORD, False, False),
        ({COLLECTION: {"record:create": ("alice",)}}, f"{COLLECTION}/records/a.b", False, True),
        ({COLLECTION: {"record:create": ("alice",)}}, RECORDS.uri, True, True),
        ({RECORD: {"read": ("alice",)}}, RECORDS.uri, True, False),
        ({}, RECORD, False, False),
        ({}, f"{BUCKET}/collections/never/records", False, False),
        ({}, f"{BUCKET}/collections/never/records/r", False, False),
    ],
)
def test_who_has_no_access_is_told_that_and_nothing_else(
    grants: Grants, uri: str, *, reads: bool, writes: bool
) -> None:
    judge = tree(grants)
    path = parse_path(uri)
    judge.state.add_read(
        dict.fromkeys([f"{COLLECTION}/records/a.b", f"{BUCKET}/collections/never"])
    )
    assert has_access(judge, path, writes=False) is reads
    assert has_access(judge, path, writes=True) is writes
