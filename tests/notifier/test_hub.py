from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from notifier.messages import Options
from notifier.subscriptions import State
from server.core.errors import ParentMissing
from server.core.permissions import ANONYMOUS
from server.core.positions import make_position
from server.storage.base import Change
from tests.notifier.scenes import (
    BOB,
    BUCKET,
    CAROL,
    COLLECTION,
    FEED,
    GROUP,
    LIST,
    OPEN,
    RECORD,
    SHARED,
    SHUT,
    Acl,
    FullOutlet,
    RecordingOutlet,
    change,
    create,
    fill,
    is_empty,
    join_late,
    let_in,
    let_wait,
    make_ground,
    make_hub,
    make_subscription,
)

# Telling.


@pytest.mark.parametrize("target", [LIST, RECORD, FEED, f"{LIST}?_fields=id"])
def test_change_is_told_to_who_subscribed_to_its_list_itself_or_its_bucket(target: str) -> None:
    hub = make_hub()
    subscription, outlet = let_in(hub, target)
    hub.route(create(5))
    assert outlet.told == [("s", "create")]
    assert (outlet.events[0]["prev"], outlet.events[0]["cursor"]) == ("1", "5")
    assert outlet.prevs == [make_position(1)]
    assert subscription.cursor == make_position(5)


@pytest.mark.parametrize(
    "target",
    [
        f"{BUCKET}/collections/d/records",
        f"{LIST}/other",
        f"{BUCKET}/collections",
        BUCKET,
        "/buckets",
        "/buckets/b2/changes",
        f"{LIST}?id=other",
    ],
)
def test_change_elsewhere_is_not_told(target: str) -> None:
    hub = make_hub()
    acl = {"read": ["bob"]}
    parents = {"/buckets/b2": acl, f"{BUCKET}/collections/d": acl, **OPEN}
    subscription, outlet = let_in(hub, target, parents=parents)
    hub.route(create(5))
    assert (outlet.told, outlet.lost) == ([], [])
    assert subscription.cursor == make_position(1)


def test_each_event_follows_the_one_before() -> None:
    hub = make_hub()
    _, outlet = let_in(hub)
    for at in (5, 6, 9):
        hub.route(change(at, f"{LIST}/r{at}", None, {}))
    chain = [(one["prev"], one["cursor"]) for one in outlet.events]
    assert chain == [("1", "5"), ("5", "6"), ("6", "9")]
    assert hub.at == 9


def test_subscription_without_a_cursor_begins_at_nothing() -> None:
    hub = make_hub()
    subscription, outlet = let_in(hub)
    subscription.cursor = None
    hub.route(create(5))
    assert outlet.events[0]["prev"] == "0"
    assert outlet.prevs == [0]


def test_readers_who_are_told_the_same_share_one_frame() -> None:
    hub = make_hub()
    outlets = [let_in(hub, actor=actor)[1] for actor in (BOB, CAROL, BOB)]
    _, renamed = let_in(hub, name="other")
    subscription, ahead = let_in(hub)
    subscription.cursor = make_position(3)
    hub.route(create(5))
    frames = {id(outlet.frames[0]) for outlet in outlets}
    assert len(frames) == 1
    assert renamed.events[0] == {**outlets[0].events[0], "sub": "other"}
    assert ahead.events[0] == {**outlets[0].events[0], "prev": "3"}


def test_readers_are_told_as_much_as_each_may_see() -> None:
    hub = make_hub()
    _, whole = let_in(hub)
    _, part = let_in(hub, parents=SHUT)
    _, stranger = let_in(hub, parents=SHUT, actor=ANONYMOUS)
    hub.route(change(5, RECORD, None, {}, acl=SHARED))
    hub.route(change(6, RECORD, {}, {}, acl_before=SHARED, acl={}))
    assert whole.told == [("s", "create"), ("s", "update")]
    assert part.told == [("s", "create"), ("s", "leave")]
    assert stranger.told == []
    assert [outlet.lost for outlet in (whole, part, stranger)] == [[], [], []]


def test_poked_subscription_hears_only_how_far_it_got() -> None:
    hub = make_hub()
    subscription, outlet = let_in(hub, options=Options(deliver="poke"))
    hub.route(create(5))
    assert (outlet.pokes, outlet.told) == ([make_position(5)], [])
    assert subscription.cursor == make_position(1)


