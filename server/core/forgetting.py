"""Forgetting: remove what is a principal's alone, and its name from everything else."""

from server.core.commands import Forget
from server.core.contents import without_assigned
from server.core.effects import Body, Effects
from server.core.json_text import dump_json
from server.core.objects import Permissions, StoredObject
from server.core.paths import ObjectPath, object_path
from server.core.state import State


def forget(state: State, write: Forget, now: int) -> int:
    """Forget a principal in some objects: how many of them changed.

    What is gone, or lies in what is gone, is left as it is.

    Raises:
        Unread: If something it depends on was not read.
    """
    paths = [object_path(uri) for uri in write.uris]
    # All at once: one by one, all would be decided again for each that is read.
    state.require(step.uri for path in paths for step in path.chain)
    effects = Effects(state, write.actor.user_id, now)
    changed = 0
    for path in paths:
        if any(state.live(step) is None for step in path.ancestors):
            continue
        current = state.live(path)
        if current is not None and _forget_in(effects, path, current, write.principal):
            changed += 1
    return changed


def _forget_in(effects: Effects, path: ObjectPath, current: StoredObject, principal: str) -> bool:
    if set(current.acl.get("write", ())) == {principal}:
        effects.remove(path, current)
        return True
    acl, fields = _without(current.acl, principal), without_assigned(current.data)
    if principal in (current.members or ()):
        fields["members"] = [one for one in fields["members"] if one != principal]
    elif acl == dict(current.acl):
        return False
    effects.change(path, current, Body(fields, dump_json(fields), acl))
    return True


def _without(acl: Permissions, principal: str) -> Permissions:
    left = {name: tuple(one for one in who if one != principal) for name, who in acl.items()}
    return {name: who for name, who in left.items() if who}
