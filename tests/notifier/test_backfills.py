import json
from typing import Any

import pytest

from notifier.backfills import ROUND_MAX_ENTRIES, Rereading, read_round
from notifier.grounds import Surveyor
from notifier.messages import Options
from notifier.topics import parse_topic, split_target
from notifier.views import Look
from server.core.permissions import ANONYMOUS, Actor
from tests.notifier.stages import Stage
from tests.server.storage.scenes import ALICE, BOB, RULES, delete, patch, put

pytestmark = pytest.mark.gen_test

COLLECTION = "/buckets/b/collections/c"
RECORDS = f"{COLLECTION}/records"
GROUP = "/buckets/b/groups/g"
MINE = {"read": [BOB.user_id]}
NOBODYS: dict[str, list[str]] = {"read": []}


async def make(stage: Stage) -> int:
    """A collection with two records; its position."""
    await stage.do(put("/buckets/b"))
    await stage.do(put(COLLECTION))
    await stage.fill(COLLECTION, {"n": 1}, {"n": 2})
    return (await stage.clock(RECORDS)).position


async def read(
    stage: Stage,
    since: int,
    target: str = RECORDS,
    actor: Actor = ALICE,
    options: Options | None = None,
) -> list[dict[str, Any]]:
    """All events of a backfill."""
    path, arguments, query = split_target(target)
    topic = parse_topic(path, arguments, query)
    events: list[Any] = []
    walked = since
    async with stage.storage.snapshot() as snapshot:
        ground = await Surveyor(RULES).read(snapshot, topic, actor, begun=True)
        assert ground.rights is not None
        look = Look(topic, options or Options(), ground.rights, 1 << 20)
        while walked < ground.clock.position:
            found, walked = await read_round(snapshot, look, walked, ground.clock.position)
            events += found
    positions = [one.position for one in events]
    assert positions == sorted(positions)
    return [json.loads(b"{" + one.tail) for one in events]


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["action"], one["uri"].rpartition("/")[2]) for one in events]


async def test_each_object_comes_once_in_its_latest_state() -> None:
    async with Stage() as stage:
        since = await make(stage)
        for n in range(5):
            await stage.do(patch(f"{RECORDS}/r0", {"n": n}))
        await stage.do(put(f"{RECORDS}/new", {"n": 9}))
        await stage.do(put(f"{RECORDS}/brief", {}))
        await stage.do(delete(f"{RECORDS}/brief"))
        await stage.do(delete(f"{RECORDS}/r1"))
        events = await read(stage, since)
        assert told(events) == [
            ("update", "r0"),
            ("create", "new"),
            ("delete", "brief"),
            ("delete", "r1"),
        ]
        assert events[0]["data"]["n"] == 4


async def test_whole_history_is_every_revision() -> None:
    async with Stage() as stage:
        since = await make(stage)
        await stage.do(patch(f"{RECORDS}/r0", {"n": 5}))
        await stage.do(patch(f"{RECORDS}/r0", {"n": 6}))
        await stage.do(delete(f"{RECORDS}/r0"))
        events = await read(stage, since, options=Options(history="all"))
        assert told(events) == [("update", "r0"), ("update", "r0"), ("delete", "r0")]
        assert [one["data"].get("n") for one in events] == [5, 6, None]


async def test_many_changes_come_in_rounds() -> None:
    async with Stage() as stage:
        since = await make(stage)
        count = ROUND_MAX_ENTRIES + 50
        await stage.commit(*[put(f"{RECORDS}/x{index}", {}) for index in range(count)])
        events = await read(stage, since)
        assert len(events) == count
        assert len({one["uri"] for one in events}) == count


async def test_large_objects_make_short_rounds() -> None:
    async with Stage() as stage:
        since = await make(stage)
        for index in range(4):
            await stage.do(put(f"{RECORDS}/x{index}", {"t": "x" * 700_000}))
        topic = parse_topic(RECORDS, [])
        async with stage.storage.snapshot() as snapshot:
            ground = await Surveyor(RULES).read(snapshot, topic, ALICE)
            assert ground.rights is not None
            look = Look(topic, Options(), ground.rights, 1 << 20)
            upto = ground.clock.position
            first, walked = await read_round(snapshot, look, since, upto)
            assert len(first) == 2
            second, walked = await read_round(snapshot, look, walked, upto)
            rest, walked = await read_round(snapshot, look, walked, upto)
        assert len(second) == 2
        assert (rest, walked) == ([], upto)


