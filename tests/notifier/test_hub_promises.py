"""Whatever happens, and in whatever order: readers hold what they may see, and nothing else."""

from itertools import product
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from notifier.authority import Authority
from notifier.backlogs import Hold
from notifier.hub import Ground, Hub
from notifier.messages import Options
from notifier.subscriptions import State, Subscription
from notifier.wires import WebSocketWire
from server.core.commands import Write
from server.core.errors import Forbidden, SyncError
from server.core.objects import Clock
from server.core.permissions import ANONYMOUS, GRANTABLE
from server.core.positions import parse_cursor
from tests.notifier.models import Chronicle, Moment, Thing, kind_of
from tests.notifier.scenes import (
    ADMIN,
    BOB,
    CAROL,
    RULES,
    World,
    decode_frame,
    is_empty,
    make_parent,
    topic_of,
)
from tests.server.storage.scenes import delete, put

PARENTS = ("/buckets/b", "/buckets/b/collections/c", "/buckets/b/collections/d")
GROUPS = ("/buckets/b/groups/g", "/buckets/e/groups/h")
OBJECTS = (
    "/buckets/b/collections/c/records/r",
    "/buckets/b/collections/c/records/s",
    "/buckets/b/collections/d/records/r",
)
URIS = (*OBJECTS, *OBJECTS, *OBJECTS[:2], *PARENTS, *GROUPS, "/buckets/e")
TARGETS = (
    "/buckets/b/collections/c/records",
    "/buckets/b/changes",
    "/buckets/b/collections/c/records?v=1",
    "/buckets/b/collections/c/records?_fields=v",
    "/buckets/b/collections/c/records/r",
    "/buckets/b/collections/d/records",
    "/buckets/b/collections/c",
    "/buckets/b/collections",
    "/buckets/b/groups",
    "/buckets/b",
    "/buckets",
    "/buckets/b/changes?v=1",
)
EVERYTHING = frozenset(["permissions", "user_id", "old"])
Request = tuple[str, str, Options, int]
"""What is asked for, by whom, in which form, and over which of two connections."""
FORMS = (
    Options(),
    Options(waits=True),
    Options(include=EVERYTHING),
    Options(deliver="ids", waits=True),
    Options(deliver="poke"),
)
REQUESTS = st.sampled_from(list(product(TARGETS, ("bob", "carol", ""), FORMS, (0, 1))))
ACLS: tuple[dict[str, list[str]] | None, ...] = (
    None,
    None,
    {"read": []},
    {"read": ["bob"]},
    {"read": [GROUPS[0]], "write": ["carol"]},
    {"write": [GROUPS[1]]},
    {"read": ["system.Everyone"]},
    {"write": ["bob", "system.Authenticated"]},
)


class Edit(NamedTuple):
    """A write of an object, which may not be there; a deletion if there is no data."""

    uri: str
    data: dict[str, Any] | None = None
    acl: dict[str, list[str]] | None = None

    def write(self) -> Write:
        if self.data is None:
            return delete(self.uri, by=ADMIN)
        return put(self.uri, self.data, by=ADMIN, acl=self.acl)


def edits_of(uri: str) -> list[Edit]:
    """What may happen to an object."""
    more: tuple[dict[str, list[str]], ...] = ()
    if kind_of(uri) == "bucket":
        more = ({"group:create": ["bob"]},)
    elif kind_of(uri) == "collection":
        more = ({"record:create": ["carol"]},)
    members: tuple[list[str], ...] = ([], ["bob"], ["carol"], ["bob", "carol"])
    states: list[dict[str, Any]] = [{"v": 0}, {"v": 1}]
    if kind_of(uri) == "group":
        states = [{"members": one} for one in members]
    made = [Edit(uri, state, acl) for state in states for acl in (*ACLS, *more)]
    return [*made, Edit(uri), Edit(uri)]


EDITS = st.lists(
    st.sampled_from([edit for uri in URIS for edit in edits_of(uri)]), min_size=1, max_size=3
)


