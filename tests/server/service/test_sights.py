from dataclasses import replace
from typing import Any

import pytest

from server.core.errors import Forbidden, MissingAuth, ParentMissing
from server.core.objects import Clock
from server.core.paths import object_path
from server.core.permissions import ANONYMOUS, Actor, Rules, make_actor
from server.service.sights import Sight, check_trimmable, find_sight
from server.storage.reader import Reader
from tests.server.storage.scenes import ALICE, BOB, RULES, Scene, delete, make_revision, put

pytestmark = pytest.mark.gen_test(timeout=60)

CAROL = make_actor("basicauth:carol")


async def look(scene: Scene, bucket: str, actor: Actor, **grants: Any) -> Sight:
    given = {name.replace("_", ":"): frozenset(who) for name, who in grants.items()}
    rules = replace(RULES, grants={**RULES.grants, **given})
    async with scene.storage.snapshot() as snapshot:
        return await find_sight(Reader(snapshot, rules), actor, object_path(bucket))


def bucket_of(collection: str) -> str:
    return collection.partition("/collections")[0]


async def test_who_may_read_the_bucket_sees_the_whole(scene: Scene) -> None:
    bucket = bucket_of(await scene.make_collection())
    assert (await look(scene, bucket, ALICE)).whole
    assert not (await look(scene, bucket, BOB)).whole
    assert (await look(scene, bucket, BOB, history_read=[BOB.user_id])).whole
    assert (await look(scene, bucket, BOB, bucket_read=[BOB.user_id])).whole


async def test_stranger_sees_nothing_and_is_not_told_what_is_there(scene: Scene) -> None:
    bucket = bucket_of(await scene.make_collection())
    sight = await look(scene, bucket, BOB)
    assert (sight.lists, sight.records, sight.something) == (frozenset(), False, False)
    for actor, error in ((BOB, Forbidden), (ANONYMOUS, MissingAuth)):
        with pytest.raises(error):
            await look(scene, "/buckets/none", actor)
    with pytest.raises(ParentMissing):
        await look(scene, "/buckets/none", BOB, bucket_read=[BOB.user_id])


async def test_reader_of_a_collection_sees_its_records_while_it_is_there(scene: Scene) -> None:
    collection = await scene.make_collection({"read": [BOB.user_id]})
    await scene.make_collection({"read": [BOB.user_id]})
    bucket = bucket_of(collection)
    sight = await look(scene, bucket, BOB)
    assert (sight.lists, sight.something) == (frozenset([f"{collection}/records"]), True)
    await scene.do(put(f"{bucket}/collections/d", acl={"record:create": [CAROL.user_id]}))
    sight = await look(scene, bucket, CAROL)
    assert (sight.lists, sight.something) == (frozenset(), True)
    await scene.do(delete(collection))
    assert not (await look(scene, bucket, BOB)).something


async def test_members_of_groups_see_what_the_groups_do(scene: Scene) -> None:
    collection = await scene.make_collection()
    bucket = bucket_of(collection)
    await scene.do(put(f"{bucket}/groups/g", {"members": [BOB.user_id]}))
    await scene.do(put(collection, acl={"read": [f"{bucket}/groups/g"]}))
    assert (await look(scene, bucket, BOB)).lists == frozenset([f"{collection}/records"])


async def test_setting_shows_somebody_all_records(scene: Scene) -> None:
    bucket = bucket_of(await scene.make_collection())
    sight = await look(scene, bucket, BOB, record_read=[BOB.user_id])
    assert (sight.whole, sight.records, sight.needs_all) == (False, True, True)


def test_entry_is_shown_to_whom_the_object_named_after_it() -> None:
    clock = Clock(0)
    bob = Sight(clock, whole=False, principals=frozenset(["bob"]))
    taken = make_revision(readers=(), readers_before=("bob",))
    given = make_revision(readers=("bob",), readers_before=())
    assert [bob.shows(taken), bob.shows(given)] == [False, True]
    assert bob.shows(replace(taken, action="delete"))
    assert Sight(clock, whole=True).shows(taken)
    assert replace(bob, lists=frozenset([taken.list])).shows(taken)
    all_records = replace(bob, records=True)
    assert not all_records.shows(taken)
    assert all_records.shows(replace(taken, list="/buckets/b/collections/c/records"))


def test_permissions_are_shown_to_writers_and_who_sees_the_whole() -> None:
    bob = Sight(Clock(0), whole=False, principals=frozenset(["bob"]))
    read = make_revision(acl={"read": ("bob",), "write": ("alice",)})
    write = make_revision(acl={"write": ("bob",)})
    assert (bob.shown_acl(read), bob.shown_acl(write)) == ({}, write.acl)
    assert replace(bob, whole=True).shown_acl(read) == read.acl


async def test_writers_of_the_bucket_may_trim(scene: Scene) -> None:
    bucket = bucket_of(await scene.make_collection({"write": [BOB.user_id]}))
    rules = Rules({**RULES.grants, "history:write": frozenset([CAROL.user_id])})
    async with scene.storage.snapshot() as snapshot:
        reader = Reader(snapshot, rules)
        clock = await check_trimmable(reader, ALICE, object_path(bucket))
        assert clock == await scene.clock(f"{bucket}/changes")
        assert await check_trimmable(reader, CAROL, object_path(bucket)) == clock
        with pytest.raises(Forbidden):
            await check_trimmable(reader, BOB, object_path(bucket))
