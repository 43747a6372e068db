import pytest

from server.core.errors import Forbidden
from server.core.history_entries import parse_history_query
from server.core.paths import object_path
from server.core.preconditions import NONE
from server.service import history_searches
from server.service.history_searches import Excluded, HistoryRequest, Search
from server.service.sights import Sight
from server.storage.base import Snapshot
from tests.server.storage.scenes import ALICE, BOB, Scene, make_revision

pytestmark = pytest.mark.gen_test(timeout=60)


def test_excluded_is_what_lies_in_a_resource_or_was_done_by_a_user() -> None:
    excluded = Excluded(["/buckets/b/collections/c"], ["bob"])
    for uri, held in (
        ("/buckets/b", False),
        ("/buckets/b/collections/c", True),
        ("/buckets/b/collections/c/records/r", True),
        ("/buckets/b/collections/cc", False),
    ):
        assert excluded.holds(make_revision(uri=uri)) is held, uri
    assert excluded.holds(make_revision(by="bob"))
    assert not Excluded(users=[""]).holds(make_revision(by=""))


async def search(
    scene: Scene, snapshot: Snapshot, bucket: str, query: str = "", sight: Sight | None = None
) -> Search:
    pairs = [(name, value) for name, _, value in (p.partition("=") for p in query.split("&") if p)]
    request = HistoryRequest(ALICE, object_path(bucket), parse_history_query(pairs), NONE, 0)
    clock = await scene.clock(f"{bucket}/changes")
    return Search(snapshot, request, sight or Sight(clock, whole=True), clock, Excluded())


async def fill(scene: Scene, count: int) -> str:
    collection = await scene.make_collection()
    await scene.fill(collection, *({"n": n % 3} for n in range(count)))
    return collection.partition("/collections")[0]


@pytest.mark.parametrize("order", ["", "_sort=last_modified", "_sort=target.data.n"])
async def test_search_goes_through_the_log_in_chunks(
    order: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_searches, "CHUNKS", (2, 3))
    monkeypatch.setattr(history_searches, "_TURN", 1)
    monkeypatch.setattr(history_searches, "_SPARE", 1)
    bucket = await fill(scene, 7)
    async with scene.storage.snapshot() as snapshot:
        found = await (await search(scene, snapshot, bucket, order)).page(9)
        assert len({one.shown["id"] for one in found}) == 9
        first = await (await search(scene, snapshot, bucket, order)).page(3)
        assert [one.shown for one in first] == [one.shown for one in found[:3]]
        assert (
            await (await search(scene, snapshot, bucket, f"target.data.n=1&{order}")).count() == 2
        )


async def test_light_page_has_no_objects_but_can_be_walked_on(scene: Scene) -> None:
    bucket = await fill(scene, 3)
    async with scene.storage.snapshot() as snapshot:
        for query in ("", "_sort=target.data.n", "target.data.n=1"):
            found = await (await search(scene, snapshot, bucket, query)).page(2, light=True)
            assert all(not one.revision.json and set(one.shown) == {"id"} for one in found)
            assert all(one.keys for one in found), query


async def test_who_sees_nothing_is_refused(scene: Scene) -> None:
    bucket = await fill(scene, 1)
    clock = await scene.clock(f"{bucket}/changes")
    blind = Sight(clock, whole=False, principals=frozenset([BOB.user_id]), something=False)
    async with scene.storage.snapshot() as snapshot:
        with pytest.raises(Forbidden):
            await (await search(scene, snapshot, bucket, sight=blind)).check_sight()
        named = Sight(clock, whole=False, principals=frozenset([ALICE.user_id]), something=False)
        await (await search(scene, snapshot, bucket, sight=named)).check_sight()
