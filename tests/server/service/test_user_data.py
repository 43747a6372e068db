import pytest

from server.service import user_data
from server.service.user_data import forget_user
from tests.server.storage.scenes import ALICE, BOB, Scene, put

pytestmark = pytest.mark.gen_test(timeout=60)


async def test_user_is_forgotten_in_commands_of_bounded_size(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_data, "AT_ONCE", 7)
    collection = await scene.make_collection({"write": [ALICE.user_id]})
    shared = {"write": [ALICE.user_id, BOB.user_id]}
    await scene.commit(*(put(f"{collection}/records/own{n}", acl={}, by=ALICE) for n in range(20)))
    await scene.commit(*(put(f"{collection}/records/both{n}", acl=shared) for n in range(20)))
    bucket = collection.partition("/collections")[0]
    await scene.do(put(bucket, acl=shared))
    await scene.do(put(collection, acl=shared))
    await forget_user(scene.storage, BOB, ALICE.user_id)
    async with scene.storage.snapshot() as snapshot:
        assert await snapshot.naming(ALICE.user_id) == []
    assert sorted(await scene.living(f"{collection}/records")) == sorted(
        f"both{n}" for n in range(20)
    )
    found = await scene.find(f"{collection}/records/both3")
    assert found is not None
    assert found.acl == {"write": (BOB.user_id,)}


async def test_what_lies_in_a_bucket_that_goes_ends_the_forgetting(scene: Scene) -> None:
    collection = await scene.make_collection()
    await scene.fill(collection, {}, {})
    # The purger may not have been there yet: what it leaves behind still names her.
    await forget_user(scene.storage, BOB, ALICE.user_id)
    assert await scene.find(collection) is None


async def test_user_whom_nothing_names_is_forgotten_at_once(scene: Scene) -> None:
    collection = await scene.make_collection()
    await forget_user(scene.storage, BOB, "basicauth:nobody")
    assert await scene.find(collection) is not None
