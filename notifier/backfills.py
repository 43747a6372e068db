"""What the log says to a subscription that comes back with a cursor."""

from dataclasses import replace

from notifier.authority import Rights
from notifier.topics import Topic
from notifier.views import Look, Rendered, is_untold, make_event, render, takes_records
from server.core.objects import StoredObject
from server.core.paths import ROOT, ListPath, ObjectPath, object_path
from server.core.permissions import Actor, Rules, granting, read_permission
from server.core.positions import CLOCKS_APART_MS, timestamp_of
from server.core.revisions import Revision
from server.core.state import State
from server.storage.base import LogPage, RightsQuery, Snapshot

ROUND_MAX_ENTRIES = 500
"""Entries of the log that are read at a time."""

ROUND_MAX_BYTES = 1 << 20


class Untold(Exception):
    """Something was shown or hidden of which no event tells: a snapshot is needed."""


async def read_round(
    snapshot: Snapshot, look: Look, after: int, upto: int
) -> tuple[list[Rendered], int]:
    """The next events of a backfill.

    Args:
        snapshot: on which all is read; nothing is shown that may not be read there.
        look: of the subscription.
        after: position up to which the log was read before.
        upto: the topic's clock on the snapshot.

    Returns:
        The events, and the position up to which the log has been read now.

    Raises:
        Untold: If no events can tell what happened.
    """
    topic = look.topic
    rights = look.rights
    all_of_it = rights.whole or topic.feed
    page = LogPage(
        topic.scope,
        after,
        upto,
        ROUND_MAX_ENTRIES,
        ROUND_MAX_BYTES,
        None if all_of_it else rights.principals,
        topic.object.uri if topic.object else None,
    )
    entries = await snapshot.log(page)
    if any(is_untold(look, one) for one in entries):
        raise Untold
    stored = await _read_objects(snapshot, entries)
    shape = _render_revision if look.options.history == "all" else _render_latest
    events = [shape(look, stored, one) for one in entries]
    ended = len(entries) < ROUND_MAX_ENTRIES and not _is_full(page, entries)
    read = upto if ended or not entries else look.position(entries[-1])
    return [one for one in events if one is not None], read


def _is_full(page: LogPage, entries: list[Revision]) -> bool:
    size = sum(len(one.json) + len(one.before or b"") for one in entries)
    return size >= page.max_bytes


class _Now:
    """The objects of some entries, as they are on the snapshot."""

    def __init__(self, state: State) -> None:
        self._state = state

    def find(self, revision: Revision) -> StoredObject | None:
        """The object or tombstone, if all it lies in exists."""
        path = object_path(revision.uri)
        if any(self._state.live(step) is None for step in path.ancestors):
            return None
        stored = self._state.get(revision.uri)
        if stored is None:
            return None
        floor = self._state.clock(path.list).floor if path.ancestors else 0
        return stored if stored.position > floor else None


async def _read_objects(snapshot: Snapshot, entries: list[Revision]) -> _Now:
    uris = {step.uri for one in entries for step in object_path(one.uri).chain}
    found = await snapshot.objects(uris, texts=False) if uris else {}
    return _Now(State({uri: found.get(uri) for uri in uris}))


def _sees_now(look: Look, stored: StoredObject) -> bool:
    return look.sees(stored.path, stored.readers)


def _render_revision(look: Look, now: _Now, revision: Revision) -> Rendered | None:
    """One revision of the whole history; of an object that may not be seen any more, its going."""
    rendered = render(look, revision)
    if rendered is None:
        return None
    stored = now.find(revision)
    if stored is not None and _sees_now(look, stored):
        return rendered
    if rendered.action not in ("leave", "delete"):
        return None
    if stored is not None and stored.deleted:
        return rendered
    # That it went is told, but not what it was.
    options = replace(look.options, include=look.options.include - {"old"})
    return render(replace(look, options=options), revision)


