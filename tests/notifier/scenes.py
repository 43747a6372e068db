"""What tests of live changes are told in: changes that the core made, subscriptions, outlets."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from notifier.authority import Authority, Rights
from notifier.hub import Ground, Hub
from notifier.messages import Options
from notifier.subscriptions import Subscription
from notifier.topics import Topic, parse_topic, split_target
from notifier.wires import WebSocketWire
from server.core.commands import Write
from server.core.decisions import Decider
from server.core.errors import SyncError
from server.core.json_text import dump_json, load_json
from server.core.judge import Judge
from server.core.objects import Clock, StoredObject, make_root
from server.core.paths import ROOT, object_path
from server.core.permissions import Actor, Rules, make_actor, readers_of
from server.core.positions import make_position
from server.core.revisions import Action, Revision
from server.core.state import State as CoreState
from server.core.state import Unread
from server.storage.base import Change

ADMIN = make_actor("admin")
BOB = make_actor("bob")
CAROL = make_actor("carol")

_KINDS = ("bucket", "collection", "group", "record")
RULES = Rules(
    {f"{kind}:{right}": frozenset(["admin"]) for kind in _KINDS for right in ("write", "create")},
    explicit_permissions=False,
)
"""The admin may do everything; others only what ACLs say."""

BUCKET = "/buckets/b"
LIST = f"{BUCKET}/collections/c/records"
RECORD = f"{LIST}/r"
GROUP = f"{BUCKET}/groups/g"
COLLECTION = f"{BUCKET}/collections/c"
FEED = f"{BUCKET}/changes"

Acl = Mapping[str, Iterable[str]]


def topic_of(target: str) -> Topic:
    """The topic of a path with a query string."""
    return parse_topic(*split_target(target))


def rights_of(actor: Actor, *groups: str, whole: bool = False) -> Rights:
    return Rights(whole, actor.principals | set(groups))


def make_text(uri: str, modified: int, data: Mapping[str, Any]) -> bytes:
    return dump_json({"id": object_path(uri).id, "last_modified": modified, **data})


def make_revision(
    uri: str = RECORD,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    acl_before: Acl | None = None,
    acl: Acl | None = None,
    **more: Any,
) -> Revision:
    """An entry of the log; a deletion if there is nothing after it.

    It is the second change of its list, at 2, and the seventh of its bucket; the
    first was at 1. ``more`` are attributes that shall be otherwise.
    """
    path = object_path(uri)
    action: Action = "delete" if after is None else "create" if before is None else "update"
    former = {name: tuple(who) for name, who in (acl_before or {}).items()}
    rights = {name: tuple(who) for name, who in (acl or {}).items()} if after is not None else {}
    made = Revision(
        uri=uri,
        list=path.list.uri,
        bucket=path.bucket,
        seq=make_position(7),
        position=make_position(2),
        action=action,
        by="admin",
        date=2,
        last_modified=2,
        before=None if before is None else make_text(uri, 1, before),
        json=make_text(uri, 2, {"deleted": True} if after is None else after),
        acl=rights,
        acl_before=former if before is not None else {},
        readers=readers_of(path.kind.name, rights),
        readers_before=readers_of(path.kind.name, former) if before is not None else (),
    )
    return replace(made, **more)


def make_parent(uri: str, acl: Acl | None = None) -> StoredObject:
    """A bucket or collection as the authority needs it."""
    rights = {name: tuple(who) for name, who in (acl or {}).items()}
    return StoredObject(uri, 1, make_position(1), b"{}", acl=rights)


class World:
    """A database of one process, which keeps the changes of its commits.

    Attributes:
        at: instant of the last commit.
        now: the server's time, in ms.
    """

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules = rules
        self.at = 0
        self.now = 1000
        self._objects: dict[str, StoredObject | None] = {ROOT: make_root(self.now, "e1")}

    def commit(self, *writes: Write) -> list[Change]:
        """What writes that are committed together did; those that are refused do nothing."""
        state = CoreState({})
        decider = Decider(Judge(state, self.rules), self.now)
        for write in writes:
            self._decide(decider, write)
        self._objects.update(state.finished())
        self.now += 1
        if state.revisions:
            self.at += 1
        return [Change(self.at, revision) for revision in state.revisions]

    def _decide(self, decider: Decider, write: Write) -> None:
        for _ in range(20):
            mark = decider.state.mark()
            try:
                decider.decide(write)
            except SyncError:
                decider.state.undo(mark)
                return
            except Unread as unread:
                decider.state.undo(mark)
                decider.state.add_read({uri: self._objects.get(uri) for uri in unread.uris})
            else:
                return
        raise AssertionError("the decision comes to no end")


def decode_frame(frame: bytes) -> dict[str, Any]:
    """The message in an unmasked text frame."""
    length, start = frame[1], 2
    if length == 126:
        length, start = int.from_bytes(frame[2:4], "big"), 4
    assert frame[0] == 0x81
    assert len(frame) == start + length
    message: dict[str, Any] = load_json(frame[start:])
    return message


class RecordingOutlet:
    """Keeps what it is given.

    Attributes:
        events: messages that were pushed.
        frames: the same as frames.
        prevs: the cursors before them.
        pokes: positions.
        lost: subscriptions that were lost, by name, and why.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.prevs: list[int] = []
        self.pokes: list[int] = []
        self.lost: list[tuple[str, SyncError | None]] = []

    async def send(self, frame: bytes) -> None:
        raise AssertionError("the hub does not wait")

    def put(self, frame: bytes) -> None:
        raise AssertionError("the hub pushes")

    def push(self, frame: bytes, subscription: Subscription, prev: int) -> None:
        self.events.append(decode_frame(frame))
        self.frames.append(frame)
        self.prevs.append(prev)

    def poke(self, subscription: Subscription, position: int) -> None:
        self.pokes.append(position)

    def lose(self, subscription: Subscription, error: SyncError | None) -> None:
        self.lost.append((subscription.name, error))

    @property
    def told(self) -> list[tuple[str, str]]:
        """Name of the subscription and action of each event."""
        return [(one["sub"], one["action"]) for one in self.events]


