"""What a storage promises about what is loaded: as it was elsewhere, to the letter."""

import pytest

from server.core.commands import Advance, Load, Loaded
from server.core.contents import Content
from server.core.errors import ParentMissing
from server.core.paths import object_path
from server.core.positions import timestamp_of
from server.core.revisions import Revision
from tests.server.storage.scenes import Scene, list_path, make_content, put, random_bucket

DATE = 1_600_000_000_000


def load(uri: str, date: int, acl: dict[str, list[str]] | None = None) -> Load:
    path = object_path(uri)
    return Load(path, make_content(path.kind.name, {"last_modified": date, "a": 1}, acl))


def bury(uri: str, date: int) -> Load:
    return Load(object_path(uri), Content(date=date), deleted=True)


@pytest.mark.gen_test(timeout=60)
class LoadingContract:
    """Objects, tombstones and timestamps from elsewhere."""

    async def test_loaded_objects_keep_dates_and_permissions_and_give_the_list_its_etag(
        self, scene: Scene
    ) -> None:
        bucket = random_bucket()
        records = f"{bucket}/collections/c/records"
        parts = [load(bucket, DATE), load(f"{bucket}/collections/c", DATE)]
        parts += [load(f"{records}/r{n}", DATE + n, {"read": ["bob"]}) for n in range(3)]
        verdicts = await scene.commit(*parts, bury(f"{records}/gone", DATE + 9))
        assert verdicts == [Loaded.CREATED] * 5 + [Loaded.DELETED]
        found = await scene.find(f"{records}/r2")
        assert found is not None
        assert (found.last_modified, dict(found.acl)) == (DATE + 2, {"read": ("bob",)})
        clock = await scene.clock(records)
        assert (timestamp_of(clock.position), clock.live) == (DATE + 9, 3)
        polled = await scene.ids(records, "_since=0", tombstones=True)
        assert sorted(polled) == ["gone", "r0", "r1", "r2"]

    async def test_loading_again_stores_nothing_and_a_refused_part_leaves_the_others(
        self, scene: Scene
    ) -> None:
        bucket = random_bucket()
        parts = [load(bucket, DATE), load(f"{bucket}/groups/g", DATE)]
        await scene.commit(*parts)
        before = await scene.clock(f"{bucket}/changes")
        again = await scene.commit(parts[0], load("/buckets/nowhere/groups/g", DATE), parts[1])
        assert (again[0], again[2]) == (Loaded.SAME, Loaded.SAME)
        assert isinstance(again[1], ParentMissing)
        assert await scene.clock(f"{bucket}/changes") == before

    async def test_clock_that_was_moved_on_stays_there_and_writes_come_after_it(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        records = f"{collection}/records"
        ahead = timestamp_of((await scene.clock(records)).position) + 1_000_000
        await scene.commit(Advance(list_path(records), ahead), Advance(list_path(records), 5))
        assert timestamp_of((await scene.clock(records)).position) == ahead
        made = await scene.write(put(f"{records}/r"))
        assert made.last_modified == ahead + 1

    async def test_changes_that_are_loaded_are_told(self, scene: Scene) -> None:
        bucket = random_bucket()
        feed = await scene.storage.feed()
        try:
            await scene.commit(load(bucket, DATE), bury(f"{bucket}/groups/g", DATE))
            told: list[Revision] = []
            while not told:
                told += [one.revision for one in await feed.read()]
        finally:
            await feed.close()
        assert [(one.uri, one.action, one.last_modified) for one in told] == [
            (bucket, "create", DATE)
        ]
