"""Who may do what: the inheritance table, and its evaluation.

A permission on an object is obtained by being named, oneself or through a
group, in one of the ACL entries of the object or its ancestors that the table
lists for it; or by a setting that grants it on every object of the kind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.core.errors import EndpointMissing, Forbidden, MissingAuth, SyncError
from server.core.objects import Permissions, StoredObject
from server.core.paths import ALL_KINDS, ObjectPath, parse_path
from server.core.quotas import Quotas
from server.core.schemas import Schemas

EVERYONE = "system.Everyone"
AUTHENTICATED = "system.Authenticated"

ATTRIBUTES = "read:attributes"

_INHERITANCE: dict[str, dict[str, tuple[str, ...]]] = {
    "bucket:write": {"bucket": ("write",)},
    "bucket:read": {"bucket": ("write", "read")},
    "bucket:read:attributes": {"bucket": ("write", "read", "collection:create", "group:create")},
    "bucket:create": {},
    "group:create": {"bucket": ("write", "group:create")},
    "group:write": {"bucket": ("write",), "group": ("write",)},
    "group:read": {"bucket": ("write", "read"), "group": ("write", "read")},
    "collection:create": {"bucket": ("write", "collection:create")},
    "collection:write": {"bucket": ("write",), "collection": ("write",)},
    "collection:read": {"bucket": ("write", "read"), "collection": ("write", "read")},
    "collection:read:attributes": {
        "bucket": ("write", "read"),
        "collection": ("write", "read", "record:create"),
    },
    "record:create": {"bucket": ("write",), "collection": ("write", "record:create")},
    "record:write": {"bucket": ("write",), "collection": ("write",), "record": ("write",)},
    "record:read": {
        "bucket": ("write", "read"),
        "collection": ("write", "read"),
        "record": ("write", "read"),
    },
    "account:create": {},
    "account:write": {"account": ("write",)},
    "account:read": {"account": ("write", "read")},
    "api_key:create": {},
    "api_key:write": {"api_key": ("write",)},
    "api_key:read": {"api_key": ("write", "read")},
}

GRANTABLE: Mapping[str, tuple[str, ...]] = {
    "bucket": ("write", "read", "collection:create", "group:create"),
    "collection": ("write", "read", "record:create"),
    "group": ("write", "read"),
    "record": ("write", "read"),
    "account": ("write", "read"),
    "api_key": ("write",),
}
"""The permissions that an object's own ACL may name, by kind."""


_CREDENTIALS = tuple(f"/{kind.plural}" for kind in ALL_KINDS.values() if not kind.is_shared)


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of what somebody may do, to which a credential is limited.

    Attributes:
        uri: of an object, with all that lies in it, or of a list; ``/`` for everything.
        writes: whether it may be changed, too.
    """

    uri: str
    writes: bool

    def covers(self, path: str, *, writes: bool) -> bool:
        """Whether a request of a path lies within it.

        Everything is without what credentials are made of: who has got hold of one
        must not be able to make others of it.
        """
        if writes and not self.writes:
            return False
        if self.uri == "/":
            return not (writes and path.startswith(_CREDENTIALS))
        return path == self.uri or path.startswith(self.uri + "/")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks.

    Attributes:
        user_id: ``policy:id``; empty for an anonymous one.
        principals: what ACLs may call them, groups left out.
        scopes: to which their credential is limited; None for no limit.
        expires: when their credential does, in seconds since 1970; None for never.
        source: URI of the object that their credential was checked against, such as
            an account: when that changes, they are to be asked again. Empty for none.
        as_of: position of that object when it was checked; who they are does not
            depend on it.
        profile: what their identity provider tells of them; None for none.
    """

    user_id: str
    principals: frozenset[str]
    scopes: tuple[Scope, ...] | None = None
    expires: float | None = None
    source: str = ""
    as_of: int = field(default=0, compare=False)
    profile: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def may_ask(self, path: str, *, writes: bool) -> bool:
        """Whether their credential is for a path at all; permissions come after it."""
        if self.scopes is None:
            return True
        return any(scope.covers(path, writes=writes) for scope in self.scopes)

    @property
    def owner(self) -> str:
        """The principal that gets ``write`` on what this actor makes."""
        return self.user_id or EVERYONE


ANONYMOUS = Actor("", frozenset([EVERYONE]))


