"""Read, on one snapshot, what a subscription needs to stand on."""

from notifier.authority import Authority, Rights
from notifier.hub import Ground
from notifier.topics import Topic
from server.core.errors import ObjectMissing, SyncError
from server.core.judge import Judge
from server.core.objects import Clock, StoredObject
from server.core.paths import KINDS, ListPath
from server.core.permissions import Actor, Rules, refuse
from server.core.sorting import DEFAULT_ORDER
from server.core.state import State
from server.storage.base import Page, Snapshot
from server.storage.reader import Reader


class Surveyor:
    """Reads grounds.

    Attributes:
        rules: what the operator has set about permissions.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    async def read(
        self, snapshot: Snapshot, topic: Topic, actor: Actor, *, begun: bool = False
    ) -> Ground:
        """The ground of a subscription; refusals are told in it, not raised.

        Args:
            snapshot: on which everything is read.
            topic: what it is about.
            actor: who reads.
            begun: whether it was let in before: then an object that is gone meanwhile
                is no reason to refuse it.

        Raises:
            Unavailable: If the database cannot be reached.
        """
        reader = Reader(snapshot, self.rules)
        try:
            await self._check(reader, topic, actor, begun=begun)
            denied = None
        except SyncError as error:
            if error.status >= 500:
                raise
            denied = error
        authority = await self._learn(reader, topic, actor)
        if denied is not None:
            return Ground(snapshot.at, authority, denied=denied)
        rights = authority.rights(topic, actor)
        denied = await self._check_share(snapshot, topic, actor, rights, reader.judge)
        clock = _clock(reader.judge.state, topic)
        return Ground(snapshot.at, authority, clock, denied, rights)

    async def _check(self, reader: Reader, topic: Topic, actor: Actor, *, begun: bool) -> None:
        """Check what GET of the path would, but for single objects of a list."""
        path = topic.path
        own = [] if topic.object is None else [topic.object.uri]
        uris = [path.uri] if topic.feed else [step.uri for step in topic.parents] + own
        uris = list(dict.fromkeys([*uris, topic.clock[0]]))
        if topic.object is None:
            inside = topic.list if not topic.feed else _any_list(topic)
            await reader.ask(uris, lambda judge: judge.read_list(actor, inside))
            return
        target = topic.object
        try:
            await reader.ask(uris, lambda judge: judge.read_object(actor, target))
        except ObjectMissing:
            if not begun:
                raise

    async def _learn(self, reader: Reader, topic: Topic, actor: Actor) -> Authority:
        """What follows the changes from this instant on."""
        authority = Authority(self.rules)
        parents = await reader.ask((), lambda judge: _living(judge.state, topic))
        authority.parents.update(parents)
        principals = await reader.principals(actor)
        authority.people[actor.user_id] = principals
        if topic.feed:
            authority.feeds.add(topic.bucket)
            found = await reader.snapshot.named(principals)
            prefix = topic.path.uri + "/collections/"
            mine = [one for one in found if one.uri.startswith(prefix)]
            for one in mine:
                if one.path.kind.name == "collection" and _is_live(reader.judge.state, one):
                    authority.parents[one.uri] = one
        return authority

    async def _check_share(
        self, snapshot: Snapshot, topic: Topic, actor: Actor, rights: Rights, judge: Judge
    ) -> SyncError | None:
        """Refuse who sees nothing at all of a list or a bucket, as GET does."""
        if rights.whole or topic.object is not None:
            return None
        if topic.feed:
            if rights.kinds or rights.collections or await _shared(snapshot, topic, rights, judge):
                return None
            return refuse(actor)
        if judge.read_list(actor, topic.list).creatable:
            return None
        floor = _clock(judge.state, topic).floor
        page = Page(topic.list, floor, (), DEFAULT_ORDER, 1, readers=rights.principals)
        return None if await snapshot.page(page) else refuse(actor)


async def _shared(snapshot: Snapshot, topic: Topic, rights: Rights, judge: Judge) -> bool:
    """Whether any object of a feed's bucket is shared with the reader."""
    return bool(await shared_objects(snapshot, topic, rights, judge.state))


async def shared_objects(
    snapshot: Snapshot, topic: Topic, rights: Rights, state: State
) -> list[StoredObject]:
    """The objects of a feed's bucket that name the reader in their own permissions."""
    uri = topic.path.uri
    found = await snapshot.named(rights.principals)
    inside = [one for one in found if one.uri == uri or one.uri.startswith(uri + "/")]
    wanted = {step.uri for one in inside for step in one.path.chain}
    missing = await snapshot.objects(wanted)
    state.add_read({one: missing.get(one) for one in wanted})
    return [
        one
        for one in inside
        if state_live(state, one) and not rights.principals.isdisjoint(one.readers)
    ]


def state_live(state: State, stored: StoredObject) -> bool:
    """Whether an object and all it lies in exist; all of them were read."""
    return all(state.live(step) is not None for step in stored.path.chain)


def _is_live(state: State, collection: StoredObject) -> bool:
    """Whether a collection, whose bucket was read, exists."""
    bucket = state.live(collection.path.ancestors[0])
    if bucket is None or collection.deleted:
        return False
    return collection.position > state.clock(collection.path.list).floor


def _living(state: State, topic: Topic) -> dict[str, StoredObject | None]:
    """The parents as they are; below one that is gone there is nothing."""
    living: dict[str, StoredObject | None] = {}
    gone = False
    for step in topic.parents:
        living[step.uri] = None if gone else state.live(step)
        gone = gone or living[step.uri] is None
    return living


def _clock(state: State, topic: Topic) -> Clock:
    return state.clock_of(*topic.clock)


def _any_list(topic: Topic) -> ListPath:
    """A list of a feed's bucket: who may read one is judged by the bucket."""
    kind = KINDS["group"]
    return ListPath(kind, f"{topic.path.uri}/{kind.plural}", topic.parents)
