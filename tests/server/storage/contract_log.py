"""What a storage promises about its log, and about pages that end with their bytes."""

from typing import Any

import pytest

from server.core.commands import Inquiry
from server.core.objects import Listed
from server.core.paths import ROOT, ObjectPath, object_path
from server.core.positions import sequence_of, timestamp_of
from server.core.revisions import Revision
from server.core.sorting import DEFAULT_ORDER, Order, SortKey, full_order, keys_of
from server.storage.base import LogPage, RightsQuery, Snapshot
from tests.server.storage.scenes import (
    ALICE,
    BOB,
    Scene,
    delete,
    list_path,
    make_page,
    patch,
    put,
    random_bucket,
)

NEVER = 1 << 62
BY_SIZE: Order = full_order([SortKey("size", descending=True)])


def make_log_page(scope: str, **options: Any) -> LogPage:
    """A page of the log of a list, by its URI, or of a bucket, by its id; all of it by default."""
    given = {"after": 0, "upto": NEVER, "limit": 1000, **options}
    return LogPage(list_path(scope) if scope.startswith("/") else scope, **given)


async def read_log(scene: Scene, scope: str, **options: Any) -> list[Revision]:
    async with scene.storage.snapshot() as snapshot:
        return await snapshot.log(make_log_page(scope, **options))


async def read_rights(scene: Scene, **options: Any) -> list[tuple[str, str]]:
    """URI and action of the entries that a question of rights finds."""
    given = {"bucket": "none", "uris": (), "principals": (), "seq": 0, "date": 0, **options}
    async with scene.storage.snapshot() as snapshot:
        found = await snapshot.rights_log(RightsQuery(**given))
    assert all(not one.json and not one.before for one in found)
    return [(one.uri, one.action) for one in found]


async def stored(scene: Scene, uri: str) -> list[Revision]:
    """The entries of a list, in order, as the backend's own tools show them."""
    return sorted(
        (one for one in await scene.log() if one.list == uri), key=lambda one: one.position
    )


def bucket_of(collection: str) -> ObjectPath:
    return object_path(collection).ancestors[0]


async def last_seq(scene: Scene, bucket: ObjectPath) -> int:
    return (await scene.clock(f"{bucket.uri}/changes")).position


def spell(entries: list[Revision]) -> list[str]:
    """Ids and actions, for short."""
    return [f"{one.action} {one.uri.rpartition('/')[2]}" for one in entries]


