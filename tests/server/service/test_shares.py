import pytest

from server.core.permissions import ANONYMOUS, Actor, Rules
from server.service.shares import FIELDS, find_rows
from server.storage.memory import MemoryStorage
from tests.server.storage.scenes import ALICE, BOB, RULES, Scene, delete, put

pytestmark = pytest.mark.gen_test(timeout=30)


async def rows(scene: Scene, actor: Actor, rules: Rules = RULES) -> dict[str, list[str]]:
    """The permissions by URI."""
    async with scene.storage.snapshot() as snapshot:
        found = await find_rows(snapshot, rules, actor)
    assert all(set(row) <= {*FIELDS, "permissions"} for row in found)
    return {row["uri"]: row["permissions"] for row in found}


async def test_nobody_has_nothing_but_what_settings_grant(scene: Scene) -> None:
    await scene.do(put("/buckets/b"))
    assert await rows(scene, ANONYMOUS) == {}
    assert await rows(scene, BOB) == {"/": ["bucket:create"]}
    assert await rows(scene, BOB, Rules()) == {}


async def test_rows_are_of_what_one_is_named_in_with_all_that_it_implies(scene: Scene) -> None:
    collection = await scene.make_collection({"read": [BOB.user_id]})
    found = await rows(scene, BOB, Rules())
    assert set(found) == {collection}
    assert "read" in found[collection]
    assert "write" not in found[collection]
    own = await rows(scene, ALICE, Rules())
    assert {"write", "read"} <= set(own[collection])


async def test_group_gives_its_members_a_row(scene: Scene) -> None:
    await scene.do(put("/buckets/b", acl={"write": ["/buckets/b/groups/g"]}))
    await scene.do(put("/buckets/b/groups/g", {"members": [BOB.user_id]}))
    assert set(await rows(scene, BOB, Rules())) == {"/buckets/b"}
    await scene.do(put("/buckets/b/groups/g", {"members": []}))
    assert await rows(scene, BOB, Rules()) == {}


async def test_row_is_gone_with_the_object_or_one_above_it(scene: Scene) -> None:
    collection = await scene.make_collection()
    record = f"{collection}/records/r"
    await scene.do(put(record, acl={"read": [BOB.user_id]}))
    assert set(await rows(scene, BOB, Rules())) == {record}
    await scene.do(delete(collection))
    assert await rows(scene, BOB, Rules()) == {}


async def test_row_names_every_step_of_its_path(scene: Scene) -> None:
    collection = await scene.make_collection()
    await scene.do(put(f"{collection}/records/r", acl={"read": [BOB.user_id]}))
    async with scene.storage.snapshot() as snapshot:
        (row,) = await find_rows(snapshot, Rules(), BOB)
    bucket = collection.split("/")[2]
    assert row == {
        "uri": f"{collection}/records/r",
        "resource_name": "record",
        "permissions": ["read"],
        "id": "r",
        "bucket_id": bucket,
        "collection_id": "c",
        "record_id": "r",
    }


async def test_accounts_and_api_keys_have_no_row(scene: Scene) -> None:
    everywhere = Rules({"account:create": frozenset({ALICE.user_id})})
    storage = MemoryStorage(everywhere)
    own = Scene(storage, scene.log)
    await own.do(put("/accounts/alice", acl={"write": [ALICE.user_id]}))
    async with storage.snapshot() as snapshot:
        assert [one.uri for one in await snapshot.named([ALICE.user_id])] == ["/accounts/alice"]
        assert await find_rows(snapshot, everywhere, ALICE) == []
