"""Loading: make an object what it is elsewhere, without a question to anybody."""

from dataclasses import replace

from server.core.commands import Advance, Load, Loaded
from server.core.contents import without_assigned
from server.core.effects import Body, Effects
from server.core.errors import ParentMissing
from server.core.json_patch import is_equal
from server.core.objects import Permissions, StoredObject
from server.core.paths import ListPath, ObjectPath, invalid_id
from server.core.positions import make_position, timestamp_of
from server.core.state import State

LOADER = "kintoun:import"
"""User id of who loads, in the log."""


def load(state: State, write: Load, now: int) -> Loaded:
    """Store an object as it is elsewhere, or leave what is here.

    Raises:
        InvalidParameters: If an id in its path is no id.
        ParentMissing: If what it lies in does not exist.
        Unread: If something it depends on was not read.
    """
    path = write.path
    if not path.valid:
        raise invalid_id()
    _check_parents(state, path)
    current = _find(state, path)
    verdict = compare(write, current)
    if verdict is not Loaded.SAME and verdict is not Loaded.NEWER:
        _store(Effects(state, LOADER, now, is_exact=True), write, current)
    return verdict


def advance(state: State, write: Advance) -> None:
    """Move a list's clock on to a timestamp that it has elsewhere; a list that is gone has none.

    Raises:
        Unread: If something it depends on was not read.
    """
    path = write.path
    if any(state.live(step) is None for step in path.ancestors):
        return
    clock = state.clock(path)
    if write.timestamp > timestamp_of(clock.position):
        moved = replace(clock, position=make_position(write.timestamp))
        state.set_clock(path.parent_uri, path.kind.plural, moved)


def _check_parents(state: State, path: ObjectPath | ListPath) -> None:
    for step in path.ancestors:
        if state.live(step) is None:
            raise ParentMissing(step.id, step.kind.name)


def _find(state: State, path: ObjectPath) -> StoredObject | None:
    """What is here: the object, or a tombstone that its list shows."""
    found = state.get(path.uri)
    if found is None or (path.ancestors and found.position <= state.clock(path.list).floor):
        return None
    return found


def compare(write: Load, current: StoredObject | None) -> Loaded:
    """What loading an object comes to.

    Args:
        write: what it is elsewhere.
        current: what it is here, or its tombstone; None if it never was.
    """
    date = write.content.date
    if current is None:
        return Loaded.DELETED if write.deleted else Loaded.CREATED
    if is_same(write, current):
        return Loaded.SAME
    if not write.overwrite and date is not None and current.last_modified > date:
        return Loaded.NEWER
    if write.deleted:
        return Loaded.DELETED
    return Loaded.CREATED if current.deleted else Loaded.UPDATED


def is_same(write: Load, current: StoredObject) -> bool:
    """Whether an object, or its tombstone, is here as it is elsewhere."""
    content = write.content
    if write.deleted != current.deleted or content.date not in (None, current.last_modified):
        return False
    if write.deleted:
        return True
    if content.secret not in (None, current.secret):
        return False
    if content.permissions is not None and not is_same_acl(content.permissions, current.acl):
        return False
    return is_equal(without_assigned(current.data), dict(content.fields or {}))


def is_same_acl(one: Permissions, other: Permissions) -> bool:
    """Whether two ACLs give the same, in whatever order."""
    return {name: set(who) for name, who in one.items() if who} == {
        name: set(who) for name, who in other.items() if who
    }


def _store(effects: Effects, write: Load, current: StoredObject | None) -> None:
    content, path = write.content, write.path
    is_live = current is not None and not current.deleted
    if write.deleted:
        if current is not None and is_live:
            effects.remove(path, current, content.date)
        else:
            effects.bury(path, content.date)
        return
    former = current.acl if current is not None and is_live else {}
    given = former if content.permissions is None else content.permissions
    acl = {name: who for name, who in given.items() if who}
    body = Body(content.fields or {}, content.text, acl, content.date, content.secret)
    if current is not None and is_live:
        effects.change(path, current, body)
    else:
        effects.make(path, body)
