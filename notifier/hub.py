"""Who is told of which change. Pure: it neither waits nor reads.

Changes come in the order in which they were committed. Each is first folded
into what is known of permissions; whose rights it changed leaves the hub and has to
catch up again; all others who see it get it, judged as of its own place.

A subscription joins with what was read of one instant (``Ground``). The
changes between that instant and now were kept while somebody was reading
(``Hold``), and are told on joining, judged as of their places too.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from notifier.authority import Authority, Rights
from notifier.backlogs import Backlog, Hold
from notifier.subscriptions import State, Subscription
from notifier.topics import Topic
from notifier.views import Look, is_untold, render
from server.core.errors import SyncError
from server.core.objects import Clock
from server.core.permissions import Rules
from server.core.revisions import Revision
from server.storage.base import Change

_INSIDE = (State.LIVE, State.WAITING)


@dataclass(slots=True)
class Ground:
    """What was read of one instant for a subscription to stand on.

    Attributes:
        at: the instant.
        authority: parents and principals then.
        clock: of the topic.
        denied: why it may not be read; None if it may.
        rights: how much of it may be seen, if it may.
    """

    at: int
    authority: Authority
    clock: Clock = Clock(0)
    denied: SyncError | None = None
    rights: Rights | None = None


class _View:
    """The subscriptions that are told the same."""

    __slots__ = ("head", "look", "subscriptions")

    def __init__(self, look: Look) -> None:
        self.look = look
        self.subscriptions: dict[Subscription, None] = {}
        self.head = 0

    def publish(self, change: Change) -> bool:
        """Tell all of them; whether there is anything left to be told."""
        revision = change.revision
        self.head = self.look.position(revision)
        if is_untold(self.look, revision):
            return False
        rendered = render(self.look, revision)
        if rendered is None:
            return True
        frames: dict[tuple[str, int | None], bytes] = {}
        poked = self.look.options.deliver == "poke"
        position, tail = rendered.position, rendered.tail
        for subscription in list(self.subscriptions):
            # An outlet that is full lets others of its subscriptions go, too.
            if change.at <= subscription.since_at or subscription not in self.subscriptions:
                continue
            if poked:
                subscription.outlet.poke(subscription, position)
                continue
            prev = subscription.cursor
            frame = frames.get((subscription.label, prev))
            if frame is None:
                frame = _make_frame(subscription, position, tail)
                frames[subscription.label, prev] = frame
            subscription.cursor = position
            subscription.outlet.push(frame, subscription, prev or 0)
        # Of one object, nothing is left to who may not see it any more.
        return rendered.action != "leave" or self.look.topic.object is None


def _make_frame(subscription: Subscription, position: int, tail: bytes) -> bytes:
    prev = subscription.cursor or 0
    return subscription.wire.event(subscription.name, prev, position, tail)


class Hub:
    """Knows all subscriptions of a process that are live, or wait to be let in.

    Attributes:
        at: instant of the last change that was told.
    """

    def __init__(self, rules: Rules, event_max_bytes: int, at: int = 0) -> None:
        self._event_max_bytes = event_max_bytes
        self._authority = Authority(rules)
        self._views: dict[object, _View] = {}
        # What a change is about, to the views that may show it.
        self._by_place: defaultdict[str, dict[_View, None]] = defaultdict(dict)
        self._by_parent: defaultdict[str, dict[Subscription, None]] = defaultdict(dict)
        self._by_user: defaultdict[str, dict[Subscription, None]] = defaultdict(dict)
        self._waiting: defaultdict[str, dict[Subscription, None]] = defaultdict(dict)
        self._backlog = Backlog()
        self.at = at

    # Reading beside the changes.

    def hold(self) -> Hold:
        """Keep the changes from now on, until ``release``."""
        return self._backlog.hold(self.at)

    def release(self, hold: Hold) -> None:
        """Keep them no more."""
        self._backlog.release(hold)

    def is_current(self, hold: Hold, at: int) -> bool:
        """Whether what was read at an instant, while holding, can be joined to what is told."""
        return self._backlog.is_current(hold, at)

    # Joining and leaving.

    def join(self, subscription: Subscription, hold: Hold, ground: Ground) -> None:
        """Tell a subscription everything after the instant of its ground.

        Args:
            subscription: whose cursor is the ground's clock.
            hold: that was there before the ground was read; ``is_current``.
            ground: on which it was let in.
        """
        assert ground.rights is not None
        subscription.rights = ground.rights
        subscription.since_at = ground.at
        subscription.state = State.LIVE
        authority = ground.authority
        for change in self._backlog.since(hold, ground.at):
            if not self._replay(subscription, authority, change):
                return
        self._authority.learn(authority, max(ground.at, self.at))
        self._enter(subscription)

    def _replay(self, subscription: Subscription, authority: Authority, change: Change) -> bool:
        """Tell one change that was kept; False if the subscription has to leave by it."""
        topic = subscription.topic
        parents, users = authority.fold(change)
        if parents or users:
            missing = authority.find_missing(topic)
            rights = None if missing else authority.rights(topic, subscription.actor)
            if not self._remains(subscription, missing, rights):
                return False
        if is_about(topic, change.revision):
            view = _View(subscription.look(self._event_max_bytes))
            view.subscriptions[subscription] = None
            if not view.publish(change):
                self._lose(subscription, None)
        return subscription.state is State.LIVE

    def wait(self, subscription: Subscription, hold: Hold, ground: Ground) -> bool:
        """Let a refused subscription wait for a change that may let it in.

        Returns:
            False if there was such a change meanwhile: it is to be read again.
        """
        topic = subscription.topic
        authority = ground.authority
        principals = authority.people.get(subscription.actor.user_id, subscription.actor.principals)
        for change in self._backlog.since(hold, ground.at):
            parents, users = authority.fold(change)
            if parents or users or _may_admit(topic, principals, change.revision):
                return False
        self._authority.learn(authority, max(ground.at, self.at))
        subscription.rights = Rights(False, principals)
        subscription.since_at = ground.at
        subscription.state = State.WAITING
        self._waiting[_place(topic)][subscription] = None
        self._index(subscription)
        return True

    def _enter(self, subscription: Subscription) -> None:
        look = subscription.look(self._event_max_bytes)
        key = look.key
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = _View(look)
            self._by_place[_place(look.topic)][view] = None
        view.subscriptions[subscription] = None
        subscription.key = key
        self._index(subscription)

    def _index(self, subscription: Subscription) -> None:
        for step in subscription.topic.parents:
            self._by_parent[step.uri][subscription] = None
        self._by_user[subscription.actor.user_id][subscription] = None

    def leave(self, subscription: Subscription) -> None:
        """Tell a subscription no more; nothing if it is not here."""
        state, topic = subscription.state, subscription.topic
        if state not in _INSIDE:
            return
        subscription.state = State.CATCHING_UP
        if state is State.WAITING:
            _discard(self._waiting, _place(topic), subscription)
        elif subscription.key is not None:
            self._leave_view(subscription)
        else:
            # It is being told what was kept, and was not let in yet.
            return
        parents = [step.uri for step in topic.parents]
        idle = [uri for uri in parents if _discard(self._by_parent, uri, subscription)]
        user = subscription.actor.user_id
        gone = [user] if _discard(self._by_user, user, subscription) else []
        self._authority.forget(idle, gone)
        if topic.feed:
            self._forget_feed(topic)

    def _forget_feed(self, topic: Topic) -> None:
        """Stop following collections for which only a feed asked that nobody reads any more."""
        place = _place(topic)
        if place in self._by_place or place in self._waiting:
            return
        self._authority.feeds.discard(topic.bucket)
        prefix = topic.path.uri + "/"
        inside = [one for one in self._authority.parents if one.startswith(prefix)]
        self._authority.forget([one for one in inside if one not in self._by_parent], ())

    def _leave_view(self, subscription: Subscription) -> None:
        view = self._views[subscription.key]
        del view.subscriptions[subscription]
        if not view.subscriptions:
            del self._views[subscription.key]
            _discard(self._by_place, _place(view.look.topic), view)
        subscription.key = None

    def head(self, subscription: Subscription) -> int:
        """How far a live subscription has been told, events or not."""
        view = self._views.get(subscription.key)
        return max(view.head if view else 0, subscription.cursor or 0)

    # Telling.

    def route(self, change: Change) -> None:
        """Tell everybody who may see a change; the changes of one feed, in its order."""
        self.at = change.at
        if not self._by_user and not self._backlog.is_wanted:
            # Nobody listens: it need not even be decoded.
            return
        self._backlog.keep(change)
        revision = change.revision
        parents, users = self._authority.fold(change)
        if parents or users:
            self._review(change, parents, users)
        for place in (revision.list, revision.uri, _feed_place(revision.bucket)):
            if place in self._by_place:
                for view in list(self._by_place[place]):
                    if not view.publish(change):
                        self._lose_all(view, change)
            if place in self._waiting:
                self._call(place, revision)

    def _lose_all(self, view: _View, change: Change) -> None:
        for subscription in list(view.subscriptions):
            if change.at > subscription.since_at:
                self._lose(subscription, None)

    def _review(self, change: Change, parents: Iterable[str], users: Iterable[str]) -> None:
        """Look again at everybody whose rights a change may have changed."""
        affected: dict[Subscription, None] = {}
        for uri in parents:
            affected.update(self._by_parent.get(uri, {}))
        for user in users:
            affected.update(self._by_user.get(user, {}))
        known: dict[object, tuple[SyncError | None, Rights | None]] = {}
        for subscription in affected:
            # Losing one may have made its outlet let go of others.
            if subscription.state not in _INSIDE or change.at <= subscription.since_at:
                continue
            if subscription.state is State.WAITING:
                self._lose(subscription, None)
                continue
            who = subscription.topic.uri, subscription.actor
            if who not in known:
                known[who] = self._judge(subscription)
            self._remains(subscription, *known[who])

    def _judge(self, subscription: Subscription) -> tuple[SyncError | None, Rights | None]:
        missing = self._authority.find_missing(subscription.topic)
        if missing is not None:
            return missing, None
        return None, self._authority.rights(subscription.topic, subscription.actor)

    def _remains(
        self, subscription: Subscription, missing: SyncError | None, rights: Rights | None
    ) -> bool:
        """Whether a subscription goes on as it is, rights being these now."""
        assert subscription.rights is not None
        if rights is None:
            self._lose(subscription, missing)
            return False
        if rights.sight != subscription.rights.sight:
            self._lose(subscription, None)
            return False
        if rights != subscription.rights:
            self._change_rights(subscription, rights)
        return True

    def _change_rights(self, subscription: Subscription, rights: Rights) -> None:
        """The same is seen; but an event may say more or less of it."""
        entered = subscription.key is not None
        if entered:
            self._leave_view(subscription)
        subscription.rights = rights
        if entered:
            self._enter(subscription)

    def _lose(self, subscription: Subscription, error: SyncError | None) -> None:
        if subscription.state not in _INSIDE:
            return
        self.leave(subscription)
        subscription.state = State.ENDED if error else State.CATCHING_UP
        subscription.outlet.lose(subscription, error)

    def _call(self, place: str, revision: Revision) -> None:
        """Tell those who wait to be let in that something may have been shared with them."""
        for subscription in list(self._waiting[place]):
            assert subscription.rights is not None
            if _may_admit(subscription.topic, subscription.rights.principals, revision):
                self._lose(subscription, None)

    def forget_past(self, at: int) -> None:
        """Changes up to an instant were lost: everybody has to catch up."""
        self.at = at
        self._backlog.forget()
        everybody = {one: None for users in self._by_user.values() for one in users}
        for subscription in everybody:
            self._lose(subscription, None)

    @property
    def count(self) -> int:
        """How many subscriptions are live or wait."""
        return sum(len(users) for users in self._by_user.values())


def is_about(topic: Topic, revision: Revision) -> bool:
    """Whether a change may belong to a topic."""
    if topic.feed:
        return topic.bucket == revision.bucket
    if topic.object is not None:
        return topic.object.uri == revision.uri
    return topic.list.uri == revision.list


def _may_admit(topic: Topic, principals: frozenset[str], revision: Revision) -> bool:
    """Whether a change may let in who waits."""
    if not is_about(topic, revision):
        return False
    # Who waits for an object that was not there may be let see it by its parents.
    made = topic.object is not None and revision.action == "create"
    return made or not principals.isdisjoint(revision.readers)


def _place(topic: Topic) -> str:
    return _feed_place(topic.bucket) if topic.feed else topic.path.uri


def _feed_place(bucket: str) -> str:
    # No URI begins like this.
    return "*" + bucket


def _discard(index: dict[str, dict], key: str, item: object) -> bool:  # type: ignore[type-arg]
    """Take something out of an index; whether nothing is left under its key."""
    del index[key][item]
    if index[key]:
        return False
    del index[key]
    return True
