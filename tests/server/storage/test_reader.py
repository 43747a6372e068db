import pytest

from server.core.permissions import ANONYMOUS
from server.storage.reader import Reader
from tests.server.storage.scenes import ALICE, BOB, RULES, Scene, delete, put

pytestmark = pytest.mark.gen_test(timeout=30)


async def principals(scene: Scene, *, of: object = BOB) -> set[str]:
    async with scene.storage.snapshot() as snapshot:
        found = await Reader(snapshot, RULES).principals(of)  # type: ignore[arg-type]
    return set(found)


async def test_anonymous_is_everyone_and_no_more(scene: Scene) -> None:
    assert await principals(scene, of=ANONYMOUS) == {"system.Everyone"}


async def test_member_of_a_group_that_lives_has_its_name(scene: Scene) -> None:
    plain = await principals(scene)
    await scene.do(put("/buckets/b"))
    await scene.do(put("/buckets/b/groups/g", {"members": [BOB.user_id]}))
    await scene.do(put("/buckets/b/groups/all", {"members": ["system.Authenticated"]}))
    groups = {"/buckets/b/groups/g", "/buckets/b/groups/all"}
    assert await principals(scene) == plain | groups
    await scene.do(delete("/buckets/b/groups/g"))
    assert await principals(scene) == plain | {"/buckets/b/groups/all"}


async def test_group_whose_bucket_is_gone_names_nobody(scene: Scene) -> None:
    plain = await principals(scene)
    await scene.do(put("/buckets/b"))
    await scene.do(put("/buckets/b/groups/g", {"members": [BOB.user_id]}))
    await scene.do(delete("/buckets/b"))
    assert await principals(scene) == plain
    # Also when the bucket is another's by now.
    await scene.do(put("/buckets/b", by=BOB))
    assert await principals(scene) == plain


async def test_question_is_asked_again_until_all_it_needs_is_read(scene: Scene) -> None:
    await scene.do(put("/buckets/b", acl={"read": ["/buckets/other/groups/g"]}))
    await scene.do(put("/buckets/other"))
    await scene.do(put("/buckets/other/groups/g", {"members": [BOB.user_id]}))
    asked = 0
    async with scene.storage.snapshot() as snapshot:
        reader = Reader(snapshot, RULES)
        path = (await snapshot.objects(["/buckets/b"]))["/buckets/b"].path

        def question(judge: object) -> bool:
            nonlocal asked
            asked += 1
            return reader.judge.read_object(BOB, path).writable

        assert await reader.ask([], question) is False
    assert asked > 1
    assert ALICE.user_id != BOB.user_id