def test_head_is_how_far_a_subscription_has_been_told_events_or_not() -> None:
    hub = make_hub()
    subscription, outlet = let_in(hub, f"{LIST}?v=1")
    assert hub.head(subscription) == make_position(1)
    hub.route(create(5))
    assert outlet.told == []
    assert hub.head(subscription) == make_position(5)
    subscription.cursor = make_position(8)
    assert hub.head(subscription) == make_position(8)
    hub.leave(subscription)
    subscription.cursor = None
    assert hub.head(subscription) == 0


# Joining on a ground.


def test_changes_that_the_ground_knows_are_not_told_and_those_after_it_are() -> None:
    hub = make_hub()
    subscription, outlet = make_subscription(), RecordingOutlet()
    subscription.outlet = outlet
    hold = hub.hold()
    for at in (1, 2, 3):
        hub.route(change(at, f"{LIST}/r{at}", None, {}))
    assert hub.is_current(hold, 2)
    subscription.cursor = make_position(2)
    hub.join(subscription, hold, make_ground(subscription, 2, OPEN))
    hub.release(hold)
    hub.route(change(4, f"{LIST}/r4", None, {}))
    assert [one["cursor"] for one in outlet.events] == ["3", "4"]
    assert [one["prev"] for one in outlet.events] == ["2", "3"]
    assert (subscription.state, subscription.since_at) == (State.LIVE, 2)


def test_ground_ahead_of_the_changes_is_caught_up_with() -> None:
    hub = make_hub()
    _, outlet = let_in(hub, at=3)
    for at in (2, 3, 4):
        hub.route(change(at, f"{LIST}/r{at}", None, {}))
    assert [one["cursor"] for one in outlet.events] == ["4"]


def test_who_loses_everything_while_reading_is_lost_on_joining() -> None:
    gone = change(2, COLLECTION, {})
    hub, subscription, outlet = join_late([create(1), gone, create(3)])
    assert outlet.told == [("s", "create")]
    ((_, error),) = outlet.lost
    assert isinstance(error, ParentMissing)
    assert subscription.state is State.ENDED
    assert is_empty(hub)


def test_who_loses_a_part_while_reading_has_to_read_again() -> None:
    shut = change(2, BUCKET, {}, {}, acl={})
    hub, subscription, outlet = join_late([create(1), shut, create(3)])
    assert (outlet.told, outlet.lost) == ([("s", "create")], [("s", None)])
    assert subscription.state is State.CATCHING_UP
    assert is_empty(hub)


def test_change_of_rights_that_shows_the_same_is_followed_while_joining() -> None:
    left = change(2, GROUP, {}, touched=("bob",))
    hub, subscription, outlet = join_late(
        [left, create(3)], options=Options(include=frozenset(["permissions"]))
    )
    assert outlet.lost == []
    assert subscription.rights.principals == BOB.principals
    assert outlet.told == [("s", "create")]
    hub.leave(subscription)
    assert is_empty(hub)


def test_object_that_leaves_while_its_reader_joins_ends_the_joining() -> None:
    hub, subscription, outlet = join_late(
        [change(1, RECORD, {}, {}, acl_before=SHARED), create(2)], RECORD, parents=SHUT
    )
    assert (outlet.told, outlet.lost) == ([("s", "leave")], [("s", None)])
    assert subscription.state is State.CATCHING_UP
    assert is_empty(hub)


# Rights that change.


@pytest.mark.parametrize("uri", [BUCKET, COLLECTION])
@pytest.mark.parametrize("target", [LIST, RECORD, f"{LIST}?v=1"])
def test_parent_that_is_deleted_ends_the_subscription(uri: str, target: str) -> None:
    hub = make_hub()
    subscription, outlet = let_in(hub, target)
    hub.route(change(5, uri, {}))
    ((_, error),) = outlet.lost
    assert isinstance(error, ParentMissing)
    assert error.details["id"] == uri[-1]
    assert (outlet.told, subscription.state) == ([], State.ENDED)
    assert is_empty(hub)


def test_deleted_bucket_ends_its_feed() -> None:
    hub = make_hub()
    subscription, outlet = let_in(hub, FEED)
    hub.route(change(5, BUCKET, {}, touched=("/",)))
    assert isinstance(outlet.lost[0][1], ParentMissing)
    assert (outlet.told, subscription.state) == ([], State.ENDED)
    assert is_empty(hub)


