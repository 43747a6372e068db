from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from notifier.authority import Authority, Rights
from server.core.errors import ParentMissing
from server.core.permissions import ANONYMOUS, Actor, Rules
from server.storage.base import Change
from tests.notifier.scenes import (
    ADMIN,
    BOB,
    BUCKET,
    CAROL,
    GROUP,
    LIST,
    RECORD,
    RULES,
    Acl,
    World,
    make_parent,
    make_revision,
    topic_of,
)
from tests.server.storage.scenes import delete, put

COLLECTION = f"{BUCKET}/collections/c"
OTHER = f"{BUCKET}/collections/d"
FEED = f"{BUCKET}/changes"


def make_authority(
    parents: Mapping[str, Acl | None] | None = None,
    people: Mapping[Actor, tuple[str, ...]] | None = None,
    feeds: tuple[str, ...] = (),
    rules: Rules = RULES,
) -> Authority:
    """What is known of parents, by their ACLs, and of people, by their groups."""
    authority = Authority(rules)
    for uri, acl in (parents or {}).items():
        authority.parents[uri] = None if acl is None else make_parent(uri, acl)
    for actor, groups in (people or {}).items():
        authority.people[actor.user_id] = actor.principals | set(groups)
    authority.feeds.update(feeds)
    return authority


def acls_of(authority: Authority) -> dict[str, Any]:
    return {uri: one and one.acl for uri, one in authority.parents.items()}


def groups_of(authority: Authority, actor: Actor) -> set[str]:
    return set(authority.people[actor.user_id] - actor.principals)


def change(at: int, uri: str, *states: Any, **more: Any) -> Change:
    return Change(at, make_revision(uri, *states, **more))


def set_members(at: int, *members: str) -> Change:
    """A group is made with these members."""
    return change(at, GROUP, None, {"members": list(members)}, touched=members)


# Parents.


@pytest.mark.parametrize("uri", [BUCKET, COLLECTION])
@pytest.mark.parametrize("before", [None, {}])
def test_write_of_a_parent_gives_it_its_new_permissions(uri: str, before: Any) -> None:
    authority = make_authority({BUCKET: {}, COLLECTION: {}})
    found = authority.fold(change(1, uri, before, {}, acl={"read": ["bob"]}))
    assert uri in found[0]
    assert acls_of(authority)[uri] == {"read": ("bob",)}


def test_update_of_a_bucket_leaves_what_is_in_it() -> None:
    authority = make_authority({BUCKET: {}, COLLECTION: {"read": ["bob"]}})
    assert authority.fold(change(1, BUCKET, {}, {})) == ({BUCKET}, set())
    assert acls_of(authority) == {BUCKET: {}, COLLECTION: {"read": ("bob",)}}


@pytest.mark.parametrize(
    ("states", "bucket"), [(({},), None), ((None, {}, None, {"read": ["bob"]}), ("bob",))]
)
def test_bucket_that_goes_or_is_made_again_has_nothing_in_it(states: Any, bucket: Any) -> None:
    beside = "/buckets/b2/collections/c"
    authority = make_authority({BUCKET: {}, COLLECTION: {}, "/buckets/b2": {}, beside: {}})
    found = authority.fold(change(1, BUCKET, *states))
    assert found == ({BUCKET, COLLECTION}, set())
    assert acls_of(authority) == {
        BUCKET: bucket and {"read": bucket},
        COLLECTION: None,
        "/buckets/b2": {},
        beside: {},
    }


def test_collection_that_goes_is_missing_and_made_again_has_its_new_permissions() -> None:
    authority = make_authority({BUCKET: {}, COLLECTION: {"read": ["bob"]}})
    topic = topic_of(LIST)
    assert authority.find_missing(topic) is None
    assert authority.fold(change(1, COLLECTION, {})) == ({COLLECTION}, set())
    missing = authority.find_missing(topic)
    assert isinstance(missing, ParentMissing)
    assert missing.details == {"id": "c", "resource_name": "collection"}
    authority.fold(change(2, COLLECTION, None, {}))
    assert acls_of(authority)[COLLECTION] == {}
    assert authority.find_missing(topic) is None


@pytest.mark.parametrize("uri", [BUCKET, COLLECTION, GROUP, RECORD, "/buckets/b2"])
def test_change_of_what_nobody_needs_is_no_change_of_rights(uri: str) -> None:
    authority = make_authority({"/buckets/e": {}}, {BOB: ()})
    assert authority.fold(change(1, uri, {}, {})) == (set(), set())
    assert acls_of(authority) == {"/buckets/e": {}}


