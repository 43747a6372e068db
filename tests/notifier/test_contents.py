import json
from typing import Any

import pytest

from notifier.contents import PAGE_MAX_OBJECTS, read_pages
from notifier.grounds import Surveyor
from notifier.messages import Options
from notifier.topics import parse_topic, split_target
from notifier.views import Look
from server.core.permissions import Actor
from tests.notifier.stages import Stage
from tests.server.storage.scenes import ALICE, BOB, RULES, delete, put

pytestmark = pytest.mark.gen_test

RECORDS = "/buckets/b/collections/c/records"


async def read(
    stage: Stage, target: str, actor: Actor = ALICE, options: Options | None = None
) -> list[list[Any]]:
    """The pages of a topic."""
    path, arguments, query = split_target(target)
    topic = parse_topic(path, arguments, query)
    async with stage.storage.snapshot() as snapshot:
        ground = await Surveyor(RULES).read(snapshot, topic, actor, begun=True)
        assert ground.rights is not None
        look = Look(topic, options or Options(), ground.rights, 1 << 20)
        pages = [page async for page in read_pages(snapshot, look, ground)]
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
    return [[json.loads(text) for text in page.texts] for page in pages]


async def test_pages_of_a_list_go_on_from_where_one_ended() -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.fill("/buckets/b/collections/c", *[{"t": "x" * 100_000}] * 7)
        topic = parse_topic(RECORDS, [])
        async with stage.storage.snapshot() as snapshot:
            ground = await Surveyor(RULES).read(snapshot, topic, ALICE)
            assert ground.rights is not None
            look = Look(topic, Options(), ground.rights, 1 << 20)
            pages = [page async for page in read_pages(snapshot, look, ground)]
            again = [page async for page in read_pages(snapshot, look, ground, pages[1].mark)]
        assert [page.texts for page in again] == [page.texts for page in pages[2:]]


async def make(stage: Stage) -> None:
    await stage.do(put("/buckets/b"))
    await stage.do(put("/buckets/b/collections/c"))
    await stage.do(put("/buckets/b/collections/d"))
    await stage.do(put("/buckets/b/groups/g", {"members": []}))
    await stage.fill("/buckets/b/collections/c", {"n": 1, "t": "x"}, {"n": 2})
    await stage.fill("/buckets/b/collections/d", {"n": 3})


async def test_list_is_given_as_it_is_without_tombstones() -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.do(delete(f"{RECORDS}/r1"))
        ((record,),) = await read(stage, RECORDS)
        assert (record["id"], record["n"]) == ("r0", 1)


async def test_empty_list_is_one_empty_page() -> None:
    async with Stage() as stage:
        await make(stage)
        assert await read(stage, f"{RECORDS}?n=9") == [[]]


async def test_filters_and_fields_count() -> None:
    async with Stage() as stage:
        await make(stage)
        ((record,),) = await read(stage, f"{RECORDS}?n=1&_fields=n")
        assert set(record) == {"id", "last_modified", "n"}


async def test_ids_are_all_that_is_given_where_no_more_is_wanted() -> None:
    async with Stage() as stage:
        await make(stage)
        ((record,),) = await read(stage, f"{RECORDS}?n=1", options=Options(deliver="ids"))
        assert set(record) == {"id", "last_modified"}


async def test_filter_on_dates_shows_no_tombstones_either() -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.do(delete(f"{RECORDS}/r1"))
        ((record,),) = await read(stage, f"{RECORDS}?gt_last_modified=1")
        assert record["id"] == "r0"


async def test_long_list_comes_in_pages_with_each_object_once() -> None:
    async with Stage() as stage:
        await make(stage)
        total = 2 * PAGE_MAX_OBJECTS + 7
        parts = [put(f"{RECORDS}/x{index}", {}) for index in range(total - 2)]
        await stage.commit(*parts)
        pages = await read(stage, RECORDS)
        ids = [one["id"] for page in pages for one in page]
        assert len(ids) == len(set(ids)) == total
        assert max(len(page) for page in pages) <= PAGE_MAX_OBJECTS


async def test_object_larger_than_a_page_has_one_of_its_own() -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.do(put(f"{RECORDS}/big", {"t": "x" * 1_000_000}))
        pages = await read(stage, RECORDS)
        assert [one["id"] for one in pages[0]] == ["big"]
        assert [one["id"] for page in pages[1:] for one in page] == ["r1", "r0"]


async def test_reader_of_a_part_is_given_that_part() -> None:
    async with Stage() as stage:
        await make(stage)
        await stage.do(put(f"{RECORDS}/r1", acl={"read": [BOB.user_id]}))
        ((record,),) = await read(stage, RECORDS, BOB)
        assert record["id"] == "r1"


async def test_object_is_given_alone() -> None:
    async with Stage() as stage:
        await make(stage)
        ((record,),) = await read(stage, f"{RECORDS}/r0?_fields=n")
        assert set(record) == {"id", "last_modified", "n"}
        await stage.do(delete(f"{RECORDS}/r0"))
        assert await read(stage, f"{RECORDS}/r0") == [[]]


async def test_feed_gives_everything_in_the_bucket_once() -> None:
    async with Stage() as stage:
        await make(stage)
        (entries,) = await read(stage, "/buckets/b/changes")
        assert sorted(one["uri"] for one in entries) == [
            "/buckets/b",
            "/buckets/b/collections/c",
            f"{RECORDS}/r0",
            f"{RECORDS}/r1",
            "/buckets/b/collections/d",
            "/buckets/b/collections/d/records/r0",
            "/buckets/b/groups/g",
        ]
        kinds = {one["uri"].count("/"): one["resource_name"] for one in entries}
        assert kinds[2] == "bucket"
        assert kinds[6] == "record"


async def test_feed_with_a_filter_gives_what_matches() -> None:
    async with Stage() as stage:
        await make(stage)
        (entries,) = await read(stage, "/buckets/b/changes?min_n=2&_fields=n")
        found = {one["uri"]: one["data"]["n"] for one in entries if "n" in one["data"]}
        assert found == {f"{RECORDS}/r1": 2, "/buckets/b/collections/d/records/r0": 3}


@pytest.mark.parametrize(
    ("uri", "acl", "expected"),
    [
        (f"{RECORDS}/r1", {"read": [BOB.user_id]}, [f"{RECORDS}/r1"]),
        (
            "/buckets/b/collections/c",
            {"read": [BOB.user_id]},
            ["/buckets/b/collections/c", f"{RECORDS}/r0", f"{RECORDS}/r1"],
        ),
        (
            "/buckets/b/collections/c",
            {"record:create": [BOB.user_id]},
            ["/buckets/b/collections/c"],
        ),
        ("/buckets/b/groups/g", {"read": [BOB.user_id]}, ["/buckets/b/groups/g"]),
        ("/buckets/b", {"group:create": [BOB.user_id]}, ["/buckets/b"]),
    ],
)
async def test_feed_gives_a_reader_of_a_part_that_part(
    uri: str, acl: dict[str, list[str]], expected: list[str]
) -> None:
    async with Stage() as stage:
        await make(stage)
        data: dict[str, list[str]] | None = {"members": []} if "/groups/" in uri else None
        await stage.do(put(uri, data, acl=acl))
        (entries,) = await read(stage, "/buckets/b/changes", BOB)
        assert sorted(one["uri"] for one in entries) == expected