@pytest.mark.gen_test(timeout=60)
class LogContract:
    """Entries in a range, the last one, and those that change rights."""

    async def test_log_is_narrowed_to_what_did_one_thing(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        records = f"{collection}/records"
        await scene.fill(collection, {"n": 0}, {"n": 1})
        await scene.do(patch(f"{records}/r0", {"n": 2}))
        await scene.do(delete(f"{records}/r0"))
        await scene.do(put(f"{records}/r0"))
        made = await read_log(scene, records, action="create")
        assert spell(made) == ["create r0", "create r1", "create r0"]
        last = {"uri": f"{records}/r0", "descending": True, "limit": 1}
        assert spell(await read_log(scene, records, action="delete", **last)) == ["delete r0"]
        assert await read_log(scene, records, action="create", **last) == made[-1:]

    async def test_log_of_a_list_holds_all_that_happened_in_it_in_order_of_position(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, {"n": 0}, {"n": 1})
        await scene.do(put(f"{collection[:-1]}d"))
        await scene.do(patch(f"{uri}/r0", {"n": 2}))
        # Dated in the past: its place is the last nevertheless.
        await scene.do(put(f"{uri}/old", {"last_modified": 1000}))
        await scene.do(delete(f"{uri}/r1"))
        entries = await read_log(scene, uri)
        assert entries == await stored(scene, uri)
        assert spell(entries) == ["create r0", "create r1", "update r0", "create old", "delete r1"]
        old = entries[3]
        assert (old.last_modified, sequence_of(old.position)) == (1000, 1)
        assert timestamp_of(old.position) == timestamp_of(entries[2].position)

    async def test_log_can_be_read_from_its_end(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, *({} for _ in range(6)))
        await scene.do(patch(f"{uri}/r2", {"n": 2}))
        entries = await stored(scene, uri)
        after, upto = entries[0].position, entries[5].position
        options = {"after": after, "upto": upto, "descending": True}
        assert await read_log(scene, uri, **options) == entries[5:0:-1]
        assert await read_log(scene, uri, **options, limit=2) == entries[5:3:-1]
        of_one = await read_log(scene, uri, descending=True, uri=f"{uri}/r2")
        assert of_one == [entries[6], entries[2]]
        bucket = await read_log(scene, bucket_of(collection).id, descending=True, limit=7)
        assert bucket == entries[::-1]

    async def test_range_begins_after_its_beginning_and_ends_with_its_end(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, *({} for _ in range(6)))
        entries = await stored(scene, uri)
        after, upto = entries[1].position, entries[4].position
        assert await read_log(scene, uri, after=after, upto=upto) == entries[2:5]
        assert await read_log(scene, uri, after=after, upto=upto, limit=2) == entries[2:4]
        assert await read_log(scene, uri, after=upto, upto=upto) == []
        assert await read_log(scene, uri, after=after - 1, upto=after) == entries[1:2]

    async def test_log_of_a_bucket_holds_all_in_it_and_the_bucket_itself_by_seq(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        bucket = bucket_of(collection)
        await scene.do(put(random_bucket()))
        await scene.fill(collection, {})
        await scene.do(put(f"{bucket.uri}/groups/g", {"members": []}))
        await scene.do(put(f"{collection}/records/old", {"last_modified": 1000}))
        await scene.do(patch(bucket.uri, {"a": 1}))
        entries = await read_log(scene, bucket.id)
        assert spell(entries) == [
            f"create {bucket.id}",
            "create c",
            "create r0",
            "create g",
            "create old",
            f"update {bucket.id}",
        ]
        seqs = [one.seq for one in entries]
        assert seqs == sorted(set(seqs))
        assert await read_log(scene, bucket.id, after=seqs[1], upto=seqs[3]) == entries[2:4]

    async def test_log_of_the_buckets_is_one_although_each_lies_in_its_own(
        self, scene: Scene
    ) -> None:
        first, second = random_bucket(), random_bucket()
        await scene.do(put(first))
        await scene.do(put(second))
        await scene.do(put(f"{first}/groups/g"))
        await scene.do(delete(first))
        entries = await read_log(scene, "/buckets")
        assert [(one.uri, one.action) for one in entries] == [
            (first, "create"),
            (second, "create"),
            (first, "delete"),
        ]
        mine = await read_log(scene, "/buckets", uri=first, after=entries[0].position)
        assert mine == entries[2:]

    async def test_page_of_the_log_ends_with_the_entry_that_goes_beyond_its_bytes(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, *({"text": "x" * 1000} for _ in range(4)))
        await scene.do(put(f"{uri}/r0", {"text": ""}))
        await scene.do(put(f"{uri}/small"))
        entries = await stored(scene, uri)
        first, second = len(entries[0].json), len(entries[1].json)
        assert await read_log(scene, uri, max_bytes=0) == entries[:1]
        assert await read_log(scene, uri, max_bytes=first - 1) == entries[:1]
        assert await read_log(scene, uri, max_bytes=first) == entries[:2]
        assert await read_log(scene, uri, max_bytes=first + second) == entries[:3]
        # The text before counts too.
        after = entries[3].position
        assert await read_log(scene, uri, after=after, max_bytes=900) == entries[4:5]
        # What is not asked for has no bytes.
        bare = await read_log(scene, uri, max_bytes=0, texts=False)
        assert spell(bare) == spell(entries)

    async def test_pages_of_the_log_one_after_the_other_give_each_entry_once(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        sizes = [10, 5000, 10, 10, 20_000, 0, 10, 3000, 3000, 10] * 9
        await scene.commit(
            *(put(f"{uri}/r{index}", {"text": "x" * size}) for index, size in enumerate(sizes))
        )
        walked: list[Revision] = []
        after = 0
        for _ in range(len(sizes)):
            page = await read_log(scene, uri, after=after, limit=40, max_bytes=9000)
            if not page:
                break
            texts = [len(one.json) for one in page]
            assert sum(texts[:-1]) <= 9000
            assert len(page) <= 40
            walked += page
            after = page[-1].position
        assert walked == await stored(scene, uri)

    async def test_log_for_readers_holds_what_their_own_permission_shows_or_showed(
        self, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records"
        await scene.do(put(f"{uri}/hidden"))
        await scene.do(put(f"{uri}/shared", acl={"read": [BOB.user_id]}))
        await scene.do(put(f"{uri}/lent", acl={"write": ["/buckets/x/groups/g"]}))
        await scene.do(put(f"{uri}/shared", {"n": 1}, acl={"read": []}))
        await scene.do(put(f"{uri}/shared", {"n": 2}))
        await scene.do(put(f"{uri}/hidden", acl={"read": [BOB.user_id]}))
        await scene.do(delete(f"{uri}/hidden"))
        bob = await read_log(scene, uri, readers={BOB.user_id})
        assert spell(bob) == ["create shared", "update shared", "update hidden", "delete hidden"]
        assert [BOB.user_id in one.readers for one in bob] == [True, False, True, False]
        assert [BOB.user_id in one.readers_before for one in bob] == [False, True, False, True]
        group = {"/buckets/x/groups/g"}
        assert spell(await read_log(scene, uri, readers=group)) == ["create lent"]
        both = await read_log(scene, uri, readers=group | {BOB.user_id})
        assert spell(both)[:2] == ["create shared", "create lent"]
        assert await read_log(scene, uri, readers=set()) == []
        assert await read_log(scene, uri, readers={BOB.user_id}, limit=1) == bob[:1]

    async def test_log_of_one_object_holds_nothing_of_others(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        bucket = bucket_of(collection)
        uri = f"{collection}/records"
        await scene.fill(collection, {}, {})
        await scene.do(patch(f"{uri}/r0", {"n": 1}))
        await scene.do(delete(f"{uri}/r0"))
        await scene.do(put(f"{uri}/r0"))
        for scope in (uri, bucket.id):
            entries = await read_log(scene, scope, uri=f"{uri}/r0")
            assert spell(entries) == ["create r0", "update r0", "delete r0", "create r0"]
            assert await read_log(scene, scope, uri=f"{uri}/r0", limit=3) == entries[:3]
            place = entries[1].position if scope == uri else entries[1].seq
            assert await read_log(scene, scope, uri=f"{uri}/r0", after=place) == entries[2:]
            assert await read_log(scene, scope, uri=f"{uri}/r0", upto=place) == entries[:2]

    async def test_log_without_texts_says_still_whether_there_was_something_before(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, {"n": 1})
        await scene.do(patch(f"{uri}/r0", {"n": 2}))
        await scene.do(delete(f"{uri}/r0"))
        bare = await read_log(scene, uri, texts=False)
        assert [one.before for one in bare] == [None, b"", b""]
        assert [one.json for one in bare] == [b"", b"", b""]
        whole = await read_log(scene, uri)
        assert [(one.seq, one.position, one.acl_before, one.readers_before) for one in bare] == [
            (one.seq, one.position, one.acl_before, one.readers_before) for one in whole
        ]

    async def test_log_is_of_the_snapshots_instant(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        uri, bucket = f"{collection}/records", bucket_of(collection)
        await scene.fill(collection, {})
        async with scene.storage.snapshot() as snapshot:
            await snapshot.objects([collection])
            await scene.do(delete(f"{uri}/r0"))
            assert spell(await snapshot.log(make_log_page(uri))) == ["create r0"]
            last = await snapshot.last_entry(list_path(uri), NEVER)
            assert last is not None
            assert last.action == "create"
            assert len(await snapshot.log(make_log_page(bucket.id))) == 3
            rights = await snapshot.rights_log(RightsQuery(bucket.id, (f"{uri}/r0",), (), 0, 0))
            assert spell(rights) == ["create r0"]
        assert spell(await read_log(scene, uri)) == ["create r0", "delete r0"]

    async def test_log_within_a_command_shows_what_the_command_did_so_far(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri, bucket = f"{collection}/records", bucket_of(collection)
        await scene.fill(collection, {})

        async def ask(snapshot: Snapshot) -> object:
            last = await snapshot.last_entry(list_path(uri), NEVER)
            query = RightsQuery(bucket.id, (), ("x",), 0, 0)
            return (
                spell(await snapshot.log(make_log_page(uri))),
                spell(await snapshot.log(make_log_page(bucket.id)))[-2:],
                last and last.uri,
                spell(await snapshot.rights_log(query)),
            )

        group = put(f"{bucket.uri}/groups/g", {"members": ["x"]})
        *_, answer = await scene.commit(group, put(f"{uri}/new"), Inquiry(ask))
        assert answer == (
            ["create r0", "create new"],
            ["create g", "create new"],
            f"{uri}/new",
            ["create g"],
        )

    async def test_last_entry_is_the_one_at_or_below_a_position(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, {}, {})
        await scene.do(put(f"{uri}/old", {"last_modified": 1000}))
        first, second, old = await stored(scene, uri)
        path = list_path(uri)
        async with scene.storage.snapshot() as snapshot:
            assert await snapshot.last_entry(path, first.position - 1) is None
            for upto, wanted in (
                (first.position, first),
                (second.position - 1, first),
                (second.position, second),
                (NEVER, old),
            ):
                found = await snapshot.last_entry(path, upto)
                assert found is not None
                assert (found.uri, found.seq, found.date) == (wanted.uri, wanted.seq, wanted.date)
                assert found.json == b""
            root = await snapshot.last_entry(list_path("/buckets"), NEVER)
            assert root is not None
            assert root.uri == bucket_of(collection).uri

    async def test_rights_may_change_with_the_parents_and_the_groups_of_the_bucket(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        bucket = bucket_of(collection)
        group = f"{bucket.uri}/groups/g"
        await scene.fill(collection, {})
        await scene.do(put(group, {"members": [BOB.user_id]}))
        asked = {
            "bucket": bucket.id,
            "uris": (bucket.uri, collection),
            "principals": {BOB.user_id},
            "date": NEVER,
        }
        made = [(bucket.uri, "create"), (collection, "create"), (group, "create")]
        assert await read_rights(scene, **asked) == made
        seq = await last_seq(scene, bucket)
        asked["seq"] = seq
        assert await read_rights(scene, **asked) == []
        await scene.do(patch(collection, {"n": 1}))
        # Neither of these is about Bob.
        await scene.do(patch(group, {"members": [BOB.user_id, "basicauth:carol"]}))
        await scene.do(put(f"{bucket.uri}/groups/other", {"members": ["basicauth:carol"]}))
        assert await read_rights(scene, **asked) == [(collection, "update")]
        await scene.do(patch(group, {"members": ["basicauth:carol"]}))
        await scene.do(delete(group))
        await scene.do(patch(bucket.uri, {"n": 1}))
        assert await read_rights(scene, **asked) == [
            (collection, "update"),
            (group, "update"),
            (bucket.uri, "update"),
        ]
        carol = await read_rights(scene, **{**asked, "principals": {"basicauth:carol"}, "uris": ()})
        assert carol == [
            (group, "update"),
            (f"{bucket.uri}/groups/other", "create"),
            (group, "delete"),
        ]
        # Of parents alone, or of nothing.
        assert len(await read_rights(scene, **{**asked, "principals": ()})) == 2
        assert await read_rights(scene, **{**asked, "principals": (), "uris": ()}) == []

    async def test_group_of_thousands_is_found_by_each_of_its_members_and_by_nobody_else(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        bucket = bucket_of(collection)
        group = f"{bucket.uri}/groups/g"
        crowd = [f"basicauth:{number}" for number in range(3000)]
        await scene.do(put(group, {"members": [*crowd, BOB.user_id]}))
        for user, found in (("basicauth:17", True), (BOB.user_id, True), ("basicauth:x", False)):
            for where in (bucket.id, "elsewhere"):
                rights = await read_rights(scene, bucket=where, principals={user})
                assert rights == [(group, "create")] * found
        # And by the group itself, if it is asked for.
        rights = await read_rights(scene, bucket=bucket.id, uris=(group,), principals={"y"})
        assert rights == [(group, "create")]
        entries = await read_log(scene, bucket.id, uri=group)
        assert entries[0].touched == tuple(sorted([*crowd, BOB.user_id]))

    async def test_rights_may_change_with_groups_of_other_buckets_by_date(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        bucket, other = bucket_of(collection), random_bucket()
        group = f"{other}/groups/g"
        await scene.commit(put(other), put(group, {"members": [BOB.user_id]}))
        (made,) = await stored(scene, f"{other}/groups")
        # The bucket's own seq says nothing of another one.
        asked = {"bucket": bucket.id, "principals": {BOB.user_id}, "seq": NEVER}
        assert await read_rights(scene, **asked, date=made.date - 1) == [(group, "create")]
        assert await read_rights(scene, **asked, date=made.date) == []
        await scene.do(delete(group))
        assert (group, "delete") in await read_rights(scene, **asked, date=made.date - 1)

    async def test_deletion_of_a_bucket_is_found_by_the_root_as_principal(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        bucket, other = bucket_of(collection), random_bucket()
        await scene.commit(put(other), put(f"{other}/groups/g", {"members": [BOB.user_id]}))
        await scene.do(delete(other))
        asked = {"bucket": bucket.id, "principals": {ROOT, ALICE.user_id}, "date": 0}
        assert await read_rights(scene, **asked) == [(other, "delete")]
        await scene.do(delete(bucket.uri))
        both = {(other, "delete"), (bucket.uri, "delete")}
        assert set(await read_rights(scene, **asked)) == both


@pytest.mark.gen_test(timeout=60)
class BytesContract:
    """Pages of objects that end with their bytes."""

    @pytest.mark.parametrize("order", [DEFAULT_ORDER, BY_SIZE], ids=["stored", "sorted"])
    async def test_page_ends_with_the_object_that_goes_beyond_its_bytes(
        self, scene: Scene, order: Order
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.fill(collection, *({"text": "x" * 500, "size": n} for n in range(8)))
        whole = await scene.page(uri, order=order)
        first, second = (len(one.json) for one in whole[:2])
        for max_bytes, count in (
            (0, 1),
            (first - 1, 1),
            (first, 2),
            (first + second, 3),
            (1 << 20, 8),
        ):
            assert await scene.page(uri, order=order, max_bytes=max_bytes) == whole[:count]
        assert await scene.page(uri, order=order, max_bytes=1 << 20, limit=3) == whole[:3]
        some = await scene.page(uri, "not_size=7", order=order, max_bytes=first)
        assert some == whole[1:3]

    @pytest.mark.parametrize("order", [DEFAULT_ORDER, BY_SIZE], ids=["stored", "sorted"])
    async def test_pages_of_bytes_one_after_the_other_give_each_object_once(
        self, scene: Scene, order: Order
    ) -> None:
        uri = await scene.make_collection() + "/records"
        sizes = [10, 5000, 10, 10, 20_000, 0, 10, 3000, 3000, 10] * 9
        writes = [{"text": "x" * size, "size": index % 7} for index, size in enumerate(sizes)]
        await scene.commit(*(put(f"{uri}/r{index}", one) for index, one in enumerate(writes)))
        walked: list[Listed] = []
        after = None
        for _ in range(len(sizes)):
            wanted = make_page(uri, order=order, limit=40, max_bytes=9000, after=after)
            async with scene.storage.snapshot() as snapshot:
                page = await snapshot.page(wanted)
            if not page:
                break
            assert sum(len(one.json) for one in page[:-1]) <= 9000
            assert len(page) <= 40
            walked += page
            after = keys_of(order, page[-1].data)
        assert walked == await scene.page(uri, order=order)
