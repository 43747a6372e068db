"""What a storage promises about quotas and schemas: they are decided where the writes are."""

import asyncio
import random

import pytest

from server.core.commands import Flush, Part
from server.core.errors import InvalidParameters, QuotaExceeded
from server.core.paths import object_path
from tests.server.storage.scenes import CROWDED, CROWDED_MAX, Scene, delete, patch, put

COLLECTION = f"{CROWDED}/collections/c"


async def counts(scene: Scene, uri: str) -> tuple[int, int]:
    clock = await scene.clock(uri)
    return clock.live, clock.size


async def sizes(scene: Scene, *uris: str) -> int:
    found = [await scene.find(uri) for uri in uris]
    return sum(len(one.json) for one in found if one is not None)


@pytest.mark.gen_test(timeout=60)
class LimitsContract:
    """Nobody gets past one."""

    async def test_of_many_writers_only_so_many_get_the_last_places(self, scene: Scene) -> None:
        await scene.commit(put(CROWDED), put(COLLECTION))
        writes = [put(f"{COLLECTION}/records/r{n}") for n in range(CROWDED_MAX + 5)]
        verdicts = await asyncio.gather(*(scene.commit(write) for write in writes))
        refused = [one for (one,) in verdicts if isinstance(one, QuotaExceeded)]
        assert len(refused) == 5
        assert (await scene.clock(f"{CROWDED}/changes")).live == CROWDED_MAX
        living = await scene.living(f"{COLLECTION}/records")
        assert len(living) == CROWDED_MAX
        await scene.do(delete(f"{COLLECTION}/records/{living[0]}"))
        await scene.do(put(f"{COLLECTION}/records/new"))

    async def test_parts_of_a_command_count_for_each_other(self, scene: Scene) -> None:
        uris = [f"{COLLECTION}/records/r{n}" for n in range(CROWDED_MAX + 1)]
        verdicts = await scene.commit(put(CROWDED), put(COLLECTION), *map(put, uris))
        assert [isinstance(one, QuotaExceeded) for one in verdicts[2:]] == [
            *([False] * CROWDED_MAX),
            True,
        ]
        verdicts = await scene.commit(delete(uris[0]), put(uris[-1]))
        assert not isinstance(verdicts[1], QuotaExceeded)

    async def test_what_lies_in_lists_is_counted_through_all_that_becomes_of_it(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        bucket = collection.partition("/collections")[0]
        other, group = f"{bucket}/collections/d", f"{bucket}/groups/g"
        inside = [
            other,
            group,
            *(f"{one}/records/r{n}" for one in (collection, other) for n in range(3)),
        ]
        rng = random.Random(5)
        for _ in range(60):
            uri = rng.choice([collection, *inside])
            data = {"x": "é" * rng.randrange(30)}
            writes: list[Part] = [put(uri, data), patch(uri, data), delete(uri)]
            await scene.commit(rng.choice(writes))
            living = [one for one in (collection, *inside) if await scene.find(one) is not None]
            records = [one for one in living if "/records/" in one]
            assert await counts(scene, f"{bucket}/changes") == (
                len(records),
                await sizes(scene, *living),
            )
            for list_uri in (f"{bucket}/collections", f"{bucket}/groups"):
                here = [one for one in living if object_path(one).list.uri == list_uri]
                assert await counts(scene, list_uri) == (len(here), await sizes(scene, *here))
            for parent in (collection, other):
                if parent in living:
                    here = [one for one in records if one.startswith(parent)]
                    found = await counts(scene, f"{parent}/records")
                    assert found == (len(here), await sizes(scene, *here))

    async def test_nothing_is_left_of_the_count_when_a_bucket_is_made_again(
        self, scene: Scene
    ) -> None:
        for end in (delete(CROWDED), Flush((CROWDED,), "next")):
            await scene.commit(put(CROWDED), put(COLLECTION))
            await scene.fill(COLLECTION, *([{}] * CROWDED_MAX))
            await scene.commit(end)
            await scene.commit(put(CROWDED))
            assert await counts(scene, f"{CROWDED}/changes") == (0, 0)
            await scene.do(delete(CROWDED))

    async def test_record_is_checked_by_the_schema_that_was_stored_before_it(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        schema = {"schema": {"required": ["title"]}}
        uri = f"{collection}/records/r"
        verdicts = await scene.commit(
            put(uri), patch(collection, schema), put(uri, {}), put(uri, {"title": 1})
        )
        assert isinstance(verdicts[2], InvalidParameters)
        assert verdicts[3].object.data["schema"] == verdicts[1].object.last_modified
        assert isinstance(
            (await scene.commit(patch(uri, {"title": 2})))[0].object.last_modified, int
        )
        (refused,) = await scene.commit(put(f"{collection}/records/s"))
        assert isinstance(refused, InvalidParameters)
