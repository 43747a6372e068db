"""The world as readers of live changes may see it, worked out without the code that is tried.

Rights are written down here a second time, object by object, as PROTOCOL has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from notifier.topics import Topic
from server.core.json_text import load_json
from server.core.permissions import Actor
from server.core.revisions import Revision
from server.storage.base import Change

_OWN = {
    "bucket": ("read", "write", "collection:create", "group:create"),
    "collection": ("read", "write", "record:create"),
    "group": ("read", "write"),
    "record": ("read", "write"),
}
"""The permissions on an object with which one may GET it."""

_KINDS = {2: "bucket", 4: "collection", 6: "record"}


@dataclass(frozen=True)
class Thing:
    """An object that exists."""

    acl: Mapping[str, tuple[str, ...]]
    data: Mapping[str, Any]

    def names(self, principals: frozenset[str], *permissions: str) -> bool:
        return any(not principals.isdisjoint(self.acl.get(one, ())) for one in permissions)


def kind_of(uri: str) -> str:
    if "/groups/" in uri:
        return "group"
    return _KINDS[uri.count("/")]


def ancestors_of(uri: str) -> list[str]:
    """The objects that something lies in."""
    steps = uri.split("/")
    return ["/".join(steps[:end]) for end in range(3, len(steps) - 1, 2)]


class Moment:
    """Everything that exists after some change."""

    def __init__(self, things: Mapping[str, Thing]) -> None:
        self.things = things

    def after(self, revision: Revision) -> "Moment":
        """What exists after one more."""
        things = dict(self.things)
        if revision.action != "update":
            inside = revision.uri + "/"
            things = {uri: one for uri, one in things.items() if not uri.startswith(inside)}
        things.pop(revision.uri, None)
        if revision.action != "delete":
            things[revision.uri] = Thing(revision.acl, load_json(revision.json))
        return Moment(things)

    def principals(self, actor: Actor) -> frozenset[str]:
        """An actor's, the groups it is in among them."""
        if not actor.user_id:
            return actor.principals
        groups = {
            uri
            for uri, one in self.things.items()
            if kind_of(uri) == "group" and not actor.principals.isdisjoint(one.data["members"])
        }
        return actor.principals | groups

    def may_read(self, actor: Actor, uri: str) -> bool:
        """Whether GET of an object would show it."""
        thing = self.things.get(uri)
        if thing is None:
            return False
        principals = self.principals(actor)
        return thing.names(principals, *_OWN[kind_of(uri)]) or self._above(principals, uri)

    def _above(self, principals: frozenset[str], uri: str) -> bool:
        return any(
            self.things[step].names(principals, "read", "write") for step in ancestors_of(uri)
        )

    def is_whole(self, actor: Actor, topic: Topic) -> bool:
        """Whether everything in a topic, whose parents exist, may be read."""
        inside = "/groups/any" if topic.feed else "" if topic.object else "/any"
        return self._above(self.principals(actor), topic.path.uri + inside)

    def reach(self, actor: Actor, topic: Topic) -> object:
        """What of a topic may be read beside what is shared one by one."""
        if self.is_whole(actor, topic) or not topic.feed:
            return self.is_whole(actor, topic)
        principals = self.principals(actor)
        inside = topic.path.uri + "/"
        return frozenset(
            uri
            for uri, one in self.things.items()
            if uri.startswith(inside) and kind_of(uri) == "collection"
            if one.names(principals, "read", "write")
        )

    def is_missing(self, topic: Topic) -> bool:
        """Whether a parent does not exist."""
        return any(step.uri not in self.things for step in topic.parents)

    def visible(self, actor: Actor, topic: Topic, *, filtered: bool = True) -> dict[str, Any]:
        """The data of all that may be read in a topic, by URI."""
        seen = {uri: one for uri, one in self.things.items() if _is_in(topic, uri)}
        wanted = "v=1" in topic.query and filtered
        return {
            uri: one.data
            for uri, one in seen.items()
            if self.may_read(actor, uri) and not (wanted and one.data.get("v") != 1)
        }

    def is_refused(self, actor: Actor, topic: Topic, *, begun: bool) -> bool:
        """Whether a subscription would not be let in."""
        if self.is_missing(topic):
            return True
        if self.is_whole(actor, topic):
            return topic.object is not None and topic.path.uri not in self.things and not begun
        return not self.visible(actor, topic, filtered=False)


def _is_in(topic: Topic, uri: str) -> bool:
    path = topic.path.uri
    if topic.feed:
        return uri == path or uri.startswith(path + "/")
    if topic.object is not None:
        return uri == path
    return uri.rpartition("/")[0] == path


class Chronicle:
    """The world after each change.

    Attributes:
        changes: all that were committed, in their order.
        moments: one more than there are changes.
    """

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.moments = [Moment({})]
        self._ends = [0]

    def add(self, changes: list[Change]) -> None:
        """Go on by one commit."""
        for change in changes:
            self.changes.append(change)
            self.moments.append(self.moments[-1].after(change.revision))
        if changes:
            self._ends.append(len(self.changes))

    @property
    def at(self) -> int:
        """The last instant."""
        return len(self._ends) - 1

    def count(self, at: int) -> int:
        """How many changes were committed up to an instant."""
        return self._ends[at]

    def clock(self, topic: Topic, count: int) -> int:
        """Position of the last of some changes that is in a topic's order."""
        for change in reversed(self.changes[:count]):
            found = position_in(topic, change.revision)
            if found:
                return found
        return 0

    def find(self, topic: Topic, cursor: int) -> int:
        """How many changes there were when a position was reached, which it was."""
        for index, change in enumerate(self.changes):
            if position_in(topic, change.revision) == cursor:
                return index + 1
        raise AssertionError(f"no change stands at {cursor}")

    def was_gone(self, uri: str, after: int, upto: int) -> bool:
        """Whether something that an object lies in did not exist meanwhile."""
        above = ancestors_of(uri)
        spans = self.moments[after : upto + 1]
        return any(step not in one.things for one in spans for step in above)


def position_in(topic: Topic, revision: Revision) -> int:
    """Where a revision stands in a topic's order; 0 if it does not."""
    if topic.feed:
        return revision.seq if revision.bucket == topic.bucket else 0
    return revision.position if revision.list == topic.list.uri else 0
