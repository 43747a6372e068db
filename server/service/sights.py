"""What somebody may see of a bucket's history.

Who may read the bucket sees all of it. Others see what was done to objects that named
them then, and all that was done in collections that they may read now.
"""

from dataclasses import dataclass

from server.core.judge import Judge
from server.core.objects import Clock, Permissions, StoredObject
from server.core.paths import FEED, ObjectPath
from server.core.permissions import Actor
from server.core.revisions import Revision
from server.core.trims import check_writable, lists_in
from server.storage.reader import Reader


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody may see of a history.

    Attributes:
        clock: of everything in the bucket.
        whole: whether all of it.
        principals: of the reader, groups as of now.
        lists: URIs of lists of records all of which the reader may see.
        records: whether all records are among what they may see.
        something: whether there is anything in the bucket that they may see now.
    """

    clock: Clock
    whole: bool
    principals: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    records: bool = False
    something: bool = True

    @property
    def needs_all(self) -> bool:
        """Whether what is seen cannot be told by who could read the objects."""
        return self.whole or self.records

    def shows(self, revision: Revision) -> bool:
        """Whether an entry is seen: by who could see the object after it, or its going."""
        if self.whole or revision.list in self.lists:
            return True
        if self.records and revision.list.endswith("/records"):
            return True
        seen = revision.readers_before if revision.action == "delete" else revision.readers
        return not self.principals.isdisjoint(seen)

    def shown_acl(self, revision: Revision) -> Permissions:
        """What of an object's permissions is seen: to its own writers all, to others nothing."""
        own = not self.principals.isdisjoint(revision.acl.get("write", ()))
        return revision.acl if self.whole or own else {}


async def find_sight(reader: Reader, actor: Actor, bucket: ObjectPath) -> Sight:
    """What an actor may see of a bucket's history.

    Raises:
        SyncError: If the bucket is not there; who may not know is told nothing else.
    """
    stored = await reader.ask([bucket.uri], lambda judge: _find_bucket(judge, actor, bucket))
    clock = stored.clocks[FEED]
    if await reader.ask((), lambda judge: _is_reader(judge, actor, stored)):
        return Sight(clock, whole=True)
    principals = await reader.principals(actor)
    named = await reader.snapshot.named(principals)
    here = [one for one in named if one.path.bucket == bucket.id and one.path.kind.is_shared]
    uris = {step.uri for one in here for step in one.path.chain}
    living = await reader.ask(uris, lambda judge: _living(judge, here))
    rules = reader.judge.rules
    lists = {
        f"{one.uri}/records"
        for one in living
        if one.path.kind.name == "collection"
        and not principals.isdisjoint((*one.acl.get("read", ()), *one.acl.get("write", ())))
    }
    return Sight(
        clock,
        whole=False,
        principals=principals,
        lists=frozenset(lists),
        records=not principals.isdisjoint(rules.everywhere("record", "read")),
        something=any(not principals.isdisjoint(one.readers) for one in living),
    )


def _find_bucket(judge: Judge, actor: Actor, bucket: ObjectPath) -> StoredObject:
    chain = judge.chain(actor, lists_in(bucket))
    return chain["bucket"]


def _is_reader(judge: Judge, actor: Actor, stored: StoredObject) -> bool:
    granted = judge.rules.grants.get("history:read", frozenset())
    if not actor.principals.isdisjoint(granted):
        return True
    return judge.may(actor, stored.path, "read", {"bucket": stored})


def _living(judge: Judge, found: list[StoredObject]) -> list[StoredObject]:
    return [
        one for one in found if all(judge.state.live(step) is not None for step in one.path.chain)
    ]


async def check_trimmable(reader: Reader, actor: Actor, bucket: ObjectPath) -> Clock:
    """Check that an actor may take entries out of a bucket's history.

    Returns:
        The clock of everything in the bucket.

    Raises:
        SyncError: If not, or the bucket is not there.
    """
    await reader.ask([bucket.uri], lambda judge: check_writable(judge, actor, bucket))
    return reader.judge.state.clock_of(bucket.uri, FEED)
