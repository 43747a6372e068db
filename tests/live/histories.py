"""Who could see what at each instant: worked out from the log alone, as simply as can be."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.core.revisions import Revision
from tests.live.copies import Message, Topic

EVERYONE = "system.Everyone"

_ATTRIBUTES = {
    "bucket": ("read", "write", "collection:create", "group:create"),
    "collection": ("read", "write", "record:create"),
    "group": ("read", "write"),
    "record": ("read", "write"),
}
"""Permissions of an object's own that let it be seen."""


@dataclass(frozen=True)
class Thing:
    """An object: its data, and its permissions."""

    data: Message
    acl: dict[str, set[str]]

    def names(self, permissions: Sequence[str], principals: frozenset[str]) -> bool:
        return any(self.acl.get(one, set()) & principals for one in permissions)


World = dict[str, Thing]


def kind_of(uri: str) -> str:
    """``bucket``, ``collection``, ``group`` or ``record``."""
    return uri.split("/")[-2][:-1]


def parents_of(uri: str) -> list[str]:
    """URIs of the objects it lies in, the bucket first."""
    parts = uri.split("/")
    return ["/".join(parts[:end]) for end in range(3, len(parts), 2)]


class History:
    """Every state there was.

    Attributes:
        log: the revisions, in the order of their commits. Instant ``i`` is after
            the first ``i`` of them.
    """

    def __init__(self, log: Sequence[Revision]) -> None:
        self.log = log
        self.worlds: list[World] = [{}]
        self._by_list: defaultdict[str, list[int]] = defaultdict(list)
        self._by_bucket: defaultdict[str, list[int]] = defaultdict(list)
        self._by_uri: defaultdict[str, list[int]] = defaultdict(list)
        self._rights: list[int] = []
        self._seen: dict[tuple[str, Topic, int], World] = {}
        self._sights: dict[tuple[str, int], object] = {}
        self._people: dict[tuple[str, int], frozenset[str]] = {}
        for index, revision in enumerate(log):
            self.worlds.append(self._after(revision))
            self._by_list[revision.list].append(index)
            self._by_bucket[revision.bucket].append(index)
            self._by_uri[revision.uri].append(index)
            if kind_of(revision.uri) != "record":
                self._rights.append(index + 1)

    def _after(self, revision: Revision) -> World:
        world = dict(self.worlds[-1])
        if revision.action in ("delete", "create"):
            inside = [uri for uri in world if uri.startswith(revision.uri + "/")]
            for uri in [*inside, revision.uri]:
                world.pop(uri, None)
        if revision.action != "delete":
            acl = {name: set(who) for name, who in revision.acl.items()}
            world[revision.uri] = Thing(json.loads(revision.json), acl)
        return world

    # Places in the log.

    def entries(self, topic: Topic) -> list[int]:
        """All entries in a topic's order."""
        if topic.kind == "feed":
            return self._by_bucket[topic.path.rpartition("/")[2]]
        return self._by_list[topic.list]

    def position(self, topic: Topic, index: int) -> int:
        """Where an entry stands in a topic's order."""
        return self.log[index].seq if topic.kind == "feed" else self.log[index].position

    def find(self, topic: Topic, position: int) -> int | None:
        """The entry at a position of a topic's order."""
        scope = self.entries(topic)
        place = bisect_right(scope, position, key=lambda one: self.position(topic, one))
        if not place or self.position(topic, scope[place - 1]) != position:
            return None
        return scope[place - 1]

    def instants(self, topic: Topic, position: int) -> list[int]:
        """Instants at which a topic's clock may have been here, and rights were others."""
        scope = self.entries(topic)
        place = bisect_right(scope, position, key=lambda one: self.position(topic, one))
        first = scope[place - 1] + 1 if place else 0
        last = scope[place] if place < len(scope) else len(self.log)
        between = self._rights[bisect_right(self._rights, first) :]
        return [first, *between[: bisect_right(between, last)]]

    def lifetime(self, index: int) -> range:
        """Instants at which an entry was its object's last one."""
        mine = self._by_uri[self.log[index].uri]
        place = bisect_right(mine, index)
        return range(index + 1, (mine[place] if place < len(mine) else len(self.log)) + 1)

    def turns(self, user: str, first: int, last: int) -> bool:
        """Whether somebody's rights on buckets and collections changed between two instants."""
        place = bisect_right(self._rights, first)
        between = self._rights[place : bisect_right(self._rights, last)]
        return any(self._sight(user, one) != self._sight(user, first) for one in between)

    def forgotten(self, user: str) -> set[str]:
        """Objects that ever named a group that a user was a member of, and whose bucket went.

        With the bucket went who had been in it: nobody who polls is told that they do not see
        these any more, nor what is in them.
        """
        lost: set[str] = set()
        for index, revision in enumerate(self.log):
            if revision.action == "delete" and kind_of(revision.uri) == "bucket":
                inside = revision.uri + "/groups/"
                known = (self.principals(user, instant) for instant in range(index + 1))
                lost |= {one for who in known for one in who if one.startswith(inside)}
        return {
            one.uri for one in self.log if any(not lost.isdisjoint(who) for who in one.acl.values())
        }

    def _sight(self, user: str, instant: int) -> object:
        found = self._sights.get((user, instant))
        if found is None:
            principals, world = self.principals(user, instant), self.worlds[instant]
            parents = (uri for uri in world if kind_of(uri) in ("bucket", "collection"))
            seen = {
                (uri, attributes)
                for uri in parents
                for attributes in (("read", "write"), _ATTRIBUTES[kind_of(uri)])
                if world[uri].names(attributes, principals)
            }
            found = self._sights[user, instant] = (principals, seen)
        return found

    # Sight.

    def principals(self, user: str, instant: int) -> frozenset[str]:
        """All that ACLs may call a user; "" is an anonymous one."""
        found = self._people.get((user, instant))
        if found is None:
            found = self._find_principals(user, self.worlds[instant])
            self._people[user, instant] = found
        return found

    def _find_principals(self, user: str, world: World) -> frozenset[str]:
        if not user:
            return frozenset([EVERYONE])
        own = {user, EVERYONE, "system.Authenticated"}
        groups = [uri for uri in world if kind_of(uri) == "group"]
        return frozenset(own.union(one for one in groups if own & set(_members(world[one].data))))

    def sees(self, user: str, uri: str, instant: int) -> bool:
        """Whether somebody could see an object."""
        world = self.worlds[instant]
        if uri not in world:
            return False
        principals = self.principals(user, instant)
        if world[uri].names(_ATTRIBUTES[kind_of(uri)], principals):
            return True
        return any(world[one].names(("read", "write"), principals) for one in parents_of(uri))

    def visible(self, user: str, topic: Topic, instant: int) -> World:
        """The objects of a topic that somebody could see, filters and fields applied."""
        key = user, topic, instant
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = self._find_visible(user, topic, instant)
        return found

    def _find_visible(self, user: str, topic: Topic, instant: int) -> World:
        found: World = {}
        for uri, thing in self.worlds[instant].items():
            if not self.is_about(topic, uri) or not self.sees(user, uri, instant):
                continue
            if topic.filter is None or topic.filter.passes(thing.data):
                found[uri] = thing
        return found

    def contents(self, user: str, topic: Topic, instant: int) -> dict[str, Message]:
        """What a subscriber of a topic has to have."""
        visible = self.visible(user, topic, instant)
        return {uri: topic.show(thing.data) for uri, thing in visible.items()}

    def is_about(self, topic: Topic, uri: str) -> bool:
        if topic.kind == "feed":
            return uri == topic.path or uri.startswith(topic.path + "/")
        if topic.kind == "object":
            return uri == topic.path
        return uri.rpartition("/")[0] == topic.path


def _members(data: Message) -> list[Any]:
    return list(data.get("members") or [])