def test_bucket_missing_is_told_before_its_collection() -> None:
    authority = make_authority({BUCKET: None, COLLECTION: None})
    missing = authority.find_missing(topic_of(LIST))
    assert missing is not None
    assert missing.details == {"id": "b", "resource_name": "bucket"}


def test_feed_follows_the_collections_that_come() -> None:
    authority = make_authority({BUCKET: {}}, feeds=("b",))
    assert authority.fold(change(1, COLLECTION, None, {}, acl={"read": ["bob"]})) == (
        {COLLECTION},
        set(),
    )
    assert acls_of(authority)[COLLECTION] == {"read": ("bob",)}
    beside = "/buckets/b2/collections/c"
    assert authority.fold(change(2, beside, None, {})) == (set(), set())
    assert beside not in authority.parents


# People.


def test_group_gains_and_loses_members() -> None:
    authority = make_authority(people={BOB: (), CAROL: ()})
    assert authority.fold(set_members(1, "bob", "dave")) == (set(), {"bob"})
    assert groups_of(authority, BOB) == {GROUP}
    updated = change(
        2, GROUP, {"members": ["bob"]}, {"members": ["carol"]}, touched=("bob", "carol")
    )
    assert authority.fold(updated) == (set(), {"bob", "carol"})
    assert groups_of(authority, BOB) == set()
    assert groups_of(authority, CAROL) == {GROUP}


def test_group_whose_members_stay_changes_nobodys_rights() -> None:
    authority = make_authority(people={BOB: (GROUP,)})
    # Its touched principals are few, but not the ones in here: Bob remains what he was.
    updated = change(1, GROUP, {}, {"members": ["bob"]}, touched=("dave",))
    assert authority.fold(updated) == (set(), set())
    assert authority.fold(change(2, GROUP, {}, {"members": []})) == (set(), set())
    assert groups_of(authority, BOB) == {GROUP}


def test_group_that_goes_is_nobodys() -> None:
    other = f"{BUCKET}/groups/h"
    authority = make_authority(people={BOB: (GROUP, other), CAROL: (other,)})
    assert authority.fold(change(1, GROUP, {}, touched=("bob",))) == (set(), {"bob"})
    assert groups_of(authority, BOB) == {other}


def test_bucket_that_goes_takes_its_groups_along() -> None:
    beside = "/buckets/b2/groups/g"
    authority = make_authority({BUCKET: {}}, {BOB: (GROUP, beside), CAROL: (beside,)})
    assert authority.fold(change(1, BUCKET, {}, touched=("/",))) == ({BUCKET}, {"bob"})
    assert groups_of(authority, BOB) == {beside}


def test_member_may_be_called_by_any_of_its_own_principals_but_not_by_a_group() -> None:
    inner = f"{BUCKET}/groups/inner"
    authority = make_authority(people={BOB: (inner,), ANONYMOUS: ()})
    assert authority.fold(set_members(1, inner)) == (set(), set())
    assert authority.fold(set_members(2, "system.Authenticated")) == (set(), {"bob"})
    assert groups_of(authority, BOB) == {inner, GROUP}
    assert groups_of(authority, ANONYMOUS) == set()


def test_anonymous_reader_is_in_no_group() -> None:
    authority = make_authority(people={ANONYMOUS: ()})
    assert authority.fold(set_members(1, "system.Everyone")) == (set(), set())


def test_changes_that_the_core_makes_are_followed() -> None:
    world = World()
    changes = [
        *world.commit(put(BUCKET, by=ADMIN, acl={"read": ["carol"]})),
        *world.commit(put(GROUP, {"members": ["bob"]}, by=ADMIN)),
        *world.commit(put(COLLECTION, by=ADMIN, acl={"read": [GROUP]})),
    ]
    authority = make_authority({BUCKET: None, COLLECTION: None}, {BOB: (), CAROL: ()})
    for one in changes:
        authority.fold(one)
    assert acls_of(authority) == {BUCKET: {"read": ("carol",)}, COLLECTION: {"read": (GROUP,)}}
    assert authority.rights(topic_of(LIST), BOB).whole
    for one in world.commit(delete(BUCKET, by=ADMIN)):
        assert authority.fold(one) == ({BUCKET, COLLECTION}, {"bob"})
    assert acls_of(authority) == {BUCKET: None, COLLECTION: None}
    assert groups_of(authority, BOB) == set()


