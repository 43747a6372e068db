"""What a storage promises about reading."""

import asyncio
from dataclasses import replace

import pytest

from server.core.filters import matches
from server.core.objects import Listed
from server.core.paths import object_path
from server.core.sorting import DEFAULT_ORDER, Order, SortKey, full_order, keys_of, sort_key
from tests.server.storage.scenes import (
    ALICE,
    BOB,
    Scene,
    delete,
    make_page,
    patch,
    put,
    random_bucket,
)

ASCENDING: Order = (SortKey("last_modified"), SortKey("id"))
BY_SIZE: Order = full_order([SortKey("size", descending=True)])
BY_NAME: Order = full_order([SortKey("deep.name")])

VARIED = (
    {"size": 3, "deep": {"name": "b"}},
    {"size": 10, "deep": {"name": "a"}, "tags": ["x", "y"]},
    {"size": 3},
    {"size": "3", "tags": []},
    {"size": None, "deep": None},
    {"size": True},
    {"deep.name": "a"},
    {"size": 2.5, "tags": "x"},
    {"size": 10**30, "deep": {"name": 7}},
    {"size": {"$gt": ""}, "tags": [{"$gt": ""}]},
    {"size": [3], "$where": "1"},
)

QUERIES = (
    "size=3",
    'size="3"',
    "not_size=3",
    "min_size=3",
    "max_size=3",
    "gt_size=3",
    "lt_size=3",
    "in_size=3,10",
    "exclude_size=3,10",
    "like_size=*3*",
    "has_size=true",
    "has_size=false",
    "deep.name=a",
    "like_deep.name=*a*",
    "contains_tags=x",
    'contains_any_tags=["x"]',
    "in_id=r1,r2,r9",
    "gt_id=r3",
    "min_size=3&has_tags=true",
    # A client's value that looks like an operator of the database is a value.
    'size={"$gt": ""}',
    'not_size={"$ne": 3}',
    'size={"$exists": true}',
    "$where=1",
    "nothing=here",
)