def make_actor(user_id: str) -> Actor:
    """The actor that a policy has authenticated."""
    return Actor(user_id, frozenset([user_id, AUTHENTICATED, EVERYONE]))


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator has set.

    Attributes:
        grants: ``kind:permission`` to the principals that have it everywhere.
        explicit_permissions: whether who writes an object is named in its ACL.
        quotas: how much may be stored; None for as much as there is room for.
        schemas: checks objects by the schemas of their parents; None if they are not
            checked.
    """

    grants: Mapping[str, frozenset[str]] = field(default_factory=dict)
    explicit_permissions: bool = True
    quotas: Quotas | None = None
    schemas: Schemas | None = field(default=None, compare=False)

    _everywhere: Mapping[tuple[str, str], frozenset[str]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Work out once what every decision asks for."""
        table = {}
        for name in _INHERITANCE:
            kind, _, permission = name.partition(":")
            table[kind, permission] = self._granted(kind, permission)
        object.__setattr__(self, "_everywhere", table)

    def _granted(self, kind: str, permission: str) -> frozenset[str]:
        names = {f"{kind}:create"} if permission == "create" else set()
        for granted in _rule(kind, permission).values():
            names.update(_setting_name(kind, one) for one in granted)
        return frozenset(p for name in names for p in self.grants.get(name, ()))

    def everywhere(self, kind: str, permission: str) -> frozenset[str]:
        """Principals whom the settings give a permission on every object of a kind."""
        return self._everywhere[kind, permission]


def _setting_name(kind: str, permission: str) -> str:
    return permission if permission.startswith(f"{kind}:") else f"{kind}:{permission}"


def _rule(kind: str, permission: str) -> dict[str, tuple[str, ...]]:
    return _INHERITANCE[f"{kind}:{permission}"]


def readers_of(kind: str, acl: Permissions) -> tuple[str, ...]:
    """Principals that an object's own ACL lets see the object."""
    if not acl:
        return ()
    permission = ATTRIBUTES if ALL_KINDS[kind].children else "read"
    names: dict[str, None] = {}
    for one in _rule(kind, permission)[kind]:
        names.update(dict.fromkeys(acl.get(one, ())))
    return tuple(names)


def read_permission(kind: str) -> str:
    """The permission that GET of an object needs."""
    return ATTRIBUTES if ALL_KINDS[kind].children else "read"


def granting(
    rules: Rules, kind: str, permission: str, chain: Mapping[str, StoredObject]
) -> set[str]:
    """All principals, groups among them, that have a permission.

    Args:
        rules: what the operator has set.
        kind: of the object that is to be read, written or created.
        permission: ``read``, ``write``, ``create`` or ``read:attributes``.
        chain: the object and its ancestors as stored, by kind. For the right
            on a whole list, its ancestors alone.
    """
    principals = set(rules.everywhere(kind, permission))
    for holder, granted in _rule(kind, permission).items():
        stored = chain.get(holder)
        if stored is not None and stored.acl:
            for one in granted:
                principals.update(stored.acl.get(one, ()))
    return principals


def expand(kind: str, own: Iterable[str]) -> list[str]:
    """What follows, on the object itself, from permissions that its ACL gives."""
    held = set(own)
    for name in _INHERITANCE:
        holder, _, permission = name.partition(":")
        if holder == kind and held & set(_INHERITANCE[name].get(kind, ())):
            held.add(permission)
    for child in ALL_KINDS[kind].children:
        name = f"{child[:-1]}:create"
        if held & set(_INHERITANCE[name].get(kind, ())):
            held.add(name)
    return sorted(held)


def find_groups(actor: Actor, principals: Iterable[str]) -> list[ObjectPath]:
    """The groups among principals, if the actor could be a member of any."""
    if not actor.user_id:
        return []
    found = (_find_group(one) for one in principals if one.startswith("/buckets/"))
    return [path for path in found if path is not None]


def _find_group(principal: str) -> ObjectPath | None:
    try:
        path = parse_path(principal)
    except EndpointMissing:
        return None
    if isinstance(path, ObjectPath) and path.kind.name == "group" and path.valid:
        return path
    return None


def refuse(actor: Actor) -> SyncError:
    """The error for who may not: 401 where a user might, 403 where this one may not."""
    return Forbidden() if actor.user_id else MissingAuth()


def is_member(actor: Actor, members: Iterable[str] | None) -> bool:
    """Whether a group's members include the actor."""
    return bool(members) and not actor.principals.isdisjoint(members or ())