# Rights.


@pytest.mark.parametrize(
    ("target", "acls", "whole"),
    [
        (LIST, ({"read": ["bob"]}, {}), True),
        (LIST, ({"write": ["bob"]}, {}), True),
        (LIST, ({}, {"read": [GROUP]}), True),
        (LIST, ({}, {"write": ["system.Everyone"]}), True),
        (LIST, ({"collection:create": ["bob"]}, {"record:create": ["bob"]}), False),
        (LIST, ({"read": ["carol"]}, {"read": ["carol"]}), False),
        (RECORD, ({"read": ["bob"]}, {}), True),
        (RECORD, ({}, {"read": ["bob"]}), True),
        (RECORD, ({}, {"record:create": ["bob"]}), False),
        (COLLECTION, ({"read": ["bob"]}, {}), True),
        (COLLECTION, ({}, {"read": ["bob"]}), False),
        (f"{BUCKET}/collections", ({"read": ["bob"]}, {}), True),
        (f"{BUCKET}/collections", ({"collection:create": ["bob"]}, {}), False),
        (GROUP, ({"group:create": ["bob"]}, {}), False),
        (BUCKET, ({"write": ["bob"]}, {}), False),
        ("/buckets", ({"write": ["bob"]}, {}), False),
    ],
)
def test_all_of_a_list_or_object_is_seen_by_the_permissions_of_what_it_lies_in(
    target: str, acls: Any, whole: bool
) -> None:
    authority = make_authority({BUCKET: acls[0], COLLECTION: acls[1]}, {BOB: (GROUP,)})
    found = authority.rights(topic_of(target), BOB)
    assert found == Rights(whole, BOB.principals | {GROUP})


def test_settings_let_see_all_everywhere() -> None:
    rules = Rules({"record:read": frozenset(["bob"]), "bucket:read": frozenset(["bob"])})
    authority = make_authority({BUCKET: {}, COLLECTION: {}}, rules=rules)
    assert authority.rights(topic_of(LIST), BOB).whole
    assert authority.rights(topic_of("/buckets"), BOB).whole
    assert not authority.rights(topic_of(LIST), CAROL).whole
    assert authority.rights(topic_of(FEED), BOB).kinds >= {"record", "bucket"}


@pytest.mark.parametrize(
    ("acls", "whole", "kinds", "collections"),
    [
        (({"read": ["bob"]}, {}, {}), True, (), ()),
        (({"write": [GROUP]}, {}, {}), True, (), ()),
        (({"group:create": ["bob"]}, {}, {}), False, ("bucket",), ()),
        (({}, {"read": ["bob"]}, {"record:create": ["bob"]}), False, (), (COLLECTION,)),
        (({}, {"write": [GROUP]}, {"read": ["bob"]}), False, (), (COLLECTION, OTHER)),
        (({}, None, {"read": ["carol"]}), False, (), ()),
    ],
)
def test_feed_is_seen_in_part_by_kinds_and_by_collections(
    acls: Any, whole: bool, kinds: tuple[str, ...], collections: tuple[str, ...]
) -> None:
    parents = dict(zip((BUCKET, COLLECTION, OTHER), acls, strict=True))
    beside = {"/buckets/b2/collections/c": {"read": ["bob"]}}
    authority = make_authority({**parents, **beside}, {BOB: (GROUP,)})
    principals = BOB.principals | {GROUP}
    found = authority.rights(topic_of(FEED), BOB)
    assert found == Rights(whole, principals, frozenset(kinds), frozenset(collections))


def test_actor_who_is_not_followed_is_only_itself() -> None:
    authority = make_authority({BUCKET: {"read": ["system.Everyone"]}})
    assert authority.rights(topic_of(BUCKET), ANONYMOUS).principals == ANONYMOUS.principals


def test_sight_is_the_same_for_who_sees_the_whole_whoever_it_is() -> None:
    assert Rights(True, BOB.principals).sight == Rights(True, CAROL.principals).sight


