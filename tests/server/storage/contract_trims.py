"""What a storage promises about a log that is trimmed."""

import pytest

from server.core.commands import Trim
from server.core.errors import Forbidden, ModifiedMeanwhile, ParentMissing
from server.core.paths import object_path
from server.core.positions import timestamp_of
from server.core.preconditions import Precondition
from server.core.revisions import Revision
from server.service.trimming import sort_out, trim
from server.storage.base import LogPage, RightsQuery, Trimming
from tests.server.storage.scenes import (
    ALICE,
    BOB,
    Scene,
    delete,
    list_path,
    patch,
    put,
    random_bucket,
)

NEVER = 1 << 62


async def read_bucket(scene: Scene, bucket: str, **options: object) -> list[Revision]:
    """A bucket's log, in the order of its seqs."""
    given = {"after": 0, "upto": NEVER, "limit": 1000, **options}
    async with scene.storage.snapshot() as snapshot:
        return await snapshot.log(LogPage(object_path(bucket).id, **given))  # type: ignore[arg-type]


def spell(entries: list[Revision]) -> list[str]:
    return [f"{one.action} {one.uri.rpartition('/')[2]}" for one in entries]


@pytest.mark.gen_test(timeout=60)
class TrimmingContract:
    """Clocks are raised in the transaction, entries go after it."""

    async def test_trim_raises_the_clocks_and_moves_the_bucket_s_own(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, {"n": 0}, {"n": 1})
        bucket = collection.partition("/collections")[0]
        records, feed = (
            await scene.clock(f"{collection}/records"),
            await scene.clock(f"{bucket}/changes"),
        )
        lists = {f"{collection}/records": records.position}
        verdict = await scene.do(Trim(ALICE, object_path(bucket), lists, feed.position - 1))
        now, after = (
            await scene.clock(f"{collection}/records"),
            await scene.clock(f"{bucket}/changes"),
        )
        assert (now.kept, now.position, now.oldest) == (records.position,) * 2 + (now.kept,)
        assert (after.kept, after.position) == (feed.position - 1, verdict)
        assert after.position > feed.position

    async def test_trim_never_goes_back_or_beyond_the_clock(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, {"n": 0}, {"n": 1})
        bucket, records = collection.partition("/collections")[0], f"{collection}/records"
        top = (await scene.clock(records)).position
        for given, kept in ((top, top), (top - 1, top), (top + 1, top)):
            await scene.do(Trim(None, object_path(bucket), {records: given}, 0))
            assert (await scene.clock(records)).kept == kept

    async def test_list_that_began_anew_is_not_cut_off_by_an_old_trim(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, {"n": 0})
        bucket, records = collection.partition("/collections")[0], f"{collection}/records"
        top = (await scene.clock(records)).position
        await scene.do(delete(collection))
        await scene.do(Trim(None, object_path(bucket), {records: top}, 0))
        await scene.do(put(collection))
        await scene.do(Trim(None, object_path(bucket), {records: top}, 0))
        clock = await scene.clock(records)
        assert (clock.kept, clock.oldest) == (0, clock.floor)

    async def test_only_writers_of_the_bucket_trim_it_and_as_they_know_it(
        self, scene: Scene
    ) -> None:
        bucket = random_bucket()
        await scene.do(put(bucket))
        path = object_path(bucket)
        (verdict,) = await scene.commit(Trim(BOB, path, {}, 1))
        assert isinstance(verdict, Forbidden)
        (verdict,) = await scene.commit(Trim(ALICE, path, {}, 1, Precondition(match=1)))
        assert isinstance(verdict, ModifiedMeanwhile)
        stamp = timestamp_of((await scene.clock(f"{bucket}/changes")).position)
        (verdict,) = await scene.commit(Trim(ALICE, path, {}, 1, Precondition(match=stamp)))
        assert timestamp_of(verdict) > stamp

    async def test_bucket_that_is_gone_has_nothing_to_trim(self, scene: Scene) -> None:
        bucket = random_bucket()
        await scene.do(put(bucket))
        await scene.do(delete(bucket))
        path = object_path(bucket)
        assert await scene.do(Trim(None, path, {}, 1)) is None
        (verdict,) = await scene.commit(Trim(ALICE, path, {}, 1))
        assert isinstance(verdict, Forbidden | ParentMissing)

    async def test_what_is_removed_is_in_no_log(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, {"n": 0}, {"n": 1}, {"n": 2})
        bucket = collection.partition("/collections")[0]
        entries = await read_bucket(scene, bucket)
        going = entries[2].seq, entries[4].seq
        await scene.storage.forget(Trimming(entries[0].bucket, removed=going))
        await scene.storage.forget(Trimming(entries[0].bucket, removed=going))
        left = ["create " + collection.rpartition("/")[2], "create r1"]
        assert spell(await read_bucket(scene, bucket))[1:] == left
        path = list_path(f"{collection}/records")
        async with scene.storage.snapshot() as snapshot:
            found = await snapshot.log(LogPage(path, 0, NEVER, 10))
            last = await snapshot.last_entry(path, NEVER)
        assert spell(found) == ["create r1"]
        assert last is not None
        assert last.position == entries[3].position
        assert len([one for one in await scene.log() if one.bucket == entries[0].bucket]) == 3

    async def test_what_is_hollowed_tells_who_could_see_what_and_nothing_else(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        await scene.do(patch(collection, {"secret": "once"}))
        bucket = collection.partition("/collections")[0]
        before = await read_bucket(scene, bucket)
        await scene.storage.forget(Trimming(before[0].bucket, hollowed=[before[2].seq]))
        after = await read_bucket(scene, bucket)
        hollow, whole = after[2], before[2]
        assert (hollow.trimmed, hollow.json, hollow.before) == (True, b"", b"")
        assert (hollow.acl, hollow.readers, hollow.position) == (
            whole.acl,
            whole.readers,
            whole.position,
        )
        assert after[:2] == before[:2]
        query = RightsQuery(before[0].bucket, (collection,), (), 0, 0)
        async with scene.storage.snapshot() as snapshot:
            assert len(await snapshot.rights_log(query)) == 2

    async def test_what_is_hidden_stays_whole(self, scene: Scene) -> None:
        bucket = random_bucket()
        await scene.do(put(bucket, {"n": 1}))
        (entry,) = await read_bucket(scene, bucket)
        await scene.storage.forget(Trimming(entry.bucket, hidden=[entry.seq]))
        (hidden,) = await read_bucket(scene, bucket)
        assert (hidden.trimmed, hidden.json) == (True, entry.json)
        assert await read_bucket(scene, bucket, trimmed=False) == []

    async def test_snapshot_shows_the_log_as_it_was_when_it_was_taken(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, {"n": 0}, {"n": 1})
        path = list_path(f"{collection}/records")
        async with scene.storage.snapshot() as snapshot:
            before = await snapshot.log(LogPage(path, 0, NEVER, 10))
            seqs = [one.seq for one in before]
            trimming = Trimming(before[0].bucket, removed=seqs[:1], hollowed=seqs[1:])
            await scene.storage.forget(trimming)
            assert await snapshot.log(LogPage(path, 0, NEVER, 10)) == before
            last = await snapshot.last_entry(path, before[0].position)
            assert last is not None
            assert last.position == before[0].position
        async with scene.storage.snapshot() as snapshot:
            assert len(await snapshot.log(LogPage(path, 0, NEVER, 10))) == 1

    async def test_log_is_found_by_who_did_it_in_which_lists_and_after_others(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection({"write": [BOB.user_id]})
        await scene.fill(collection, {"n": 0}, {"n": 1}, {"n": 2})
        await scene.do(put(f"{collection}/records/r9", by=BOB))
        bucket = collection.partition("/collections")[0]
        for options, found in (
            ({"by": BOB.user_id}, ["create r9"]),
            ({"plural": "collections"}, ["create c"]),
            ({"plural": "collections/c/records", "limit": 1}, ["create r0"]),
            ({"plural": "records", "skip": 3}, ["create r9"]),
            ({"plural": "records", "skip": 3, "descending": True}, ["create r0"]),
            ({"skip": 9}, []),
            ({"readers": [BOB.user_id]}, ["create c", "create r9"]),
            (
                {"readers": ["x"], "also": [f"{collection}/records"], "limit": 2},
                ["create r0", "create r1"],
            ),
        ):
            assert spell(await read_bucket(scene, bucket, **options)) == found, options

    async def test_entries_of_records_go_but_for_the_last_of_their_list(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.do(put(f"{collection}/../groups/g".replace("/collections/c/..", "")))
        await scene.fill(collection, {"n": 0}, {"n": 1})
        bucket = collection.partition("/collections")[0]
        entries = await read_bucket(scene, bucket)
        position = await trim(scene.storage, object_path(bucket), entries, ALICE)
        assert position == (await scene.clock(f"{bucket}/changes")).position
        left = await read_bucket(scene, bucket)
        assert [(one.uri.rpartition("/")[2], bool(one.json)) for one in left[1:]] == [
            ("c", False),
            ("g", False),
            ("r1", False),
        ]
        assert (left[0].trimmed, left[0].json) == (True, entries[0].json)
        assert all(one.trimmed for one in left)
        for name in ("groups", "collections"):
            clock = await scene.clock(f"{bucket}/{name}")
            assert clock.kept == clock.position
        assert (await scene.clock("/buckets")).kept == 0
        tops = {one.list: one.position for one in entries}
        assert set(sort_out("b", entries, tops).removed) == {entries[3].seq}