async def test_what_matches_no_more_leaves() -> None:
    async with Stage() as stage:
        since = await make(stage)
        await stage.do(patch(f"{RECORDS}/r0", {"n": 7}))
        await stage.do(patch(f"{RECORDS}/r1", {"n": 1}))
        await stage.do(put(f"{RECORDS}/other", {"n": 8}))
        events = await read(stage, since, f"{RECORDS}?n=1")
        assert told(events) == [("leave", "r0"), ("update", "r1")]
        assert events[0]["reason"] == "filter"


async def test_object_has_its_own_events_only() -> None:
    async with Stage() as stage:
        since = await make(stage)
        await stage.do(patch(f"{RECORDS}/r0", {"n": 7}))
        await stage.do(patch(f"{RECORDS}/r1", {"n": 8}))
        assert told(await read(stage, since, f"{RECORDS}/r1")) == [("update", "r1")]
        await stage.do(delete(f"{RECORDS}/r1"))
        assert told(await read(stage, since, f"{RECORDS}/r1")) == [("delete", "r1")]


@pytest.mark.parametrize("history", ["latest", "all"])
async def test_reader_of_a_part_hears_of_nothing_else(history: Any) -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.do(put(f"{RECORDS}/mine", {"n": 0}, acl=MINE))
        await stage.do(put(f"{RECORDS}/lost", {"n": 0}, acl=MINE))
        await stage.do(put(f"{RECORDS}/gone", {"n": 0}, acl=MINE))
        since = (await stage.clock(RECORDS)).position
        await stage.do(patch(f"{RECORDS}/r0", {"n": 7}))
        await stage.do(patch(f"{RECORDS}/mine", {"n": 1}))
        await stage.do(put(f"{RECORDS}/lost", {"n": 1}, acl=NOBODYS))
        await stage.do(patch(f"{RECORDS}/lost", {"n": 2}))
        await stage.do(delete(f"{RECORDS}/gone"))
        await stage.do(put(f"{RECORDS}/r1", {"n": 1}, acl=MINE))
        await stage.do(put(f"{RECORDS}/secret", {}))
        await stage.do(delete(f"{RECORDS}/secret"))
        events = await read(stage, since, actor=BOB, options=Options(history=history))
        assert told(events) == [
            ("update", "mine"),
            ("leave", "lost"),
            ("delete", "gone"),
            ("enter", "r1"),
        ]
        assert "n" not in events[1]["data"]


@pytest.mark.parametrize("history", ["latest", "all"])
async def test_what_was_shared_for_a_while_is_not_shown_afterwards(history: Any) -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.do(put(f"{RECORDS}/mine", {"n": 0}, acl=MINE))
        since = (await stage.clock(RECORDS)).position
        await stage.do(put(f"{RECORDS}/r0", {"secret": 1}, acl=MINE))
        await stage.do(put(f"{RECORDS}/r0", {"secret": 2}, acl=NOBODYS))
        events = await read(stage, since, actor=BOB, options=Options(history=history))
        assert told(events) == [("leave", "r0")]
        assert "secret" not in json.dumps(events)


@pytest.mark.parametrize("history", ["latest", "all"])
async def test_what_was_hidden_and_came_back_as_no_match_is_not_kept(history: Any) -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.do(put(f"{RECORDS}/mine", {"n": 1}, acl=MINE))
        await stage.do(put(f"{RECORDS}/back", {"n": 1}, acl=MINE))
        since = (await stage.clock(RECORDS)).position
        await stage.do(put(f"{RECORDS}/mine", {"n": 1}, acl=NOBODYS))
        await stage.do(put(f"{RECORDS}/back", {"n": 1}, acl=NOBODYS))
        await stage.do(put(f"{RECORDS}/mine", {"n": 2}, acl=MINE))
        await stage.do(put(f"{RECORDS}/back", {"n": 1}, acl=MINE))
        options = Options(history=history)
        events = await read(stage, since, f"{RECORDS}?n=1", actor=BOB, options=options)
        assert told(events) == [("leave", "mine"), ("leave", "back"), ("enter", "back")]


