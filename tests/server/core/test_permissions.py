from collections.abc import Mapping

import pytest

from server.core.errors import Forbidden, MissingAuth
from server.core.objects import Permissions, StoredObject
from server.core.permissions import (
    ANONYMOUS,
    GRANTABLE,
    Rules,
    expand,
    find_groups,
    granting,
    is_member,
    make_actor,
    read_permission,
    readers_of,
    refuse,
)

ALICE = make_actor("alice")
NO_RULES = Rules()

HELD: dict[str, set[str]] = {
    "bucket:write": {"bucket write"},
    "bucket:read": {"bucket write", "bucket read"},
    "bucket:read:attributes": {
        "bucket write",
        "bucket read",
        "bucket collection:create",
        "bucket group:create",
    },
    "bucket:create": set(),
    "group:create": {"bucket write", "bucket group:create"},
    "group:write": {"bucket write", "group write"},
    "group:read": {"bucket write", "bucket read", "group write", "group read"},
    "collection:create": {"bucket write", "bucket collection:create"},
    "collection:write": {"bucket write", "collection write"},
    "collection:read": {"bucket write", "bucket read", "collection write", "collection read"},
    "collection:read:attributes": {
        "bucket write",
        "bucket read",
        "collection write",
        "collection read",
        "collection record:create",
    },
    "record:create": {"bucket write", "collection write", "collection record:create"},
    "record:write": {"bucket write", "collection write", "record write"},
    "record:read": {
        "bucket write",
        "bucket read",
        "collection write",
        "collection read",
        "record write",
        "record read",
    },
    "account:create": set(),
    "account:write": {"account write"},
    "account:read": {"account write", "account read"},
    "api_key:write": {"api_key write"},
    "api_key:read": {"api_key write"},
}
"""The protocol's table: what is obtained, and the entries that grant it."""

URIS = {
    "bucket": "/buckets/b",
    "group": "/buckets/b/groups/g",
    "collection": "/buckets/b/collections/c",
    "record": "/buckets/b/collections/c/records/r",
    "account": "/accounts/a",
    "api_key": "/api-keys/k",
}
ENTRIES = [f"{kind} {name}" for kind, names in GRANTABLE.items() for name in names]


def stored(kind: str, acl: Permissions) -> StoredObject:
    return StoredObject(URIS[kind], 1, 1, b"{}", acl=acl)


def chain_with(entry: str) -> Mapping[str, StoredObject]:
    kind, _, name = entry.partition(" ")
    other = {one: stored(one, {"read": ("bob",)}) for one in URIS}
    return {**other, kind: stored(kind, {name: ("alice",)})}


def split(obtained: str) -> tuple[str, str]:
    kind, _, permission = obtained.partition(":")
    return kind, permission


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("obtained", HELD)
def test_a_permission_is_obtained_from_exactly_the_entries_of_its_row(
    obtained: str, entry: str
) -> None:
    kind, permission = split(obtained)
    found = "alice" in granting(NO_RULES, kind, permission, chain_with(entry))
    assert found is (entry in HELD[obtained])


def test_a_right_on_a_list_comes_from_what_it_lies_in_alone() -> None:
    chain = {"bucket": stored("bucket", {"read": ("alice", "bob")})}
    assert granting(NO_RULES, "record", "read", chain) == {"alice", "bob"}


def test_all_principals_that_have_a_permission_are_told() -> None:
    chain = {
        "bucket": stored("bucket", {"write": ("a",), "read": ("b",)}),
        "collection": stored("collection", {}),
        "record": stored("record", {"read": ("/buckets/b/groups/g", "a")}),
    }
    assert granting(NO_RULES, "record", "read", chain) == {"a", "b", "/buckets/b/groups/g"}
    assert granting(NO_RULES, "record", "write", chain) == {"a"}


@pytest.mark.parametrize(
    ("setting", "obtained"),
    [
        ("bucket:create", {"bucket:create"}),
        ("bucket:write", {"bucket:write", "bucket:read", "bucket:read:attributes"}),
        ("bucket:read", {"bucket:read", "bucket:read:attributes"}),
        ("group:create", {"group:create"}),
        ("group:write", {"group:create", "group:write", "group:read"}),
        ("group:read", {"group:read"}),
        ("collection:create", {"collection:create"}),
        (
            "collection:write",
            {
                "collection:create",
                "collection:write",
                "collection:read",
                "collection:read:attributes",
            },
        ),
        ("collection:read", {"collection:read", "collection:read:attributes"}),
        ("record:create", {"record:create"}),
        ("record:write", {"record:create", "record:write", "record:read"}),
        ("record:read", {"record:read"}),
        ("history:read", set()),
    ],
)
def test_a_setting_grants_on_its_own_kind_and_on_no_other(setting: str, obtained: set[str]) -> None:
    rules = Rules({setting: frozenset(["alice"])})
    found = {one for one in HELD if "alice" in granting(rules, *split(one), {})}
    assert found == obtained


