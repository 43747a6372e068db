"""What exists and who may do what, on objects that were read at one instant.

The ledger asks it inside its transaction; a read asks it on its snapshot.
Either way it may raise ``Unread``: whoever asks reads more and asks again.
"""

from dataclasses import dataclass

from server.core.errors import ObjectMissing, ParentMissing, SyncError
from server.core.objects import Clock, StoredObject
from server.core.paths import ListPath, ObjectPath, invalid_id
from server.core.permissions import (
    Actor,
    Rules,
    find_groups,
    granting,
    is_member,
    read_permission,
    refuse,
)
from server.core.state import State

Chain = dict[str, StoredObject]
"""The stored objects of a path, by kind."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An object that its reader may see.

    Attributes:
        object: as it is.
        writable: whether its own ACL names the reader as a writer, who so sees it.
    """

    object: StoredObject
    writable: bool


@dataclass(frozen=True, slots=True)
class ListReading:
    """A list, and how much of it its reader may see.

    Attributes:
        clock: of the list.
        whole: whether the reader may see all objects; else those whose own
            ACL names the reader.
        creatable: whether the reader may add to it, and so may know of it.
    """

    clock: Clock
    whole: bool
    creatable: bool


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges on one state.

    Attributes:
        state: what was read.
        rules: what the operator has set.
    """

    state: State
    rules: Rules

    def may(self, actor: Actor, path: ObjectPath, permission: str, chain: Chain) -> bool:
        """Whether a permission is obtained.

        Args:
            actor: who asks.
            path: the object that is to be read, written or created.
            permission: ``read``, ``write``, ``create`` or ``read:attributes``.
            chain: its stored ancestors, and itself unless the right on the
                whole list is asked for.
        """
        return self._may(actor, path.kind.name, permission, chain)

    def _may(self, actor: Actor, kind: str, permission: str, chain: Chain) -> bool:
        return self._is_among(actor, granting(self.rules, kind, permission, chain))

    def _is_among(self, actor: Actor, principals: set[str]) -> bool:
        """Whether principals include the actor, itself or through a group."""
        if not actor.principals.isdisjoint(principals):
            return True
        return any(self.grants(actor, group) for group in self._read_groups(actor, principals))

    def _read_groups(self, actor: Actor, principals: set[str]) -> list[ObjectPath]:
        groups = find_groups(actor, principals)
        if groups:
            self.state.require(step.uri for group in groups for step in group.chain)
        return groups

    def grants(self, actor: Actor, group: ObjectPath) -> bool:
        """Whether a group exists and the actor is a member of it."""
        if self.state.live(group.ancestors[0]) is None:
            return False
        stored = self.state.live(group)
        return stored is not None and is_member(actor, stored.members)

    def chain(self, actor: Actor, path: ListPath) -> Chain:
        """The ancestors of a list, which must exist.

        Raises:
            ParentMissing: If one does not, and the actor may know.
            Forbidden: If one does not, and the actor may not know.
            MissingAuth: The same for an anonymous actor.
        """
        chain: Chain = {}
        for step in path.ancestors:
            stored = self.state.live(step)
            if stored is None:
                if not self.may(actor, step, "read", chain):
                    raise refuse(actor)
                raise ParentMissing(step.id, step.kind.name)
            chain[step.kind.name] = stored
        return chain

    def read_object(self, actor: Actor, path: ObjectPath) -> Reading:
        """The object, for who may read it.

        Raises:
            ObjectMissing: If it does not exist, for who may read its list.
            SyncError: As ``chain``, and for who may not read it.
        """
        chain = self.chain(actor, path.list)
        stored = self.state.live(path)
        if stored is None:
            raise self.missing(actor, path, chain)
        chain[path.kind.name] = stored
        if not self.may(actor, path, read_permission(path.kind.name), chain):
            raise refuse(actor)
        return Reading(stored, self.is_named_writer(actor, stored))

    def missing(self, actor: Actor, path: ObjectPath, chain: Chain) -> SyncError:
        """The error for an object that does not exist.

        Args:
            actor: who asks; who may not read the list is not told.
            path: the object.
            chain: its ancestors, which exist.
        """
        if not self.may(actor, path, "read", chain):
            return refuse(actor)
        return ObjectMissing(path.id, path.kind.name) if path.valid else invalid_id()

    def is_named_writer(self, actor: Actor, stored: StoredObject) -> bool:
        """Whether the object's own ACL lets the actor write it.

        Such an actor is shown its permissions; one who may write it by an
        ancestor's ACL or by a setting is not.
        """
        writers = set(stored.acl.get("write", ()))
        return self._is_among(actor, writers)

    def read_list(self, actor: Actor, path: ListPath, permission: str = "read") -> ListReading:
        """How much of a list the actor has a permission on.

        Raises:
            SyncError: As ``chain``. Who has no right on the whole list is told
                nothing yet: single objects may be shared.
        """
        chain = self.chain(actor, path)
        kind = path.kind.name
        return ListReading(
            self.state.clock(path),
            self._may(actor, kind, permission, chain),
            self._may(actor, kind, "create", chain),
        )

    def check_access(self, actor: Actor, path: ListPath | ObjectPath, *, writes: bool) -> None:
        """Check, before somebody is told what is wrong with a request, that they may know.

        Args:
            actor: who asks.
            path: what the request is about; its ids may be malformed.
            writes: whether it would write.

        Raises:
            SyncError: As for a request with nothing wrong.
        """
        if isinstance(path, ListPath):
            chain = self.chain(actor, path)
            if writes and not self._may(actor, path.kind.name, "create", chain):
                raise refuse(actor)
            return
        chain = self.chain(actor, path.list)
        stored = self.state.live(path)
        if stored is not None:
            chain[path.kind.name] = stored
            permission = "write" if writes else read_permission(path.kind.name)
        else:
            permission = "create" if writes else "read"
        if not self._may(actor, path.kind.name, permission, chain):
            raise refuse(actor)