@pytest.mark.parametrize(
    "cause",
    [
        change(5, BUCKET, {}, {}, acl={"read": ["carol"]}),
        change(5, GROUP, {}, {"members": []}, touched=("bob",)),
        change(5, GROUP, {}, touched=("bob",)),
    ],
    ids=["unshared", "member no more", "group deleted"],
)
def test_right_on_the_whole_that_is_lost_makes_its_reader_read_again(cause: Change) -> None:
    hub = make_hub()
    parents = {BUCKET: {"read": [GROUP]}, COLLECTION: {}}
    inside = [let_in(hub, parents=parents, groups=(GROUP,)) for _ in range(2)]
    hub.route(cause)
    hub.route(create(6))
    for subscription, outlet in inside:
        assert (outlet.lost, outlet.told) == ([("s", None)], [])
        assert subscription.state is State.CATCHING_UP
    assert is_empty(hub)


def test_membership_that_ends_is_lost_by_that_member_alone() -> None:
    hub = make_hub()
    parents = {BUCKET: {"read": [GROUP]}, COLLECTION: {}}
    _, outlet = let_in(hub, parents=parents, groups=(GROUP,))
    _, other = let_in(hub, parents=parents, actor=CAROL, groups=(GROUP,))
    both, one = {"members": ["bob", "carol"]}, {"members": ["carol"]}
    hub.route(change(5, GROUP, both, one, touched=("bob",)))
    hub.route(create(6))
    assert (outlet.lost, outlet.told) == ([("s", None)], [])
    assert (other.lost, other.told) == ([], [("s", "create")])


def test_right_on_the_whole_that_is_gained_makes_its_reader_read_again() -> None:
    hub = make_hub()
    subscription, outlet = let_in(hub, parents=SHUT)
    hub.route(change(5, COLLECTION, {}, {}, acl=SHARED))
    assert (outlet.lost, subscription.state) == ([("s", None)], State.CATCHING_UP)
    assert is_empty(hub)


def test_change_of_rights_that_shows_the_same_is_followed() -> None:
    hub = make_hub()
    options = Options(include=frozenset(["permissions"]))
    subscription, outlet = let_in(hub, options=options)
    writable = {"write": [GROUP]}
    hub.route(change(5, GROUP, None, {"members": ["bob"]}, touched=("bob",)))
    hub.route(change(6, RECORD, None, {}, acl=writable))
    hub.route(change(7, GROUP, {"members": ["bob"]}, touched=("bob",)))
    hub.route(change(8, RECORD, {}, {}, acl=writable))
    assert outlet.lost == []
    assert [one.get("permissions") for one in outlet.events] == [writable, None]
    assert [one["prev"] for one in outlet.events] == ["1", "6"]
    hub.leave(subscription)
    assert is_empty(hub)


def test_change_of_a_parent_that_leaves_rights_as_they_are_disturbs_nobody() -> None:
    hub = make_hub()
    subscription, outlet = let_in(hub)
    rights = subscription.rights
    hub.route(change(5, BUCKET, {}, {}, acl={"read": ["bob"], "write": ["carol"]}))
    assert (outlet.lost, outlet.told) == ([], [])
    assert subscription.rights is rights


def test_change_of_rights_that_the_ground_knows_is_not_looked_at_again() -> None:
    hub = make_hub()
    early, lost = let_in(hub)
    late, outlet = let_in(hub, parents=OPEN, at=5)
    hub.route(change(4, BUCKET, {}, {}, acl={"read": ["carol"]}))
    hub.route(change(5, BUCKET, {}, {}, acl={"read": ["bob"]}))
    hub.route(create(6))
    assert (lost.lost, early.state) == ([("s", None)], State.CATCHING_UP)
    assert (outlet.lost, outlet.told) == ([], [("s", "create")])


def test_reader_on_an_earlier_ground_is_judged_by_what_was_known_then() -> None:
    hub = make_hub()
    _, later = let_in(hub, parents=SHUT, at=5)
    _, outlet = let_in(hub, parents=OPEN, at=2)
    joined = {"members": ["bob"]}
    hub.route(change(3, GROUP, None, joined, touched=("bob",)))
    assert (later.lost, outlet.lost) == ([], [])
    hub.route(change(4, BUCKET, {}, {}, acl={}))
    assert (later.lost, outlet.lost) == ([], [("s", None)])


def test_object_that_may_not_be_seen_any_more_is_the_end_of_being_told() -> None:
    hub = make_hub()
    _, outlet = let_in(hub, RECORD, parents=SHUT)
    _, later = let_in(hub, RECORD, parents=SHUT, at=5)
    hub.route(change(5, RECORD, {}, {}, acl_before=SHARED))
    assert (outlet.told, outlet.lost) == ([("s", "leave")], [("s", None)])
    # Who read it after that may see it still.
    assert (later.told, later.lost) == ([], [])