def test_what_the_settings_grant_is_added_to_what_the_acls_grant() -> None:
    rules = Rules({"bucket:read": frozenset(["alice"])})
    chain = {"bucket": stored("bucket", {"write": ("bob",)})}
    assert granting(rules, "bucket", "read", chain) == {"alice", "bob"}


@pytest.mark.parametrize(
    ("kind", "acl", "readers"),
    [
        ("record", {}, ()),
        ("record", {"write": ("a", "b"), "read": ("b", "c")}, ("a", "b", "c")),
        ("group", {"read": ("c",)}, ("c",)),
        ("collection", {"record:create": ("c",), "write": ("a",)}, ("a", "c")),
        ("bucket", {"group:create": ("g",), "collection:create": ("c",)}, ("c", "g")),
    ],
)
def test_an_objects_own_acl_tells_who_sees_it(
    kind: str, acl: Permissions, readers: tuple[str, ...]
) -> None:
    assert readers_of(kind, acl) == readers


@pytest.mark.parametrize(
    ("kind", "permission"),
    [
        ("bucket", "read:attributes"),
        ("collection", "read:attributes"),
        ("group", "read"),
        ("record", "read"),
    ],
)
def test_parents_are_shown_to_who_may_create_in_them(kind: str, permission: str) -> None:
    assert read_permission(kind) == permission


@pytest.mark.parametrize(
    ("kind", "own", "all_of_them"),
    [
        (
            "bucket",
            ["write"],
            ["collection:create", "group:create", "read", "read:attributes", "write"],
        ),
        ("bucket", ["read"], ["read", "read:attributes"]),
        ("bucket", ["collection:create"], ["collection:create", "read:attributes"]),
        ("bucket", [], []),
        ("collection", ["write"], ["read", "read:attributes", "record:create", "write"]),
        ("collection", ["record:create"], ["read:attributes", "record:create"]),
        ("collection", ["read"], ["read", "read:attributes"]),
        ("group", ["write"], ["read", "write"]),
        ("record", ["write"], ["read", "write"]),
        ("record", ["read"], ["read"]),
    ],
)
def test_a_permission_implies_others_on_the_same_object(
    kind: str, own: list[str], all_of_them: list[str]
) -> None:
    assert expand(kind, own) == all_of_them


def test_groups_among_principals_are_found() -> None:
    principals = [
        "system.Everyone",
        "basicauth:abc",
        "/buckets/b/groups/g",
        "/buckets/b",
        "/buckets/b/groups",
        "/buckets/b/groups/g.h",
        "/buckets/b.c/groups/g",
        "/buckets/b/collections/c",
        "/buckets/b/groups/g/",
        "/buckets/",
    ]
    assert [path.uri for path in find_groups(ALICE, principals)] == ["/buckets/b/groups/g"]


def test_no_group_is_looked_up_for_anonymous_who_is_in_none() -> None:
    assert find_groups(ANONYMOUS, ["/buckets/b/groups/g"]) == []


def test_an_authenticated_actor_is_everyone_and_authenticated_too() -> None:
    assert ALICE.principals == {"alice", "system.Authenticated", "system.Everyone"}
    assert ALICE.owner == "alice"


def test_an_anonymous_actor_is_everyone_and_owns_as_everyone() -> None:
    assert ANONYMOUS.principals == {"system.Everyone"}
    assert ANONYMOUS.owner == "system.Everyone"


def test_who_may_not_is_asked_to_authenticate_only_if_anonymous() -> None:
    assert isinstance(refuse(ANONYMOUS), MissingAuth)
    assert isinstance(refuse(ALICE), Forbidden)


@pytest.mark.parametrize(
    ("members", "answer"),
    [
        (None, False),
        ([], False),
        (["bob"], False),
        (["bob", "alice"], True),
        (["system.Authenticated"], True),
    ],
)
def test_a_member_is_named_or_of_those_named(members: list[str] | None, *, answer: bool) -> None:
    assert is_member(ALICE, members) is answer
