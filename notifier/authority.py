"""Who may read what, as of the last change that was folded in. Pure.

It knows the permissions of the parents of what is subscribed to, and all
principals, groups among them, of those who subscribe. Both are read once and
then follow the changes, so that a change can be judged as of its own place in
the order of all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from notifier.topics import Topic
from server.core.errors import ParentMissing
from server.core.json_text import load_json
from server.core.objects import Permissions, StoredObject
from server.core.paths import KINDS, ROOT, ListPath, ObjectPath, object_path
from server.core.permissions import Actor, Rules, granting, is_member, read_permission
from server.core.revisions import Revision
from server.storage.base import Change

_PARENTS = ("bucket", "collection")


@dataclass(frozen=True, slots=True)
class Rights:
    """How much of a topic somebody may see.

    Attributes:
        whole: whether all of it.
        principals: of the reader, groups among them.
        kinds: of a feed: kinds of which all objects may be seen.
        collections: of a feed: URIs of the collections all of whose records may be seen.
    """

    whole: bool
    principals: frozenset[str]
    kinds: frozenset[str] = frozenset()
    collections: frozenset[str] = frozenset()

    @property
    def sight(self) -> object:
        """What they come to: equal for readers who see the same."""
        if self.whole:
            return True
        return self.principals, self.kinds, self.collections


class Authority:
    """Parents and people, by URI and by user id.

    Attributes:
        parents: buckets and collections; None for one that does not exist.
        people: the principals of each user.
        feeds: ids of buckets all of whose collections are followed.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.parents: dict[str, StoredObject | None] = {}
        self.people: dict[str, frozenset[str]] = {}
        self.feeds: set[str] = set()
        self._ahead: dict[str, int] = {}

    def learn(self, other: "Authority", at: int) -> None:
        """Take over what another knows.

        Args:
            other: as of ``at``.
            at: not before the last change that was folded in here. What is known
                here already as of a later instant is known as of this one from now
                on: the changes between the two have yet to come.
        """
        self.feeds |= other.feeds
        for uri, stored in other.parents.items():
            if self._is_news(uri, uri in self.parents, at):
                self.parents[uri] = stored
        for user, principals in other.people.items():
            if self._is_news(_person(user), user in self.people, at):
                self.people[user] = principals

    def _is_news(self, key: str, known: bool, at: int) -> bool:
        if known and self._ahead.get(key, 0) <= at:
            return False
        self._ahead[key] = at
        return True

    def forget(self, uris: Iterable[str], users: Iterable[str]) -> None:
        """Stop following what nobody needs any more."""
        for uri in uris:
            path = object_path(uri)
            if path.kind.name == "collection" and path.bucket in self.feeds:
                # A feed's readers are judged by it, too.
                continue
            self.parents.pop(uri, None)
            self._ahead.pop(uri, None)
        for user in users:
            self.people.pop(user, None)
            self._ahead.pop(_person(user), None)

    def fold(self, change: Change) -> tuple[set[str], set[str]]:
        """Follow a change.

        Returns:
            URIs of the parents and ids of the users it was about.
        """
        revision = change.revision
        kind = object_path(revision.uri).kind.name
        if kind == "record":
            return set(), set()
        parents = self._fold_parent(change, kind) if kind in _PARENTS else set()
        return parents, self._fold_people(change) if revision.touched else set()

    def _fold_parent(self, change: Change, kind: str) -> set[str]:
        revision = change.revision
        about = {revision.uri}
        if kind == "bucket" and revision.action != "update":
            # What was in it went with it; a new one begins empty.
            about |= {uri for uri in self.parents if uri.startswith(revision.uri + "/")}
        if kind == "collection" and revision.bucket in self.feeds:
            self.parents.setdefault(revision.uri, None)
        found = {uri for uri in about if uri in self.parents and not self._knows(uri, change.at)}
        for uri in found:
            gone = revision.action == "delete" or uri != revision.uri
            self.parents[uri] = None if gone else _as_parent(revision)
        return found

    def _knows(self, key: str, at: int) -> bool:
        """Whether what is known of something is of an instant after ``at``, or it."""
        known_at = self._ahead.get(key)
        if known_at is None:
            return False
        if known_at >= at:
            return True
        del self._ahead[key]
        return False

    def _fold_people(self, change: Change) -> set[str]:
        revision = change.revision
        found = set()
        for user, principals in self.people.items():
            now = _regroup(user, principals, revision)
            if now != principals and not self._knows(_person(user), change.at):
                found.add(user)
                self.people[user] = now
        return found

    def find_missing(self, topic: Topic) -> ParentMissing | None:
        """The error for a parent that does not exist."""
        for step in topic.parents:
            if self.parents[step.uri] is None:
                return ParentMissing(step.id, step.kind.name)
        return None

    def rights(self, topic: Topic, actor: Actor) -> Rights:
        """How much of a topic, whose parents exist, somebody may see."""
        principals = self.people.get(actor.user_id, actor.principals)
        chain = self._chain(topic.parents)
        if topic.feed:
            return self._feed_rights(topic, principals, chain)
        path = topic.path
        kind = path.kind.name
        permission = "read" if isinstance(path, ListPath) else read_permission(kind)
        granted = granting(self._rules, kind, permission, chain)
        return Rights(not granted.isdisjoint(principals), principals)

    def _chain(self, parents: Iterable[ObjectPath]) -> dict[str, StoredObject]:
        chain = {}
        for step in parents:
            stored = self.parents[step.uri]
            assert stored is not None, step.uri
            chain[step.kind.name] = stored
        return chain

    def _feed_rights(
        self, topic: Topic, principals: frozenset[str], chain: Mapping[str, StoredObject]
    ) -> Rights:
        kinds = {
            kind
            for kind in KINDS
            if not granting(self._rules, kind, read_permission(kind), chain).isdisjoint(principals)
        }
        if len(kinds) == len(KINDS):
            return Rights(True, principals)
        prefix = topic.path.uri + "/"
        collections = {
            uri
            for uri, stored in self.parents.items()
            if stored is not None
            and uri.startswith(prefix)
            and reads_records(stored.acl, principals)
        }
        return Rights(False, principals, frozenset(kinds), frozenset(collections))


def reads_records(acl: Permissions, principals: frozenset[str]) -> bool:
    """Whether a collection's own permissions let somebody read all its records."""
    return not principals.isdisjoint((*acl.get("read", ()), *acl.get("write", ())))


def _person(user: str) -> str:
    # No URI begins like this.
    return "@" + user


def _as_parent(revision: Revision) -> StoredObject:
    return StoredObject(
        revision.uri, revision.last_modified, revision.position, b"{}", acl=revision.acl
    )


def _regroup(user: str, principals: frozenset[str], revision: Revision) -> frozenset[str]:
    """A user's principals after a group changed, or a bucket went."""
    if not user:
        return principals
    if revision.touched == (ROOT,):
        gone = revision.uri + "/groups/"
        return frozenset(one for one in principals if not one.startswith(gone))
    if revision.action == "delete":
        return principals - {revision.uri}
    own = Actor(user, frozenset(one for one in principals if not one.startswith("/")))
    members = load_json(revision.json).get("members", ())
    joined = {revision.uri} if is_member(own, members) else set()
    return (principals - {revision.uri}) | joined