def test_object_that_is_deleted_may_come_again() -> None:
    hub = make_hub()
    _, outlet = let_in(hub, RECORD, parents=SHUT)
    hub.route(change(5, RECORD, {}, acl_before=SHARED))
    hub.route(change(6, RECORD, None, {}, acl=SHARED))
    assert outlet.told == [("s", "delete"), ("s", "create")]


@pytest.mark.parametrize("acls", [({}, SHARED), (SHARED, {})])
def test_collection_that_is_shared_or_unshared_makes_a_feeds_reader_read_again(acls: Any) -> None:
    hub = make_hub()
    parents = {BUCKET: {}, COLLECTION: acls[0]}
    _, outlet = let_in(hub, FEED, parents=parents)
    hub.route(change(5, COLLECTION, {}, {}, acl_before=acls[0], acl=acls[1]))
    assert (outlet.told, outlet.lost) == ([], [("s", None)])
    assert is_empty(hub)


# Waiting.


@pytest.mark.parametrize(
    ("target", "parents", "cause"),
    [
        (LIST, SHUT, change(5, COLLECTION, {}, {}, acl=SHARED)),
        (LIST, SHUT, change(5, BUCKET, {}, {}, acl=SHARED)),
        (LIST, {BUCKET: {}, COLLECTION: None}, change(5, COLLECTION, None, {})),
        (LIST, {BUCKET: None, COLLECTION: None}, change(5, BUCKET, None, {})),
        (LIST, SHUT, change(5, RECORD, None, {}, acl=SHARED)),
        (LIST, SHUT, change(5, RECORD, {}, {}, acl={"write": ["system.Authenticated"]})),
        (LIST, SHUT, change(5, GROUP, None, {"members": ["bob"]}, touched=("bob",))),
        (RECORD, SHUT, change(5, RECORD, {}, {}, acl=SHARED)),
        (RECORD, OPEN, change(5, RECORD, None, {})),
        (FEED, SHUT, change(5, RECORD, None, {}, acl=SHARED)),
        (FEED, SHUT, change(5, COLLECTION, None, {}, acl=SHARED)),
        (FEED, SHUT, change(5, BUCKET, {}, {}, acl={"group:create": ["bob"]})),
    ],
)
def test_change_that_may_let_somebody_in_calls_who_waits(
    target: str, parents: Mapping[str, Acl | None], cause: Change
) -> None:
    hub = make_hub()
    subscription, outlet = let_wait(hub, target, parents)
    assert (subscription.state, hub.count) == (State.WAITING, 1)
    hub.route(cause)
    assert (outlet.told, outlet.lost) == ([], [("s", None)])
    assert subscription.state is State.CATCHING_UP
    assert is_empty(hub)
    # The same change while it was still reading: it has to read again.
    hold = hub.hold()
    hub.route(replace(cause, at=6))
    assert not hub.wait(subscription, hold, make_ground(subscription, 5, parents))
    hub.release(hold)
    assert is_empty(hub)


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        (LIST, change(5, RECORD, None, {}, acl={"read": ["carol"]})),
        (LIST, change(5, RECORD, {}, acl_before=SHARED)),
        (LIST, change(5, f"{BUCKET}/collections/d/records/r", None, {}, acl=SHARED)),
        (RECORD, change(5, RECORD, {}, {})),
        (RECORD, change(5, f"{LIST}/other", None, {}, acl=SHARED)),
        (FEED, change(5, RECORD, None, {})),
        (FEED, change(5, "/buckets/b2/collections/c", None, {}, acl=SHARED)),
        (LIST, change(5, GROUP, None, {"members": ["carol"]}, touched=("carol",))),
    ],
)
def test_change_that_lets_nobody_in_leaves_them_waiting(target: str, cause: Change) -> None:
    hub = make_hub()
    subscription, outlet = let_wait(hub, target)
    hub.route(cause)
    assert (outlet.lost, subscription.state) == ([], State.WAITING)
    hub.leave(subscription)
    assert is_empty(hub)
    hold = hub.hold()
    hub.route(replace(cause, at=6))
    assert hub.wait(subscription, hold, make_ground(subscription, 5, SHUT))


# Outlets that are full.


def test_subscription_that_its_outlet_let_go_is_not_told_the_same_change() -> None:
    hub = make_hub()
    outlet = fill(hub, LIST, LIST, FEED)
    _, beside = let_in(hub)
    hub.route(create(5))
    assert outlet.told == [("s0", "create")]
    assert [one.cursor for one in outlet.carried] == [make_position(1)] * 3
    assert beside.told == [("s", "create")]