async def test_feed_tells_everything_in_the_buckets_order() -> None:
    async with Stage() as stage:
        await make(stage)
        since = (await stage.clock("/buckets/b/changes")).position
        await stage.do(put(GROUP, {"members": []}))
        await stage.do(patch(f"{RECORDS}/r0", {"n": 7}))
        await stage.do(put("/buckets/b/collections/d"))
        await stage.do(put("/buckets/b/collections/d/records/r", {}))
        await stage.do(delete("/buckets/b/collections/d"))
        await stage.do(patch("/buckets/b", {"t": 1}))
        events = await read(stage, since, "/buckets/b/changes")
        # What went with the collection is not told.
        assert told(events) == [
            ("create", "g"),
            ("update", "r0"),
            ("delete", "d"),
            ("update", "b"),
        ]


async def changed(stage: Stage, since: int, actor: Actor, target: str = RECORDS) -> bool:
    topic = parse_topic(target, [])
    async with stage.storage.snapshot() as snapshot:
        ground = await Surveyor(RULES).read(snapshot, topic, actor, begun=True)
        assert ground.rights is not None
        return await Rereading(RULES, topic, actor).changed(snapshot, ground.rights, since)


async def test_rights_of_the_owner_have_not_changed_by_others_shares() -> None:
    async with Stage() as stage:
        since = await make(stage)
        await stage.do(put(COLLECTION, acl=MINE))
        await stage.do(put(GROUP, {"members": [BOB.user_id]}))
        assert not await changed(stage, since, ALICE)
        assert not await changed(stage, since, ALICE, "/buckets/b/changes")


@pytest.mark.parametrize("step", ["parent", "group", "bucket", "other"])
async def test_rights_that_came_or_went_count_as_changed(step: str) -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.do(put("/buckets/o"))
        await stage.do(put(f"{RECORDS}/r0", {"n": 3}, acl=MINE))
        since = (await stage.clock(RECORDS)).position
        assert not await changed(stage, since, BOB)
        if step == "parent":
            await stage.do(put(COLLECTION, acl=MINE))
        elif step == "group":
            await stage.do(put(GROUP, {"members": [BOB.user_id]}))
        elif step == "bucket":
            await stage.do(delete("/buckets/o"))
        else:
            await stage.do(put("/buckets/o/groups/h", {"members": [BOB.user_id]}))
        assert await changed(stage, since, BOB)


async def test_rights_changed_before_the_last_write_are_known() -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.do(put(COLLECTION, acl=MINE))
        await stage.do(put(f"{RECORDS}/r0", {"n": 3}))
        since = (await stage.clock(RECORDS)).position
        assert not await changed(stage, since, BOB)
        await stage.do(put(COLLECTION, {"title": "x"}))
        assert not await changed(stage, since, BOB)


async def test_anonymous_reader_belongs_to_no_group() -> None:

    async with Stage() as stage:
        await make(stage)
        await stage.do(put(COLLECTION, acl={"read": ["system.Everyone"]}))
        await stage.do(put(f"{RECORDS}/r0", {"n": 3}))
        since = (await stage.clock(RECORDS)).position
        await stage.do(put(GROUP, {"members": [BOB.user_id]}))
        assert not await changed(stage, since, ANONYMOUS)


async def test_history_does_not_tell_what_an_object_was_that_may_not_be_seen_any_more() -> None:
    async with Stage() as stage:
        since = await make(stage)
        await stage.do(put(f"{RECORDS}/r0", {"n": 3}, acl=MINE))
        since = (await stage.clock(RECORDS)).position
        await stage.do(patch(f"{RECORDS}/r0", {"secret": 1}))
        await stage.do(put(f"{RECORDS}/r0", {"n": 4}, acl=NOBODYS))
        await stage.do(put(f"{RECORDS}/mine", {"n": 5}, acl=MINE))
        await stage.do(patch(f"{RECORDS}/mine", {"n": 6}))
        options = Options(history="all", include=frozenset(["old"]))
        events = await read(stage, since, actor=BOB, options=options)
        assert told(events) == [("leave", "r0"), ("create", "mine"), ("update", "mine")]
        assert ["old" in one for one in events] == [False, False, True]