def make_subscription(
    target: str = LIST,
    actor: Actor = BOB,
    outlet: RecordingOutlet | None = None,
    options: Options = Options(),  # noqa: B008
    name: str = "s",
) -> Subscription:
    outlet = RecordingOutlet() if outlet is None else outlet
    return Subscription(name, topic_of(target), options, actor, outlet, WebSocketWire())


def make_ground(
    subscription: Subscription,
    at: int,
    parents: Mapping[str, Acl | None],
    groups: Iterable[str] = (),
) -> Ground:
    """What was read for a subscription.

    Args:
        subscription: for which.
        at: when.
        parents: ACLs of all that counts, and perhaps more, by URI; None for one that
            does not exist.
        groups: that its actor is in.
    """
    topic, actor = subscription.topic, subscription.actor
    authority = Authority(RULES)
    needed = {step.uri for step in topic.parents}
    for uri, acl in parents.items():
        if uri in needed or topic.feed:
            authority.parents[uri] = None if acl is None else make_parent(uri, acl)
    authority.people[actor.user_id] = actor.principals | set(groups)
    if topic.feed:
        authority.feeds.add(topic.bucket)
    denied = authority.find_missing(topic)
    if denied is not None:
        return Ground(at, authority, denied=denied)
    return Ground(at, authority, Clock(make_position(1)), rights=authority.rights(topic, actor))


def enter(hub: Hub, subscription: Subscription, ground: Ground) -> Subscription:
    """Let a subscription join what is told, from its ground on."""
    hold = hub.hold()
    assert hub.is_current(hold, ground.at)
    subscription.cursor = ground.clock.position
    hub.join(subscription, hold, ground)
    hub.release(hold)
    return subscription


def is_empty(hub: Hub) -> bool:
    """Whether nothing is left of those who were there."""
    authority = hub._authority
    known = (authority.parents, authority.people, authority.feeds, authority._ahead)
    indexes = (hub._views, hub._by_place, hub._by_parent, hub._by_user, hub._waiting)
    kept = (hub._backlog._holds, hub._backlog)
    return not any((*known, *indexes, *kept, hub.count))


OPEN: Mapping[str, Acl | None] = {BUCKET: {"read": ["bob", "carol", GROUP]}, COLLECTION: {}}
SHUT: Mapping[str, Acl | None] = {BUCKET: {}, COLLECTION: {}}
SHARED = {"read": ["bob"]}


def make_hub(at: int = 0) -> Hub:
    return Hub(RULES, 1000, at)


def change(at: int, uri: str = RECORD, *states: Any, **more: Any) -> Change:
    """A change at an instant and, unless said otherwise, a position in its list of that number."""
    places = {"position": make_position(at), "seq": make_position(at)}
    return Change(at, make_revision(uri, *states, **{**places, **more}))


def create(at: int, **more: Any) -> Change:
    return change(at, RECORD, None, {}, **more)


def let_in(
    hub: Hub,
    target: str = LIST,
    at: int = 0,
    parents: Mapping[str, Acl | None] = OPEN,
    groups: tuple[str, ...] = (),
    **more: Any,
) -> tuple[Subscription, RecordingOutlet]:
    """A subscription that has joined, and its outlet."""
    outlet = more.pop("outlet", None) or RecordingOutlet()
    subscription = make_subscription(target, outlet=outlet, **more)
    enter(hub, subscription, make_ground(subscription, at, parents, groups))
    return subscription, outlet


def let_wait(
    hub: Hub, target: str = LIST, parents: Mapping[str, Acl | None] = SHUT, **more: Any
) -> tuple[Subscription, RecordingOutlet]:
    """A subscription that waits to be let in, and its outlet."""
    outlet = RecordingOutlet()
    subscription = make_subscription(target, outlet=outlet, **more)
    hold = hub.hold()
    assert hub.wait(subscription, hold, make_ground(subscription, hub.at, parents))
    hub.release(hold)
    return subscription, outlet


def join_late(changes: list[Change], target: str = LIST, **more: Any) -> tuple[Any, ...]:
    """Hub, subscription and outlet of who joins, as of 0, after these changes."""
    parents = more.pop("parents", OPEN)
    outlet = more.pop("outlet", None) or RecordingOutlet()
    hub, subscription = make_hub(), make_subscription(target, outlet=outlet, **more)
    hold = hub.hold()
    for one in changes:
        hub.route(one)
    hub.join(subscription, hold, make_ground(subscription, 0, parents, [GROUP]))
    hub.release(hold)
    return hub, subscription, outlet


class FullOutlet(RecordingOutlet):
    """Lets its subscriptions go with the first thing that it is given."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.hub = hub
        self.carried: list[Subscription] = []

    def push(self, frame: bytes, subscription: Subscription, prev: int) -> None:
        super().push(frame, subscription, prev)
        self.let_go()

    def lose(self, subscription: Subscription, error: SyncError | None) -> None:
        super().lose(subscription, error)
        self.let_go()

    def let_go(self) -> None:
        for one in self.carried:
            one.cursor = make_position(1)
            self.hub.leave(one)


def fill(hub: Hub, *targets: str) -> FullOutlet:
    outlet = FullOutlet(hub)
    for index, target in enumerate(targets):
        subscription, _ = let_in(hub, target, outlet=outlet, name=f"s{index}")
        outlet.carried.append(subscription)
    return outlet
