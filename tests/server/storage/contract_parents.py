"""What a storage promises about parents: what goes with them, and what stays behind for ever."""

import secrets

import pytest

from server.core.commands import Flush
from server.core.errors import Forbidden, ParentMissing
from tests.server.storage.scenes import BOB, Scene, delete, patch, put, random_bucket


@pytest.mark.gen_test(timeout=60)
class ParentsContract:
    """Deleted buckets and collections, and groups of other buckets."""

    async def test_children_of_a_deleted_collection_are_gone_and_do_not_come_back_with_it(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, {}, {})
        before = await scene.clock(uri)
        await scene.do(delete(collection))
        assert await scene.find(f"{uri}/r0") is None
        with pytest.raises(ParentMissing):
            await scene.do(put(f"{uri}/r0"))
        await scene.do(put(collection))
        clock = await scene.clock(uri)
        assert clock.position > before.position
        assert clock.floor >= before.position
        assert clock.live == 0
        assert await scene.living(uri) == []
        assert await scene.find(f"{uri}/r0") is None
        made = await scene.do(put(f"{uri}/r0", {"new": True}))
        assert made.created
        assert made.object.position > clock.position
        assert await scene.living(uri) == ["r0"]

    async def test_everything_in_a_deleted_bucket_is_gone_and_does_not_come_back_with_it(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        bucket = collection.split("/collections")[0]
        await scene.fill(collection, {})
        await scene.do(put(f"{bucket}/groups/g", {"members": [BOB.user_id]}))
        clocks = {
            uri: (await scene.clock(uri)).position
            for uri in (
                f"{bucket}/collections",
                f"{bucket}/groups",
                f"{bucket}/changes",
                f"{collection}/records",
            )
        }
        await scene.do(delete(bucket))
        await scene.do(put(bucket, by=BOB))
        assert await scene.find(collection) is None
        assert await scene.living(f"{bucket}/collections") == []
        assert await scene.living(f"{bucket}/groups") == []
        await scene.do(put(collection, by=BOB))
        assert await scene.living(f"{collection}/records") == []
        for uri, position in clocks.items():
            clock = await scene.clock(uri)
            assert clock.position > position, uri
            assert clock.floor >= position, uri

    async def test_log_of_the_old_owner_lies_below_the_floor_of_the_new_one(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        bucket = collection.split("/collections")[0]
        await scene.fill(collection, {"secret": 1})
        await scene.do(delete(bucket))
        await scene.do(put(bucket, by=BOB))
        floor = (await scene.clock(f"{bucket}/changes")).floor
        visible = [
            one
            for one in await scene.log()
            if one.bucket == bucket.split("/")[2] and one.seq > floor
        ]
        assert [(one.uri, one.action, one.by) for one in visible] == [
            (bucket, "create", BOB.user_id)
        ]

    async def test_parent_made_again_and_again_never_goes_back_in_time(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        bucket = collection.split("/collections")[0]
        positions = []
        for _ in range(4):
            await scene.do(put(f"{collection}/records/r"))
            positions.append((await scene.clock(f"{collection}/records")).position)
            await scene.do(delete(bucket))
            await scene.do(put(bucket))
            await scene.do(put(collection))
            positions.append((await scene.clock(f"{collection}/records")).position)
        assert positions == sorted(set(positions))

    async def test_parent_deleted_and_made_again_in_one_batch_starts_empty(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, {}, {})
        await scene.commit(delete(collection), put(collection), put(f"{uri}/fresh"))
        assert await scene.living(uri) == ["fresh"]
        assert (await scene.clock(uri)).live == 1

    async def test_group_of_another_bucket_grants_until_it_or_its_bucket_is_gone(
        self, scene: Scene
    ) -> None:
        other = random_bucket()
        group = f"{other}/groups/g"
        collection = await scene.make_collection({"write": [group]})

        async def is_allowed() -> bool:
            # Each time another one: who made a record may write it again.
            uri = f"{collection}/records/{secrets.token_hex(4)}"
            (verdict,) = await scene.commit(put(uri, by=BOB))
            return not isinstance(verdict, Forbidden)

        assert not await is_allowed()
        await scene.do(put(other))
        assert not await is_allowed()
        await scene.do(put(group, {"members": [BOB.user_id]}))
        assert await is_allowed()
        await scene.do(patch(group, {"members": []}))
        assert not await is_allowed()
        await scene.do(patch(group, {"members": [BOB.user_id]}))
        assert await is_allowed()
        await scene.do(delete(group))
        assert not await is_allowed()
        await scene.do(put(group, {"members": [BOB.user_id]}))
        await scene.do(delete(other))
        assert not await is_allowed()
        # The group of the old owner does not come back with the bucket.
        await scene.do(put(other))
        assert not await is_allowed()

    async def test_write_after_a_revocation_in_the_same_batch_is_refused(
        self, scene: Scene
    ) -> None:
        other = random_bucket()
        group = f"{other}/groups/g"
        await scene.commit(put(other), put(group, {"members": [BOB.user_id]}))
        collection = await scene.make_collection({"write": [group]})
        uri = f"{collection}/records"
        verdicts = await scene.commit(
            put(f"{uri}/a", by=BOB), patch(group, {"members": []}), put(f"{uri}/b", by=BOB)
        )
        assert [isinstance(one, Forbidden) for one in verdicts] == [False, False, True]

    async def test_flush_removes_every_bucket_and_begins_a_new_epoch(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        bucket = collection.split("/collections")[0]
        second = random_bucket()
        await scene.do(put(second))
        await scene.fill(collection, {})
        before = await scene.clock("/buckets")
        async with scene.storage.snapshot() as snapshot:
            epoch = (await snapshot.objects(["/"]))["/"].epoch
        verdicts = await scene.commit(Flush((bucket,), "new epoch"), Flush((second,), "new epoch"))
        assert verdicts == [False, True]
        async with scene.storage.snapshot() as snapshot:
            root = (await snapshot.objects(["/"]))["/"]
        assert root.epoch == "new epoch" != epoch
        assert await scene.living("/buckets") == []
        after = await scene.clock("/buckets")
        assert (after.live, after.floor) == (0, after.position)
        assert after.position > before.position
        assert await scene.find(collection) is None
        # And tombstones of before are not told to those who ask since when.
        assert await scene.ids("/buckets", tombstones=True, floor=after.floor) == []
        await scene.do(put(bucket, by=BOB))
        assert await scene.living("/buckets") == [bucket.split("/")[2]]
        assert await scene.living(f"{bucket}/collections") == []
