"""What a storage promises about counting, and about finding whom something names."""

from server.core.commands import Flush
from tests.server.storage.scenes import ALICE, BOB, Scene, delete, patch, put, random_bucket


async def totals(scene: Scene) -> dict[str, tuple[int, int]]:
    """Objects and tombstones of the kinds that have any."""
    async with scene.storage.snapshot() as snapshot:
        found = await snapshot.tally()
    return {kind: (one.live, one.tombstones) for kind, one in found.items() if any(one)}


class CountingContract:
    async def test_objects_and_tombstones_are_counted_by_kind(self, scene: Scene) -> None:
        assert await totals(scene) == {}
        collection = await scene.make_collection()
        bucket = collection.partition("/collections")[0]
        await scene.do(put(f"{bucket}/groups/g", {"members": []}))
        await scene.fill(collection, {}, {}, {})
        await scene.do(delete(f"{collection}/records/r1"))
        await scene.do(put(random_bucket()))
        assert await totals(scene) == {
            "bucket": (2, 0),
            "collection": (1, 0),
            "group": (1, 0),
            "record": (2, 1),
        }

    async def test_what_lay_in_a_parent_that_is_gone_is_not_counted(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        bucket = collection.partition("/collections")[0]
        await scene.fill(collection, {}, {})
        await scene.do(delete(f"{collection}/records/r1"))
        await scene.do(delete(collection))
        assert await totals(scene) == {"bucket": (1, 0), "collection": (0, 1)}
        await scene.do(put(collection))
        await scene.fill(collection, {})
        await scene.do(delete(f"{collection}/records/r0"))
        assert await totals(scene) == {"bucket": (1, 0), "collection": (1, 0), "record": (0, 1)}
        await scene.do(delete(bucket))
        assert await totals(scene) == {"bucket": (0, 1)}
        await scene.do(put(bucket))
        assert await totals(scene) == {"bucket": (1, 0)}

    async def test_nothing_is_counted_after_a_flush(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, {})
        assert await scene.do(Flush((collection.partition("/collections")[0],), "next"))
        assert await totals(scene) == {}
        await scene.do(put(random_bucket()))
        assert await totals(scene) == {"bucket": (1, 0)}

    async def test_many_parents_are_counted_in_parts(self, scene: Scene) -> None:
        bucket = random_bucket()
        await scene.do(put(bucket))
        uris = [f"{bucket}/collections/c{index}" for index in range(501)]
        await scene.commit(*(put(uri) for uri in uris))
        await scene.commit(*(put(f"{uri}/records/r") for uri in uris))
        assert await totals(scene) == {"bucket": (1, 0), "collection": (501, 0), "record": (501, 0)}

    async def test_what_names_a_principal_is_found_by_uri(self, scene: Scene) -> None:
        collection = await scene.make_collection({"read": [BOB.user_id]})
        bucket = collection.partition("/collections")[0]
        await scene.do(put(f"{bucket}/groups/g", {"members": [BOB.user_id]}))
        await scene.do(put(f"{bucket}/groups/h", {"members": [BOB.user_id]}, by=ALICE))
        await scene.do(patch(f"{bucket}/groups/h", {"members": []}))
        async with scene.storage.snapshot() as snapshot:
            assert sorted(await snapshot.naming(BOB.user_id)) == [collection, f"{bucket}/groups/g"]
            mine = await snapshot.naming(ALICE.user_id)
            assert sorted(mine) == sorted(
                [bucket, collection, f"{bucket}/groups/g", f"{bucket}/groups/h"]
            )
            assert await snapshot.naming("basicauth:nobody") == []