class Reader:
    """One who subscribed, as a client that folds what it is told.

    Attributes:
        standing: ``out``, ``joining``, ``inside`` (live, or waiting) or ``ended``.
        held: number of changes as of which each object was last told, and its data.
        count: of changes as of which it joined.
    """

    def __init__(self, subscription: Subscription, outlet: "Outlet") -> None:
        self.subscription = subscription
        self.outlet = outlet
        self.standing = "out"
        self.begun = False
        self.hold: Hold | None = None
        self.ground: Ground | None = None
        self.held: dict[str, tuple[int, Any]] = {}
        self.cursor = 0
        self.count = 0
        self.reach: object = None

    @property
    def is_live(self) -> bool:
        return self.standing == "inside" and self.subscription.state is State.LIVE

    @property
    def is_waiting(self) -> bool:
        return self.standing == "inside" and self.subscription.state is State.WAITING

    def shape(self, data: Any) -> Any:
        """An object as this reader wants it."""
        names = set(data)
        if self.subscription.options.deliver == "ids":
            names = {"id", "last_modified"}
        elif self.subscription.topic.fields is not None:
            names = {"id", "last_modified", "v"}
        return {name: value for name, value in data.items() if name in names}


class Outlet:
    """One connection: it takes a few messages, and lets go of its subscriptions beyond."""

    def __init__(self, hub: Hub, chronicle: Chronicle) -> None:
        self.hub = hub
        self.chronicle = chronicle
        self.readers: dict[Subscription, Reader] = {}
        self.waiting: dict[Subscription, int] = {}
        self.size = self.room = 4

    async def send(self, frame: bytes) -> None:
        raise AssertionError("the hub does not wait")

    def put(self, frame: bytes) -> None:
        raise AssertionError("the hub pushes")

    def push(self, frame: bytes, subscription: Subscription, prev: int) -> None:
        reader = self.readers[subscription]
        event = decode_frame(frame)
        assert reader.standing in ("inside", "joining")
        assert event["sub"] == subscription.name
        assert parse_cursor(event["prev"]) == prev == reader.cursor
        reader.cursor = parse_cursor(event["cursor"])
        assert reader.cursor > prev
        self._fold(reader, event)
        self.waiting.setdefault(subscription, prev)
        self._use_room()

    def _use_room(self) -> None:
        self.room -= 1
        if self.room < 0:
            self._overflow()

    def _fold(self, reader: Reader, event: dict[str, Any]) -> None:
        subscription, uri, action = reader.subscription, event["uri"], event["action"]
        count = self.chronicle.find(subscription.topic, reader.cursor)
        before, now = self.chronicle.moments[count - 1 : count + 1]
        assert count > reader.count
        assert event["resource_name"] == kind_of(uri)
        told = reader.held.get(uri)
        had = told is not None and not self.chronicle.was_gone(uri, told[0], count)
        # A collection takes its records along, even where a filter does not show itself.
        extra = subscription.topic.feed and action == "delete" and kind_of(uri) == "collection"
        assert had == (action in ("update", "delete", "leave")) or extra
        if action in ("create", "update", "enter"):
            assert now.may_read(subscription.actor, uri)
            assert event["data"] == reader.shape(now.things[uri].data)
            reader.held[uri] = count, event["data"]
        else:
            assert before.may_read(subscription.actor, uri)
            assert event["data"]["id"] == uri.rpartition("/")[2]
            reader.held.pop(uri, None)
        _check_extras(reader, event, before if had or action == "enter" else Moment({}), now)

    def poke(self, subscription: Subscription, position: int) -> None:
        reader = self.readers[subscription]
        assert reader.standing in ("inside", "joining")
        count = self.chronicle.find(subscription.topic, position)
        near = self.chronicle.moments[count - 1 : count + 1]
        uri = self.chronicle.changes[count - 1].revision.uri
        assert any(one.may_read(subscription.actor, uri) for one in near)
        subscription.cursor = position

    def lose(self, subscription: Subscription, error: SyncError | None) -> None:
        reader = self.readers[subscription]
        assert reader.standing in ("inside", "joining")
        assert (subscription.state is State.ENDED) == (error is not None)
        reader.standing = "out" if error is None else "ended"
        if error is not None:
            # Its client is told so.
            self._use_room()

    def _overflow(self) -> None:
        for subscription, prev in self.waiting.items():
            subscription.cursor = prev
            if subscription.state is State.LIVE:
                self.hub.leave(subscription)
                self.readers[subscription].standing = "out"
        self.drain()

    def drain(self) -> None:
        self.waiting.clear()
        self.room = self.size


def _check_extras(reader: Reader, event: dict[str, Any], before: Moment, now: Moment) -> None:
    """Assert that an event has what was asked for, as far as its reader may see it."""
    subscription, uri, action = reader.subscription, event["uri"], event["action"]
    if not subscription.options.include:
        assert not EVERYTHING & set(event)
        return
    assert event["user_id"] == "admin"
    thing: Thing | None = now.things.get(uri)
    principals = now.principals(subscription.actor)
    writes_it = thing is not None and thing.names(principals, "write") and action != "leave"
    rights = {name: list(who) for name, who in thing.acl.items()} if thing and writes_it else None
    assert event.get("permissions") == rights
    could = before.may_read(subscription.actor, uri)
    old = reader.shape(before.things[uri].data) if could else None
    assert event.get("old") == old