@pytest.mark.parametrize(
    "other",
    [
        Rights(True, BOB.principals),
        Rights(False, CAROL.principals),
        Rights(False, BOB.principals, frozenset(["bucket"])),
        Rights(False, BOB.principals, frozenset(), frozenset([COLLECTION])),
    ],
)
def test_sight_of_a_part_differs_by_what_makes_it_up(other: Rights) -> None:
    mine = Rights(False, BOB.principals)
    assert mine.sight == replace(mine).sight
    assert mine.sight != other.sight


# Knowing ahead of the changes.


def learn_parent(authority: Authority, at: int, who: str) -> None:
    authority.learn(make_authority({COLLECTION: {"read": [who]}}), at)


def test_what_is_learned_is_known() -> None:
    authority = make_authority()
    authority.learn(make_authority({BUCKET: None, COLLECTION: {}}, {BOB: (GROUP,)}, ("b",)), 5)
    assert acls_of(authority) == {BUCKET: None, COLLECTION: {}}
    assert groups_of(authority, BOB) == {GROUP}
    assert authority.feeds == {"b"}


def test_what_was_learned_of_a_later_instant_is_not_changed_by_what_came_before() -> None:
    authority = make_authority()
    authority.learn(make_authority({COLLECTION: {"read": ["new"]}}, {BOB: (GROUP,)}), 5)
    for at in (4, 5):
        earlier = change(at, COLLECTION, {}, {}, acl={"read": ["old"]})
        assert authority.fold(earlier) == (set(), set())
        assert authority.fold(change(at, GROUP, {}, touched=("bob",))) == (set(), set())
    assert acls_of(authority)[COLLECTION] == {"read": ("new",)}
    assert groups_of(authority, BOB) == {GROUP}
    later = change(6, COLLECTION, {}, {}, acl={"read": ["newest"]})
    assert authority.fold(later) == ({COLLECTION}, set())
    assert authority.fold(change(6, GROUP, {}, touched=("bob",))) == (set(), {"bob"})
    assert acls_of(authority)[COLLECTION] == {"read": ("newest",)}


@pytest.mark.parametrize("at", [5, 6])
def test_what_is_known_is_not_learned_again_of_the_same_instant_or_later(at: int) -> None:
    authority = make_authority()
    learn_parent(authority, 5, "first")
    learn_parent(authority, at, "second")
    assert acls_of(authority)[COLLECTION] == {"read": ("first",)}


def test_what_is_known_of_a_later_instant_is_learned_again_of_an_earlier_one() -> None:
    authority = make_authority()
    learn_parent(authority, 5, "late")
    learn_parent(authority, 3, "early")
    assert acls_of(authority)[COLLECTION] == {"read": ("early",)}
    # From now on, what lies between the two is followed.
    between = change(4, COLLECTION, {}, {}, acl={"read": ["between"]})
    assert authority.fold(between) == ({COLLECTION}, set())
    learn_parent(authority, 4, "again")
    assert acls_of(authority)[COLLECTION] == {"read": ("between",)}


def test_person_who_is_known_of_a_later_instant_is_learned_again_of_an_earlier_one() -> None:
    authority = make_authority()
    authority.learn(make_authority(people={BOB: (GROUP,)}), 5)
    authority.learn(make_authority(people={BOB: ()}), 3)
    assert groups_of(authority, BOB) == set()
    assert authority.fold(set_members(4, "bob")) == (set(), {"bob"})
    authority.learn(make_authority(people={BOB: ()}), 6)
    assert groups_of(authority, BOB) == {GROUP}


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    authority = make_authority()
    authority.learn(make_authority({COLLECTION: {}, BUCKET: {}}, {BOB: (), CAROL: ()}), 5)
    authority.forget([COLLECTION, OTHER], ["bob", "dave"])
    assert acls_of(authority) == {BUCKET: {}}
    assert list(authority.people) == ["carol"]
    learn_parent(authority, 7, "anew")
    assert acls_of(authority)[COLLECTION] == {"read": ("anew",)}
    authority.forget([BUCKET, COLLECTION], ["carol"])
    assert not authority._ahead


def test_collection_of_a_feed_is_not_forgotten_while_the_feed_is_followed() -> None:
    authority = make_authority({BUCKET: {}, COLLECTION: {}}, feeds=("b",))
    authority.forget([BUCKET, COLLECTION], ())
    assert acls_of(authority) == {COLLECTION: {}}
    authority.feeds.clear()
    authority.forget([COLLECTION], ())
    assert acls_of(authority) == {}