@pytest.mark.gen_test(timeout=60)
class ReadingContract:
    """Objects, pages, counts, and one instant for all of them."""

    async def test_page_and_count_end_at_the_position_that_is_asked_for(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        records = f"{collection}/records"
        await scene.fill(collection, {"size": 1}, {"size": 3}, {"size": 2})
        until = (await scene.clock(records)).position
        await scene.do(put(f"{records}/r3", {"size": 4}))
        await scene.do(patch(f"{records}/r1", {"size": 0}))
        for order, expected in ((DEFAULT_ORDER, ["r2", "r0"]), (BY_SIZE, ["r2", "r0"])):
            assert await scene.ids(records, order=order, upto=until) == expected
            assert await scene.ids(records, order=order, upto=until - 1) == ["r0"]
        async with scene.storage.snapshot() as snapshot:
            assert await snapshot.count(make_page(records, upto=until)) == 2
            assert await snapshot.count(make_page(records)) == 4

    async def test_objects_are_found_by_uri_and_what_never_was_is_left_out(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection({"read": ["basicauth:bob"]})
        made = await scene.write(put(f"{collection}/records/here", {"a": 1}))
        async with scene.storage.snapshot() as snapshot:
            found = await snapshot.objects([made.uri, f"{collection}/records/no", collection, "/"])
        assert set(found) == {made.uri, collection, "/"}
        assert found[made.uri] == made
        assert found[collection].acl == {
            "read": ("basicauth:bob",),
            "write": ("basicauth:alice",),
        }
        assert found[collection].clocks["records"].position == made.position

    async def test_objects_without_texts_have_all_else(self, scene: Scene) -> None:
        collection = await scene.make_collection({"read": ["basicauth:bob"]})
        await scene.fill(collection, {"a": 1})
        async with scene.storage.snapshot() as snapshot:
            whole = await snapshot.objects([collection, f"{collection}/records/r0"])
            # The first read may be shared with those who want texts; this one is not.
            bare = await snapshot.objects(whole, texts=False)
        for uri, stored in whole.items():
            assert replace(bare[uri], json=stored.json) == stored

    async def test_deleted_object_is_found_as_its_tombstone(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, {"a": 1})
        tombstone = await scene.write(delete(f"{collection}/records/r0"))
        async with scene.storage.snapshot() as snapshot:
            found = await snapshot.objects([tombstone.uri])
        assert found == {tombstone.uri: tombstone}
        assert tombstone.deleted
        assert tombstone.data == {
            "id": "r0",
            "last_modified": tombstone.last_modified,
            "deleted": True,
        }

    async def test_page_has_the_newest_first_and_equal_dates_by_id(self, scene: Scene) -> None:
        records = await scene.make_collection() + "/records"
        for name, date in (("c", 2000), ("b", 1000), ("d", 3000), ("a", 1000)):
            await scene.do(put(f"{records}/{name}", {"last_modified": date}))
        assert await scene.ids(records) == ["d", "c", "a", "b"]
        assert await scene.ids(records, order=ASCENDING) == ["a", "b", "c", "d"]
        assert await scene.ids(records, limit=2) == ["d", "c"]

    async def test_objects_of_a_page_carry_what_a_list_shows(self, scene: Scene) -> None:
        made = await scene.write(put(random_bucket(), {"a": 1}))
        gone = await scene.write(delete((await scene.write(put(random_bucket()))).uri))
        found = await scene.page(
            "/buckets", f"in_id={made.path.id},{gone.path.id}", tombstones=True
        )
        assert found == [
            Listed(one.uri, one.last_modified, one.deleted, one.json) for one in (gone, made)
        ]

    async def test_list_holds_nothing_of_other_lists(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        bucket = object_path(collection).ancestors[0].uri
        await scene.do(put(f"{bucket}/collections/other"))
        await scene.do(put(f"{bucket}/collections/other/records/x"))
        await scene.do(put(f"{bucket}/groups/g"))
        await scene.fill(collection, {})
        assert await scene.ids(f"{collection}/records") == ["r0"]
        assert sorted(await scene.ids(f"{bucket}/collections")) == ["c", "other"]
        assert await scene.ids(f"{bucket}/groups") == ["g"]

    @pytest.mark.parametrize("order", [DEFAULT_ORDER, ASCENDING, BY_SIZE, BY_NAME])
    async def test_pages_one_after_the_other_give_each_object_once_in_order(
        self, scene: Scene, order: Order
    ) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, *VARIED)
        uri, after = f"{collection}/records", None
        walked = []
        for _ in range(len(VARIED)):
            page = await scene.page(uri, order=order, limit=3, after=after)
            walked += [one.data for one in page]
            if len(page) < 3:
                break
            after = keys_of(order, page[-1].data)
        whole = [one.data for one in await scene.page(uri)]
        assert walked == sorted(whole, key=lambda data: sort_key(order, data))

    @pytest.mark.parametrize("order", [DEFAULT_ORDER, BY_SIZE], ids=["stored", "sorted"])
    async def test_filters_find_what_the_evaluator_accepts(
        self, scene: Scene, order: Order
    ) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, *VARIED)
        uri = f"{collection}/records"
        whole = [one.data for one in await scene.page(uri, order=order)]
        for query in QUERIES:
            wanted = make_page(uri, query, order=order)
            async with scene.storage.snapshot() as snapshot:
                found = [one.data for one in await snapshot.page(wanted)]
                total = await snapshot.count(wanted)
            assert found == [data for data in whole if matches(wanted.conditions, data)], query
            assert total == len(found), query

    async def test_limit_counts_what_matches_and_not_what_was_looked_at(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, *({"n": index % 3} for index in range(12)))
        uri = f"{collection}/records"
        assert await scene.ids(uri, "not_n=0", limit=3) == ["r11", "r10", "r8"]
        assert await scene.ids(uri, "not_n=0", limit=3, order=BY_SIZE) == ["r11", "r10", "r8"]

    async def test_what_stands_at_or_below_the_floor_is_not_in_the_page(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, {}, {}, {})
        uri = f"{collection}/records"
        middle = await scene.find(f"{uri}/r1")
        assert middle is not None
        assert await scene.ids(uri, floor=middle.position) == ["r2"]

    async def test_tombstones_are_in_the_page_only_when_wanted_and_never_counted(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        await scene.fill(collection, {}, {}, {})
        uri = f"{collection}/records"
        await scene.do(delete(f"{uri}/r1"))
        assert await scene.ids(uri) == ["r2", "r0"]
        assert await scene.ids(uri, tombstones=True) == ["r1", "r2", "r0"]
        assert await scene.ids(uri, "deleted=true", tombstones=True) == ["r1"]
        async with scene.storage.snapshot() as snapshot:
            assert await snapshot.count(make_page(uri, tombstones=True, limit=1)) == 2

    async def test_page_for_readers_holds_what_their_own_permission_shows(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await scene.do(put(f"{uri}/hidden"))
        await scene.do(put(f"{uri}/shared", acl={"read": [BOB.user_id]}))
        await scene.do(put(f"{uri}/lent", acl={"write": ["/buckets/x/groups/g"]}))
        await scene.do(put(f"{uri}/gone", acl={"read": [BOB.user_id]}))
        await scene.do(delete(f"{uri}/gone"))
        readers = {BOB.user_id, "/buckets/x/groups/g"}
        assert await scene.ids(uri, readers=readers) == ["lent", "shared"]
        assert await scene.ids(uri, readers={BOB.user_id}) == ["shared"]
        # Who could see an object is told that it is gone.
        both = await scene.ids(uri, readers={BOB.user_id}, tombstones=True)
        assert both == ["gone", "shared"]
        assert await scene.ids(uri, readers=set()) == []

    async def test_groups_are_found_by_their_members(self, scene: Scene) -> None:
        bucket, user = random_bucket(), f"basicauth:{random_bucket()[9:]}"
        await scene.do(put(bucket))
        await scene.do(put(f"{bucket}/groups/g", {"members": [user, "basicauth:x"]}))
        await scene.do(put(f"{bucket}/groups/h", {"members": ["basicauth:x"]}))
        async with scene.storage.snapshot() as snapshot:
            found = await snapshot.groups_of({user, "basicauth:nobody"})
            assert [(one.uri, one.members) for one in found] == [
                (f"{bucket}/groups/g", (user, "basicauth:x"))
            ]
        await scene.do(patch(f"{bucket}/groups/g", {"members": []}))
        async with scene.storage.snapshot() as snapshot:
            assert await snapshot.groups_of({user}) == []

    async def test_objects_are_found_by_whom_their_permissions_name(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        user = f"basicauth:{random_bucket()[9:]}"
        await scene.do(put(f"{collection}/records/r", acl={"read": [user]}))
        await scene.do(put(f"{collection}/records/s"))
        await scene.do(patch(collection, {"a": 1}))
        async with scene.storage.snapshot() as snapshot:
            found = await snapshot.named({user})
            assert [one.uri for one in found] == [f"{collection}/records/r"]
            assert found[0].acl == {"read": (user,), "write": (ALICE.user_id,)}
        await scene.do(delete(f"{collection}/records/r"))
        async with scene.storage.snapshot() as snapshot:
            assert await snapshot.named({user}) == []

    async def test_snapshot_shows_the_state_of_its_first_read_whatever_is_written_since(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        bucket, user = object_path(collection).ancestors[0].uri, f"u{random_bucket()[9:]}"
        uri = f"{collection}/records"
        await scene.fill(collection, {"n": 0}, {"n": 1})
        await scene.do(put(f"{bucket}/groups/g", {"members": [user]}, acl={"read": [user]}))
        async with scene.storage.snapshot() as snapshot:
            before = await snapshot.objects([collection, f"{uri}/r0", f"{uri}/new"])
            await scene.do(put(f"{uri}/new", {"n": 2}))
            await scene.do(put(f"{uri}/r0", {"n": 9}))
            await scene.do(delete(f"{uri}/r1"))
            await scene.do(delete(f"{bucket}/groups/g"))
            again = await snapshot.objects([collection, f"{uri}/r0", f"{uri}/new"])
            assert again == before
            for order in (DEFAULT_ORDER, BY_SIZE):
                page = await snapshot.page(make_page(uri, order=order))
                assert [one.data["n"] for one in page] == [1, 0]
            assert await snapshot.count(make_page(uri)) == 2
            assert [one.path.id for one in await snapshot.groups_of({user})] == ["g"]
            assert [one.path.id for one in await snapshot.named({user})] == ["g"]
        assert await scene.ids(uri) == ["r0", "new"]

    async def test_snapshot_opened_after_an_answer_shows_what_was_answered(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        for index in range(20):
            made = await scene.write(put(f"{collection}/records/r", {"n": index}))
            assert await scene.find(made.uri) == made

    async def test_reader_that_polls_from_clock_to_clock_misses_nothing(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        names = [f"w{writer}-{index}" for writer in range(8) for index in range(12)]
        seen: list[str] = []
        writing = True

        async def write(writer: int) -> None:
            for index in range(12):
                dated = {"last_modified": 1000 + index} if index % 3 == 0 else {}
                await scene.do(put(f"{uri}/w{writer}-{index}", dated))

        async def poll() -> None:
            at, last = 0, False
            while not last:
                last = not writing
                async with scene.storage.snapshot() as snapshot:
                    clock = (await snapshot.objects([collection]))[collection].clocks["records"]
                    page = await snapshot.page(make_page(uri, floor=at))
                seen.extend(one.id for one in page)
                at = clock.position
                await asyncio.sleep(0)

        polling = asyncio.ensure_future(poll())
        await asyncio.gather(*(write(writer) for writer in range(8)))
        writing = False
        await polling
        assert sorted(seen) == sorted(names)