class HubPromises(RuleBasedStateMachine):
    """Commits, feeds that lag behind, readers that come on old ground, wait, lag and go."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.chronicle = Chronicle()
        self.hub = Hub(RULES, 1 << 20)
        self.told = 0
        self.outlets = [Outlet(self.hub, self.chronicle) for _ in range(2)]
        self.readers: list[Reader] = []

    @initialize(
        acls=st.lists(st.sampled_from(ACLS), min_size=9, max_size=9),
        size=st.integers(0, 6),
        requests=st.lists(REQUESTS, min_size=1, max_size=4),
    )
    def begin(self, acls: list[Any], size: int, requests: list[Request]) -> None:
        """Most of it is there, and many may read the collection."""
        for outlet in self.outlets:
            outlet.size = outlet.room = size
        uris = (*PARENTS, "/buckets/e", *OBJECTS, *GROUPS)
        edits = [Edit(uri, {"v": 1}, acl) for uri, acl in zip(uris, acls, strict=True)]
        edits[1] = Edit(PARENTS[1], {"v": 1}, acls[1] or {"read": ["bob", "carol"]})
        groups = [Edit(uri, {"members": ["bob"]}) for uri in GROUPS]
        self.commit_and_tell([[*edits[: -len(groups)], *groups]], calms=True)
        for request in requests:
            self.subscribe(request, holds=False)

    @rule(parts=EDITS)
    def commit(self, parts: list[Edit]) -> None:
        self.chronicle.add(self.world.commit(*[one.write() for one in parts]))

    @rule(commits=st.lists(EDITS, min_size=1, max_size=4), calms=st.booleans())
    def commit_and_tell(self, commits: list[list[Edit]], calms: bool) -> None:
        for parts in commits:
            self.commit(parts)
            self.tell(len(self.chronicle.changes), calms)

    @rule(most=st.integers(1, 3), calms=st.booleans())
    def tell(self, most: int, calms: bool) -> None:
        for change in self.chronicle.changes[self.told : self.told + most]:
            self.told += 1
            self.hub.route(change)
        if calms:
            self._calm()

    def _calm(self) -> None:
        """Everybody has the time to read, and to catch up."""
        for outlet in self.outlets:
            outlet.drain()
        for reader in self.readers:
            if reader.standing == "out" and reader.hold is None:
                self._hold(reader)
                self._read(reader, self.chronicle.at)
                self._join(reader)

    @precondition(lambda self: self.told < len(self.chronicle.changes))
    @rule(luck=st.integers(0, 9))
    def miss_changes(self, luck: int) -> None:
        if luck == 9:
            self.told = len(self.chronicle.changes)
            self.hub.forget_past(self.chronicle.at)
            assert all(reader.standing != "inside" for reader in self.readers)

    @rule(request=REQUESTS, holds=st.booleans())
    def subscribe(self, request: Request, holds: bool) -> None:
        target, user, options, place = request
        actor = {"bob": BOB, "carol": CAROL, "": ANONYMOUS}[user]
        outlet = self.outlets[place]
        name = f"s{len(self.readers)}"
        wire = WebSocketWire()
        subscription = Subscription(name, topic_of(target), options, actor, outlet, wire)
        reader = Reader(subscription, outlet)
        outlet.readers[subscription] = reader
        self.readers.append(reader)
        self._hold(reader)
        if not holds:
            self._read(reader, self.chronicle.at)
            self._join(reader)

    def _some(self, index: int) -> list[Reader]:
        return [self.readers[index % len(self.readers)]] if self.readers else []

    def _hold(self, reader: Reader) -> None:
        reader.hold = self.hub.hold()

    @rule(index=st.integers(0, 4), back=st.integers(0, 2))
    def go_on(self, index: int, back: int) -> None:
        """Somebody takes the next step on the way in."""
        for reader in self._some(index):
            if reader.ground is not None:
                self._join(reader)
            elif reader.hold is not None:
                self._read(reader, max(0, self.chronicle.at - back))
            elif reader.standing == "out":
                self._hold(reader)

    def _read(self, reader: Reader, at: int) -> None:
        """What a snapshot of an instant shows."""
        topic, actor = reader.subscription.topic, reader.subscription.actor
        moment = self.chronicle.moments[self.chronicle.count(at)]
        authority = Authority(RULES)
        for step in topic.parents:
            thing = moment.things.get(step.uri)
            authority.parents[step.uri] = make_parent(step.uri, thing.acl) if thing else None
        principals = moment.principals(actor)
        authority.people[actor.user_id] = principals
        if topic.feed:
            authority.feeds.add(topic.bucket)
            for uri, thing in moment.things.items():
                mine = uri.startswith(topic.path.uri + "/") and kind_of(uri) == "collection"
                if mine and thing.names(principals, *GRANTABLE["collection"]):
                    authority.parents[uri] = make_parent(uri, thing.acl)
        ground = Ground(at, authority, Clock(self.chronicle.clock(topic, self._count(at))))
        if moment.is_refused(actor, topic, begun=reader.begun):
            ground.denied = Forbidden()
        else:
            ground.rights = authority.rights(topic, actor)
            assert ground.rights.whole == moment.is_whole(actor, topic)
        reader.ground = ground

    def _count(self, at: int) -> int:
        return self.chronicle.count(at)

    def _join(self, reader: Reader) -> None:
        hold, ground = reader.hold, reader.ground
        assert hold is not None
        assert ground is not None
        reader.hold = reader.ground = None
        if self.hub.is_current(hold, ground.at):
            reader.count = self._count(ground.at)
            reader.standing = "joining"
            self._enter(reader, hold, ground)
            if reader.standing == "joining":
                reader.standing = "inside"
        self.hub.release(hold)

    def _enter(self, reader: Reader, hold: Hold, ground: Ground) -> None:
        subscription = reader.subscription
        if ground.denied is None:
            topic, actor = subscription.topic, subscription.actor
            moment = self.chronicle.moments[reader.count]
            seen = moment.visible(actor, topic).items()
            reader.held = {uri: (reader.count, reader.shape(data)) for uri, data in seen}
            reader.reach = moment.reach(actor, topic)
            reader.begun = True
            reader.cursor = subscription.cursor = ground.clock.position
            self.hub.join(subscription, hold, ground)
        elif reader.begun or not subscription.options.waits:
            reader.standing = "ended"
        elif not self.hub.wait(subscription, hold, ground):
            reader.standing = "out"

    @precondition(lambda self: len(self.readers) > 2)
    @rule(index=st.integers(0, 4))
    def leave(self, index: int) -> None:
        for reader in self._some(index):
            self.hub.leave(reader.subscription)
            if reader.hold is not None:
                self.hub.release(reader.hold)
            self.readers.remove(reader)
            reader.standing = "ended"

    @invariant()
    def readers_hold_what_they_may_see(self) -> None:
        for reader in self.readers:
            if reader.is_live:
                count = max(reader.count, self.told)
                topic, actor = reader.subscription.topic, reader.subscription.actor
                moment = self.chronicle.moments[count]
                assert not moment.is_missing(topic)
                assert moment.reach(actor, topic) == reader.reach
                if reader.subscription.options.deliver != "poke":
                    seen = moment.visible(actor, topic)
                    assert self._held(reader, count) == {
                        uri: reader.shape(data) for uri, data in seen.items()
                    }

    def _held(self, reader: Reader, count: int) -> dict[str, Any]:
        # What goes with its collection is not told one by one.
        return {
            uri: data
            for uri, (told, data) in reader.held.items()
            if not self.chronicle.was_gone(uri, told, count)
        }

    @invariant()
    def who_may_come_in_does_not_wait(self) -> None:
        for reader in self.readers:
            if reader.is_waiting:
                count = max(reader.count, self.told)
                topic, actor = reader.subscription.topic, reader.subscription.actor
                assert self.chronicle.moments[count].is_refused(actor, topic, begun=False)

    @invariant()
    def nothing_is_kept_that_nobody_needs(self) -> None:
        inside = [reader.subscription for reader in self.readers if reader.standing == "inside"]
        assert self.hub.count == len(inside)
        authority = self.hub._authority
        assert set(authority.people) == {one.actor.user_id for one in inside}
        needed = {step.uri for one in inside for step in one.topic.parents}
        assert needed <= set(authority.parents)
        if not any(one.topic.feed for one in inside):
            assert needed == set(authority.parents)
            assert not authority.feeds
        held = any(reader.hold is not None for reader in self.readers)
        if not inside and not held:
            assert is_empty(self.hub)

    def teardown(self) -> None:
        while self.readers:
            self.leave(0)
        assert is_empty(self.hub)


HubPromises.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True
)
TestHubPromises = HubPromises.TestCase