@pytest.mark.parametrize(
    "cause", [change(5, COLLECTION, {}), change(5, COLLECTION, {}, {}, acl={"read": ["x"]})]
)
def test_subscription_that_its_outlet_let_go_is_not_judged_by_the_same_change(
    cause: Change,
) -> None:
    hub = make_hub()
    outlet = fill(hub, LIST, RECORD, f"{LIST}?v=1")
    hub.route(cause)
    assert len(outlet.lost) <= 1
    assert (hub.count == 0) == (cause.revision.action == "delete")


def test_subscription_that_its_outlet_let_go_is_not_called_by_the_same_change() -> None:
    hub = make_hub()
    outlet = fill(hub, RECORD, RECORD)
    for one in outlet.carried:
        hub.leave(one)
        hold = hub.hold()
        assert hub.wait(one, hold, make_ground(one, 0, SHUT))
        hub.release(hold)
    hub.route(create(5, acl=SHARED))
    assert outlet.lost == [("s0", None)]
    assert is_empty(hub)


def test_joining_ends_where_the_outlet_is_full() -> None:
    hub = make_hub()
    outlet = FullOutlet(hub)
    subscription = make_subscription(outlet=outlet)
    outlet.carried.append(subscription)
    hold = hub.hold()
    for at in (1, 2):
        hub.route(change(at, f"{LIST}/r{at}", None, {}))
    hub.join(subscription, hold, make_ground(subscription, 0, OPEN))
    hub.release(hold)
    assert [one["cursor"] for one in outlet.events] == ["1"]
    assert (subscription.state, outlet.lost) == (State.CATCHING_UP, [])
    assert is_empty(hub)


# Going.


def test_hub_is_empty_when_everybody_has_left() -> None:
    hub = make_hub()
    targets = (FEED, LIST, RECORD, BUCKET, FEED, f"{BUCKET}/groups", "/buckets")
    inside = [let_in(hub, target)[0] for target in targets]
    inside += [let_wait(hub, target, actor=CAROL)[0] for target in (FEED, LIST)]
    assert hub.count == len(inside)
    for at, one in enumerate(inside, 1):
        hub.route(change(at, f"{BUCKET}/collections/d{at}", None, {}))
        hub.leave(one)
        assert hub.count == len(inside) - at
    assert is_empty(hub)


def test_leaving_twice_or_without_having_been_there_is_nothing() -> None:
    hub = make_hub()
    subscription, _ = let_in(hub)
    hub.leave(subscription)
    hub.leave(subscription)
    hub.leave(make_subscription())
    subscription.state = State.ENDED
    hub.leave(subscription)
    assert subscription.state is State.ENDED
    assert is_empty(hub)


def test_who_stays_is_told_after_others_left() -> None:
    hub = make_hub()
    first, _ = let_in(hub)
    _, outlet = let_in(hub)
    hub.leave(first)
    hub.route(create(5))
    hub.route(change(6, COLLECTION, {}))
    assert outlet.told == [("s", "create")]
    assert len(outlet.lost) == 1


def test_collections_that_only_a_feed_followed_are_forgotten_with_it() -> None:
    hub = make_hub()
    feed, other = (let_in(hub, FEED)[0] for _ in range(2))
    kept, _ = let_in(hub, LIST)
    hub.route(change(5, f"{BUCKET}/collections/d", None, {}))
    assert set(hub._authority.parents) == {BUCKET, COLLECTION, f"{BUCKET}/collections/d"}
    hub.leave(other)
    assert hub._authority.feeds == {"b"}
    hub.leave(feed)
    assert set(hub._authority.parents) == {BUCKET, COLLECTION}
    assert not hub._authority.feeds
    hub.leave(kept)
    assert is_empty(hub)


def test_after_a_gap_everybody_reads_again_and_nobody_joins_across_it() -> None:
    hub = make_hub()
    live, heard = let_in(hub)
    waiting, called = let_wait(hub, actor=CAROL)
    hub.route(create(5))
    hold = hub.hold()
    hub.forget_past(7)
    assert hub.at == 7
    assert (heard.lost, called.lost) == ([("s", None)], [("s", None)])
    assert {live.state, waiting.state} == {State.CATCHING_UP}
    assert not hub.is_current(hold, 8)
    anew = hub.hold()
    assert hub.is_current(anew, 7)
    hub.release(hold)
    hub.release(anew)
    assert is_empty(hub)
