"""Views: what all subscribers who see the same of a topic are told. Pure.

A change is judged, filtered and encoded once for a view, whatever the number
of its subscribers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from notifier.authority import Rights, reads_records
from notifier.messages import Options
from notifier.topics import Topic
from server.core.filters import matches
from server.core.json_text import dump_json, load_json
from server.core.paths import ObjectPath, object_path
from server.core.positions import spell_cursor
from server.core.projections import project
from server.core.revisions import Revision

Load: TypeAlias = Callable[[bytes], Mapping[str, Any]]

load_shared: Load = lru_cache(maxsize=16)(load_json)
"""Parses a text once for all views that look at it, one after the other. Not to be changed."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a subscription sees and in which form: equal for those who are told the same.

    Attributes:
        topic: what it is about.
        options: how it is to be told.
        rights: how much of it may be seen.
        event_max_bytes: of an object in an event; a larger one is left out.
    """

    topic: Topic
    options: Options
    rights: Rights
    event_max_bytes: int

    @property
    def key(self) -> object:
        """Equal for those who are told the same."""
        topic, options = self.topic, self.options
        shown = self.rights.principals if "permissions" in options.include else None
        told = (options.deliver, options.include, shown)
        return topic.path.uri, topic.feed, topic.conditions, topic.fields, told, self.rights.sight

    def matches(self, text: bytes) -> bool:
        """Whether an object's text satisfies the filters."""
        conditions = self.topic.conditions
        return not conditions or matches(conditions, load_shared(text))

    def position(self, revision: Revision) -> int:
        """Where a revision stands in the order of the topic's cursor."""
        return revision.seq if self.topic.feed else revision.position

    def sees(self, path: ObjectPath, readers: tuple[str, ...]) -> bool:
        """Whether an object may be seen.

        Args:
            path: the object.
            readers: whom its own permissions let see it.
        """
        rights = self.rights
        if rights.whole or path.kind.name in rights.kinds:
            return True
        if rights.collections and path.kind.name == "record":
            if path.list.parent_uri in rights.collections:
                return True
        return not rights.principals.isdisjoint(readers)

    def show(self, text: bytes) -> bytes:
        """An object's text as this subscription gets it."""
        if self.options.deliver == "ids":
            data = load_shared(text)
            return dump_json({k: data[k] for k in _IDENTITY if k in data})
        fields = self.topic.fields
        return text if fields is None else dump_json(project(load_shared(text), fields))


_IDENTITY = ("id", "last_modified", "deleted")


class Rendered(NamedTuple):
    """An event, but for what differs between subscribers.

    Attributes:
        position: its cursor.
        tail: JSON text of its members; see ``Wire.event``.
        action: what it says.
    """

    position: int
    tail: bytes
    action: str


def render(look: Look, revision: Revision) -> Rendered | None:
    """What a change means to a look; None if it means nothing."""
    path = object_path(revision.uri)
    could = revision.before is not None and look.sees(path, revision.readers_before)
    can = revision.action != "delete" and look.sees(path, revision.readers)
    if not (could or can):
        return None
    shown = can and look.matches(revision.json)
    was_shown = could and revision.before is not None and look.matches(revision.before)
    if could and takes_records(look, path, revision):
        return make_event(look, revision, "delete", old=was_shown)
    if shown:
        if revision.before is None:
            return make_event(look, revision, "create")
        if was_shown:
            return make_event(look, revision, "update", old=True)
        return make_event(look, revision, "enter", "filter" if could else "permission", old=could)
    if not was_shown:
        return None
    if revision.action == "delete":
        return make_event(look, revision, "delete", old=True)
    return make_event(look, revision, "leave", "filter" if can else "permission", old=True)


def takes_records(look: Look, path: ObjectPath, revision: Revision) -> bool:
    """Whether a change of a feed takes all records of a collection with it.

    It is told whether the collection itself matches the filters or not.
    """
    return look.topic.feed and path.kind.name == "collection" and revision.action == "delete"


def is_untold(look: Look, revision: Revision) -> bool:
    """Whether a change of a feed shows or hides records of which no event tells."""
    rights = look.rights
    if not look.topic.feed or rights.whole or "record" in rights.kinds:
        return False
    path = object_path(revision.uri)
    if path.kind.name != "collection":
        return False
    principals = look.rights.principals
    if reads_records(revision.acl_before, principals) != reads_records(revision.acl, principals):
        return True
    return revision.action == "delete" and not look.sees(path, revision.readers_before)


def make_event(
    look: Look, revision: Revision, action: str, reason: str = "", *, old: bool = False
) -> Rendered:
    """Encode an event.

    Args:
        look: for which.
        revision: what was done.
        action: what it means there.
        reason: of an ``enter`` or ``leave``.
        old: whether the subscriber may see the object as it was before.
    """
    path = object_path(revision.uri)
    position = look.position(revision)
    head = b'"cursor":"%b","action":"%b","uri":"%b","resource_name":"%b"' % (
        spell_cursor(position).encode(),
        action.encode(),
        revision.uri.encode(),
        path.kind.name.encode(),
    )
    if reason:
        head += b',"reason":"%b"' % reason.encode()
    body = b"" if look.options.deliver == "poke" else _data(look, revision, path.id, action)
    extra = _extras(look, revision, action, old=old) if look.options.include else b""
    return Rendered(position, b"%b%b%b}" % (head, body, extra), action)


def _data(look: Look, revision: Revision, object_id: str, action: str) -> bytes:
    if action == "leave":
        return b',"data":{"id":"%b"}' % object_id.encode()
    if action == "delete":
        return b',"data":%b' % revision.json
    text = look.show(revision.json)
    if len(text) > look.event_max_bytes:
        return b',"truncated":true'
    return b',"data":%b' % text


def _extras(look: Look, revision: Revision, action: str, *, old: bool) -> bytes:
    include = look.options.include
    extra = b""
    if "user_id" in include:
        extra += b',"user_id":%b' % dump_json(revision.by)
    writers = revision.acl.get("write", ())
    if "permissions" in include and action != "leave":
        if not look.rights.principals.isdisjoint(writers):
            extra += b',"permissions":%b' % dump_json(revision.acl)
    if "old" in include and old and revision.before:
        text = look.show(revision.before)
        if len(text) <= look.event_max_bytes:
            extra += b',"old":%b' % text
    return extra