def _render_latest(look: Look, now: _Now, revision: Revision) -> Rendered | None:
    """An object's last state, at its last revision; its going, where that came before."""
    stored = now.find(revision)
    if stored is None:
        return None
    path = stored.path
    existed = revision.before is not None
    could = existed and look.sees(path, revision.readers_before)
    can = not stored.deleted and _sees_now(look, stored)
    if could and _ends_what_matched(look, path, revision):
        return make_event(look, revision, "delete")
    if stored.position != revision.position:
        # Not its last: but whoever lost sight of it here, hears of it nowhere else. If it came
        # back into sight, that is told only where it matches the filters.
        lost = could and not look.sees(path, revision.readers)
        is_told = lost and (not can or bool(look.topic.conditions))
        return make_event(look, revision, "leave", "permission") if is_told else None
    if revision.action == "delete":
        return make_event(look, revision, "delete") if could else None
    if not can:
        return make_event(look, revision, "leave", "permission") if could else None
    return _render_visible(look, revision, could=could)


def _ends_what_matched(look: Look, path: ObjectPath, revision: Revision) -> bool:
    """Whether a deletion is to be told even if the object was made again.

    What was made again may not match the filters, though the client holds the old one; and
    what was in a collection went with it.
    """
    if revision.action != "delete":
        return False
    return bool(look.topic.conditions) or takes_records(look, path, revision)


def _render_visible(look: Look, revision: Revision, *, could: bool) -> Rendered | None:
    existed = revision.before is not None
    if not look.matches(revision.json):
        # What it was is not looked up: it may have matched.
        return make_event(look, revision, "leave", "filter") if could else None
    if not existed:
        return make_event(look, revision, "create")
    if could:
        return make_event(look, revision, "update")
    return make_event(look, revision, "enter", "permission")


class Rereading:
    """Tells whether somebody's rights on a topic may have changed since a position."""

    def __init__(self, rules: Rules, topic: Topic, actor: Actor) -> None:
        self._rules = rules
        self._topic = topic
        self._actor = actor

    async def changed(self, snapshot: Snapshot, rights: Rights, since: int) -> bool:
        """Whether they may have; sometimes true where they have not, never the other way.

        A change of rights that came after the last entry of the list at or below the
        position counts as later: the position cannot tell.

        Args:
            snapshot: on which the log is read.
            rights: as of the snapshot.
            since: position in the topic's order.
        """
        seq, date = await self._locate(snapshot, since)
        # Rights through groups that went with their bucket left no other trace.
        own = self._actor.principals if self._actor.user_id else ()
        principals = own if rights.whole else (*own, ROOT)
        uris = tuple(step.uri for step in self._topic.parents)
        query = RightsQuery(self._topic.bucket, uris, principals, seq, date)
        entries = await snapshot.rights_log(query)
        return any(self._matters(one, rights) for one in entries)

    async def _locate(self, snapshot: Snapshot, since: int) -> tuple[int, int]:
        """Since when changes of rights count: ``seq`` in the bucket, date in others."""
        scope = self._topic.scope
        if isinstance(scope, ListPath):
            last = await snapshot.last_entry(scope, since)
            if last is None:
                return 0, 0
            return last.seq, last.date - CLOCKS_APART_MS
        return since, timestamp_of(since) - CLOCKS_APART_MS

    def _matters(self, entry: Revision, rights: Rights) -> bool:
        parents = {step.uri: step for step in self._topic.parents}
        if entry.uri in parents and entry.action == "update":
            return self._grants(entry, rights, before=True) != self._grants(
                entry, rights, before=False
            )
        return bool(entry.touched)

    def _grants(self, entry: Revision, rights: Rights, *, before: bool) -> bool:
        """Whether a parent's own permissions let the reader see all."""
        path = object_path(entry.uri)
        acl = entry.acl_before if before else entry.acl
        stored = StoredObject(entry.uri, 0, 0, b"{}", acl=acl)
        target = self._topic.path.kind.name if not self._topic.feed else "record"
        permission = "read" if self._topic.object is None else read_permission(target)
        granted = granting(self._rules, target, permission, {path.kind.name: stored})
        return not granted.isdisjoint(rights.principals)
