"""Decide a write on the state that the transaction read.

Pure: permissions, preconditions, patches, positions. Time and ids come in as
arguments. Nothing that is decided here may be decided before.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from server.core.commands import (
    Advance,
    Change,
    Create,
    Ensure,
    Flush,
    Forget,
    ListOutcome,
    Load,
    Outcome,
    Remove,
    RemoveMany,
    Replace,
    Target,
    Trim,
    Verdict,
    Write,
)
from server.core.contents import (
    NOTHING,
    Content,
    check_size,
    complete_data,
    mismatched_id,
    parse_date,
    without_assigned,
)
from server.core.effects import Body, Effects
from server.core.errors import ModifiedMeanwhile
from server.core.filters import matches
from server.core.forgetting import forget
from server.core.json_text import dump_json
from server.core.judge import Chain, Judge
from server.core.loads import advance, load
from server.core.objects import Permissions, StoredObject
from server.core.patches import apply_patch, gives_data
from server.core.paths import ROOT, ROOT_LISTS, ObjectPath, invalid_id, object_path
from server.core.permissions import Actor, read_permission, refuse
from server.core.positions import spell_etag, timestamp_of
from server.core.preconditions import ANY, is_refused
from server.core.state import State
from server.core.trims import trim


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides writes on one state.

    Attributes:
        judge: of what was read, and what was decided so far.
        now: the server's time, in ms.
    """

    judge: Judge
    now: int

    @property
    def state(self) -> State:
        """What the decisions change."""
        return self.judge.state

    def decide(self, write: Write) -> Verdict:
        """Apply a write to the state, or refuse it.

        Raises:
            SyncError: If it is refused.
            Unread: If something it depends on was not read. After either the
                caller undoes what was done so far.
        """
        match write:
            case Create():
                return self._create(write)
            case Replace():
                return self._replace(write)
            case Change():
                return self._change(write)
            case Remove():
                return self._remove(write)
            case RemoveMany():
                return self._remove_many(write)
            case Ensure(actor, path):
                self._ensure(actor, path.chain)
            case _:
                return self._operate(write)
        return None

    def _operate(self, write: Flush | Load | Advance | Trim | Forget) -> Verdict:
        """What the operator wants, or what is about more than objects."""
        match write:
            case Load():
                return load(self.state, write, self.now)
            case Advance():
                return advance(self.state, write)
            case Trim():
                return trim(self.judge, write, self.now)
            case Forget():
                return forget(self.state, write, self.now)
            case Flush():
                return self._flush(write)

    def _create(self, write: Create) -> Outcome:
        target = write.target
        actor, path = target.actor, self._free_path(write)
        chain = self.judge.chain(actor, path.list)
        if not self.judge.may(actor, path, "create", chain):
            raise refuse(actor)
        current = self.state.live(path)
        if current is None:
            self._check(target, None, chain)
            return self._make(actor, path, write.content, chain)
        chain[path.kind.name] = current
        self._check(target, current, chain)
        if not self.judge.may(actor, path, read_permission(path.kind.name), chain):
            raise refuse(actor)
        writable = self.judge.is_named_writer(actor, current)
        return Outcome(current, before=current, writable=writable)

    def _free_path(self, write: Create) -> ObjectPath:
        path = write.target.path
        while write.new_id is not None and self.state.get(path.uri) is not None:
            path = path.list.object(self.state.spare_id(path.uri, write.new_id))
        return path

    def _replace(self, write: Replace) -> Outcome:
        target, content = write.target, write.content
        actor, path = target.actor, target.path
        chain = self.judge.chain(actor, path.list)
        current = self.state.live(path)
        if current is None:
            if not self.judge.may(actor, path, "create", chain):
                raise refuse(actor)
            self._check(target, None, chain)
            return self._make(actor, path, content, chain)
        chain[path.kind.name] = current
        if not self._may_replace(target, chain):
            raise refuse(actor)
        self._check(target, current, chain)
        acl = self._own(actor, path, content.permissions or current.acl)
        if content.fields is None:
            fields = without_assigned(current.data)
            body = Body(fields, dump_json(fields), acl, secret=content.secret)
        else:
            body = Body(content.fields, content.text, acl, content.date, content.secret)
            body = self._validated(path, body, chain)
        changed = self._effects(actor).change(path, current, body)
        self._check_room(path, current, changed)
        writable = self.judge.is_named_writer(actor, changed)
        return Outcome(changed, before=current, writable=writable)

    def _may_replace(self, target: Target, chain: Chain) -> bool:
        if self.judge.may(target.actor, target.path, "write", chain):
            return True
        # Who may create is told that there is something already (API 1.11).
        refused_anyway = target.precondition.none_match == ANY
        return refused_anyway and self.judge.may(target.actor, target.path, "create", chain)

    def _change(self, write: Change) -> Outcome:
        target, path = write.target, write.target.path
        current, chain = self._existing(target)
        patched = apply_patch(write.patch, dict(current.data), current.acl)
        if patched.data.get("id", path.id) != path.id:
            raise mismatched_id()
        kept = patched.data.get("last_modified") == current.last_modified
        date = None if kept else parse_date(patched.data)
        fields = complete_data(path.kind.name, without_assigned(patched.data))
        rest = dump_json(fields)
        check_size(rest)
        acl = current.acl if patched.permissions is None else patched.permissions
        acl = self._own(target.actor, path, acl)
        body = Body(fields, rest, acl, date, write.secret)
        if gives_data(write.patch):
            body = self._validated(path, body, chain)
        changed = self._effects(target.actor).change(path, current, body)
        self._check_room(path, current, changed)
        writable = self.judge.is_named_writer(target.actor, changed)
        return Outcome(changed, before=current, writable=writable, sent=patched.sent)

    def _remove(self, write: Remove) -> Outcome:
        current, _ = self._existing(write.target)
        effects = self._effects(write.target.actor)
        tombstone = effects.remove(write.target.path, current, write.date)
        return Outcome(tombstone, before=current)

    def _remove_many(self, write: RemoveMany) -> ListOutcome:
        paths = [write.path.object(object_id) for object_id in write.ids]
        # All at once: one by one, all would be decided again for each that is read.
        self.state.require(path.uri for path in (*write.path.ancestors, *paths))
        chain = self.judge.chain(write.actor, write.path)
        stamp = timestamp_of(self.state.clock(write.path).position)
        if is_refused(write.precondition, stamp):
            raise ModifiedMeanwhile(spell_etag(stamp))
        effects = self._effects(write.actor)
        tombstones = []
        for path in paths:
            current = self.state.live(path)
            if current is None or not matches(write.conditions, current.data):
                continue
            if self.judge.may(write.actor, path, "write", {**chain, path.kind.name: current}):
                tombstones.append(effects.remove(path, current))
        return ListOutcome(tuple(tombstones), self.state.clock(write.path).position)

    def _ensure(self, actor: Actor, steps: Iterable[ObjectPath]) -> None:
        for step in steps:
            if self.state.live(step) is None:
                # Nobody has written it, so nobody could have written it otherwise.
                self._make(actor, step, NOTHING, None)

    def _flush(self, write: Flush) -> bool:
        """Remove objects; True once none is left and the new epoch has begun."""
        effects = Effects(self.state, "", self.now)
        for uri in write.uris:
            path = object_path(uri)
            current = self.state.live(path)
            if current is not None:
                effects.remove(path, current)
        self.state.require((ROOT,))
        if any(self.state.clock_of(ROOT, plural).live for plural in ROOT_LISTS):
            return False
        self.state.renew(write.epoch)
        return True

    def _existing(self, target: Target) -> tuple[StoredObject, Chain]:
        """The object that a PATCH or DELETE is about, if it may proceed, and all of its path."""
        actor, path = target.actor, target.path
        chain = self.judge.chain(actor, path.list)
        current = self.state.live(path)
        if current is None:
            raise self.judge.missing(actor, path, chain)
        chain[path.kind.name] = current
        if not self.judge.may(actor, path, "write", chain):
            raise refuse(actor)
        self._check(target, current, chain)
        return current, chain

    def _check(self, target: Target, current: StoredObject | None, chain: Chain) -> None:
        """Check the precondition of a write that is permitted."""
        if not is_refused(target.precondition, current.last_modified if current else None):
            return
        if current is None:
            stamp = timestamp_of(self.state.clock(target.path.list).position)
            raise ModifiedMeanwhile(spell_etag(stamp))
        readable = read_permission(target.path.kind.name)
        visible = self.judge.may(target.actor, target.path, readable, chain)
        etag = spell_etag(current.last_modified)
        raise ModifiedMeanwhile(etag if visible else None, current.data if visible else None)

    def _make(
        self, actor: Actor, path: ObjectPath, content: Content, chain: Chain | None
    ) -> Outcome:
        if not path.valid:
            raise invalid_id()
        acl = self._own(actor, path, content.permissions or {})
        body = Body(content.fields or {}, content.text, acl, content.date, content.secret)
        if chain is not None:
            body = self._validated(path, body, chain)
        made = self._effects(actor).make(path, body)
        self._check_room(path, None, made)
        return Outcome(made, created=True, writable=self.judge.is_named_writer(actor, made))

    def _own(self, actor: Actor, path: ObjectPath, acl: Permissions) -> Permissions:
        """The ACL with its writer in it, where the settings say so."""
        acl = {name: principals for name, principals in acl.items() if principals}
        writers = acl.get("write", ())
        owns = path.kind.is_shared and self.judge.rules.explicit_permissions
        if owns and actor.owner not in writers:
            acl["write"] = (*writers, actor.owner)
        return acl

    def _validated(self, path: ObjectPath, body: Body, chain: Chain) -> Body:
        """What is stored of a body that is valid under the schemas of what it lies in."""
        schemas = self.judge.rules.schemas
        if schemas is None or not path.ancestors:
            return body
        fields = schemas.check(path, body.fields, body.rest, chain)
        return (
            body if fields is body.fields else replace(body, fields=fields, rest=dump_json(fields))
        )

    def _check_room(
        self, path: ObjectPath, before: StoredObject | None, after: StoredObject
    ) -> None:
        quotas = self.judge.rules.quotas
        if quotas is not None and path.kind.is_shared:
            quotas.check(self.state, path, before, after)

    def _effects(self, actor: Actor) -> Effects:
        return Effects(self.state, actor.user_id, self.now)
