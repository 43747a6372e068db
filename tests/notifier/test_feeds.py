import json
from typing import Any

import pytest

from notifier.feeds import FeedPage, FeedReader, FeedRequest
from notifier.topics import parse_topic
from server.core.errors import CursorExpired, Forbidden, TooLarge
from server.core.permissions import Actor
from tests.notifier.stages import Stage
from tests.server.storage.scenes import ALICE, BOB, put

pytestmark = pytest.mark.gen_test(timeout=30)


class Reading:
    """Reads the feed of one bucket."""

    def __init__(self, stage: Stage, bucket: str, objects_max: int = 1000) -> None:
        self._stage = stage
        self._topic = parse_topic(f"{bucket}/changes", ())
        self._reader = FeedReader(stage.live.surveyor, 1 << 20, objects_max)

    async def __call__(
        self, since: int | None = None, *, actor: Actor = ALICE, limit: int = 500
    ) -> FeedPage:
        request = FeedRequest(self._topic, actor, since=since, limit=limit)
        async with self._stage.storage.snapshot() as snapshot:
            ground = await self._reader.survey(snapshot, self._topic, actor)
            return await self._reader.read(snapshot, ground, request)


def shown(page: FeedPage) -> list[dict[str, Any]]:
    return [json.loads(one) for one in page.entries]


async def test_everything_then_what_changed() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        read = Reading(stage, collection.rpartition("/collections")[0])
        first = await read()
        assert [one["resource_name"] for one in shown(first)] == ["bucket", "collection"]
        await stage.fill(collection, {}, {})
        second = await read(first.position)
        assert [one["data"]["id"] for one in shown(second)] == ["r0", "r1"]
        assert not second.more
        assert await read(second.position) == FeedPage(second.position, [])


async def test_page_ends_at_its_limit_and_says_that_more_follows() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        read = Reading(stage, collection.rpartition("/collections")[0])
        since = (await read()).position
        await stage.fill(collection, {}, {}, {})
        page = await read(since, limit=2)
        assert (len(page.entries), page.more) == (2, True)
        assert str(page.position >> 20) == shown(page)[-1]["cursor"]
        rest = await read(page.position, limit=2)
        assert ([one["data"]["id"] for one in shown(rest)], rest.more) == (["r2"], False)


async def test_page_that_ends_at_its_limit_and_the_end_is_the_last() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        read = Reading(stage, collection.rpartition("/collections")[0])
        since = (await read()).position
        await stage.fill(collection, {}, {})
        page = await read(since, limit=2)
        assert (len(page.entries), page.more) == (2, False)


async def test_long_log_of_strangers_is_read_once_by_who_sees_a_part() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        bucket = collection.rpartition("/collections")[0]
        await stage.do(put(f"{collection}/records/mine", acl={"read": [BOB.user_id]}))
        read = Reading(stage, bucket)
        since = (await read(actor=BOB)).position
        await stage.do(put(f"{collection}/records/hidden"))
        assert (await read(since, actor=BOB)).position == since
        await stage.commit(*(put(f"{collection}/records/h{n}") for n in range(600)))
        page = await read(since, actor=BOB)
        assert page.entries == []
        assert page.position > since


async def test_refusals_are_raised() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        bucket = collection.rpartition("/collections")[0]
        read = Reading(stage, bucket, objects_max=2)
        since = (await read()).position
        with pytest.raises(Forbidden):
            await read(actor=BOB)
        with pytest.raises(CursorExpired):
            await read(since + (1 << 40))
        await stage.do(put(f"{collection}/records/a", acl={"read": [BOB.user_id]}))
        with pytest.raises(TooLarge):
            await read()
        cursor = (await read(actor=BOB)).position
        await stage.do(put(bucket, acl={"read": [BOB.user_id]}))
        with pytest.raises(CursorExpired) as caught:
            await read(cursor, actor=BOB)
        assert caught.value.details["reason"] == "permissions-changed"
