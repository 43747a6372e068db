import pytest

from notifier.grounds import Surveyor
from notifier.hub import Ground
from notifier.topics import parse_topic
from server.core.permissions import ANONYMOUS, Actor
from tests.notifier.stages import Stage
from tests.server.storage.scenes import ALICE, BOB, RULES, delete, put

pytestmark = pytest.mark.gen_test


async def survey(stage: Stage, path: str, actor: Actor = ALICE, *, begun: bool = False) -> Ground:
    async with stage.storage.snapshot() as snapshot:
        topic = parse_topic(path, [])
        return await Surveyor(RULES).read(snapshot, topic, actor, begun=begun)


async def prepare(stage: Stage) -> None:
    """Bucket ``b`` of Alice, with a collection, a group with Bob, and two records."""
    await stage.do(put("/buckets/b"))
    await stage.do(put("/buckets/b/collections/c"))
    await stage.do(put("/buckets/b/groups/g", {"members": [BOB.user_id]}))
    await stage.do(put("/buckets/b/collections/c/records/r", {}))


RECORDS = "/buckets/b/collections/c/records"


@pytest.mark.parametrize(
    "path", [RECORDS, f"{RECORDS}/r", "/buckets/b/groups", "/buckets/b/changes", "/buckets/b"]
)
async def test_owner_may_see_all(path: str) -> None:
    async with Stage() as stage:
        await prepare(stage)
        ground = await survey(stage, path)
        assert ground.denied is None
        # A bucket itself is seen by its own permissions, as one object of a list.
        assert ground.rights is not None
        assert ground.rights.whole is (path != "/buckets/b")
        assert ground.clock.position > 0
        assert ground.at > 0


@pytest.mark.parametrize(
    ("path", "code", "errno"),
    [
        (RECORDS, 403, 121),
        (f"{RECORDS}/r", 403, 121),
        ("/buckets/b/changes", 403, 121),
        ("/buckets/none/changes", 403, 121),
        ("/buckets/none/collections/c/records", 403, 121),
    ],
)
async def test_stranger_is_refused_whatever_exists(path: str, code: int, errno: int) -> None:
    async with Stage() as stage:
        await prepare(stage)
        ground = await survey(stage, path, BOB)
        assert ground.denied is not None
        assert (ground.denied.status, ground.denied.errno) == (code, errno)
        nobody = await survey(stage, path, ANONYMOUS)
        assert nobody.denied is not None
        assert nobody.denied.status == 401


async def test_missing_parent_is_told_to_who_may_know() -> None:
    async with Stage() as stage:
        await prepare(stage)
        ground = await survey(stage, "/buckets/b/collections/none/records")
        assert ground.denied is not None
        assert (ground.denied.status, ground.denied.errno) == (404, 111)
        assert ground.authority.parents["/buckets/b/collections/none"] is None
        assert ground.authority.parents["/buckets/b"] is not None


async def test_missing_object_is_refused_unless_it_was_there_before() -> None:
    async with Stage() as stage:
        await prepare(stage)
        await stage.do(delete(f"{RECORDS}/r"))
        ground = await survey(stage, f"{RECORDS}/r")
        assert ground.denied is not None
        assert (ground.denied.status, ground.denied.errno) == (404, 110)
        assert (await survey(stage, f"{RECORDS}/r", begun=True)).denied is None


@pytest.mark.parametrize(
    ("uri", "data"),
    [
        (f"{RECORDS}/r", {}),
        ("/buckets/b/collections/c", {}),
        ("/buckets/b", {}),
    ],
)
@pytest.mark.parametrize("who", [BOB.user_id, "/buckets/b/groups/g", "system.Authenticated"])
async def test_share_lets_its_reader_in(uri: str, data: dict[str, object], who: str) -> None:
    async with Stage() as stage:
        await prepare(stage)
        await stage.do(put(uri, data, acl={"read": [who]}))
        ground = await survey(stage, RECORDS, BOB)
        assert ground.denied is None
        assert ground.rights is not None
        assert ground.rights.whole is not uri.endswith("/r")
        feed = await survey(stage, "/buckets/b/changes", BOB)
        assert feed.denied is None
        assert feed.rights is not None
        assert feed.rights.whole is (uri == "/buckets/b")
        named = {uri} if uri == "/buckets/b/collections/c" else set()
        assert feed.rights.collections == named


async def test_who_may_add_to_a_list_may_know_of_it() -> None:
    async with Stage() as stage:
        await prepare(stage)
        await stage.do(put("/buckets/b/collections/c", acl={"record:create": [BOB.user_id]}))
        ground = await survey(stage, RECORDS, BOB)
        assert ground.denied is None
        assert ground.rights is not None
        assert not ground.rights.whole


async def test_collection_of_a_bucket_that_was_made_again_counts_for_nothing() -> None:
    async with Stage() as stage:
        await prepare(stage)
        await stage.do(put("/buckets/b/collections/c", acl={"read": [BOB.user_id]}))
        await stage.do(delete("/buckets/b"))
        await stage.do(put("/buckets/b"))
        feed = await survey(stage, "/buckets/b/changes", BOB)
        assert feed.denied is not None
        assert feed.denied.status == 403


async def test_principals_include_the_groups_of_every_bucket() -> None:
    async with Stage() as stage:
        await prepare(stage)
        await stage.do(put("/buckets/other"))
        await stage.do(put("/buckets/other/groups/h", {"members": [BOB.user_id]}))
        await stage.do(put(f"{RECORDS}/r", acl={"read": ["/buckets/other/groups/h"]}))
        ground = await survey(stage, f"{RECORDS}/r", BOB)
        assert ground.denied is None
        assert ground.rights is not None
        assert {"/buckets/other/groups/h", "/buckets/b/groups/g"} <= ground.rights.principals


async def test_root_list_shows_what_one_may_see_of_it() -> None:
    async with Stage() as stage:
        await prepare(stage)
        ground = await survey(stage, "/buckets")
        assert ground.denied is None
        assert ground.rights is not None
        assert not ground.rights.whole
