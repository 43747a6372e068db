import pytest

from server.core.errors import Forbidden
from server.core.paths import object_path
from server.core.positions import make_position, timestamp_of
from server.core.preconditions import Precondition
from server.core.revisions import Revision
from server.service.trimming import find_tops, sort_out, trim
from server.storage.base import LogPage
from tests.server.storage.scenes import ALICE, BOB, Scene, make_revision

pytestmark = pytest.mark.gen_test(timeout=60)

RECORDS = "/buckets/b/collections/c/records"


def entry(seq: int, uri: str, position: int | None = None) -> Revision:
    return make_revision(
        seq=seq,
        uri=uri,
        list=uri.rpartition("/")[0],
        position=make_position(seq) if position is None else position,
    )


async def log_of(scene: Scene, bucket: str) -> list[Revision]:
    async with scene.storage.snapshot() as snapshot:
        return await snapshot.log(LogPage(object_path(bucket).id, 0, 1 << 62, 100))


def test_highest_position_of_each_list_counts() -> None:
    entries = [entry(3, f"{RECORDS}/x"), entry(1, f"{RECORDS}/y"), entry(2, "/buckets/b/groups/g")]
    assert find_tops(entries) == {
        RECORDS: make_position(3),
        "/buckets/b/groups": make_position(2),
    }


def test_records_go_parents_are_hollowed_and_the_bucket_is_hidden() -> None:
    entries = [
        entry(1, "/buckets/b"),
        entry(2, "/buckets/b/collections/c"),
        entry(3, "/buckets/b/groups/g"),
        entry(4, f"{RECORDS}/x"),
        entry(5, f"{RECORDS}/y"),
    ]
    sorted_out = sort_out("b", entries, find_tops(entries))
    assert (sorted_out.bucket, sorted_out.hidden) == ("b", [1])
    assert (sorted_out.hollowed, sorted_out.removed) == ([2, 3, 5], [4])


async def test_refused_trim_takes_nothing(scene: Scene) -> None:
    collection = await scene.make_collection()
    bucket = collection.partition("/collections")[0]
    before = await log_of(scene, bucket)
    with pytest.raises(Forbidden):
        await trim(scene.storage, object_path(bucket), before, BOB)
    assert await log_of(scene, bucket) == before


async def test_trim_answers_where_the_bucket_stands_then(scene: Scene) -> None:
    collection = await scene.make_collection()
    bucket = collection.partition("/collections")[0]
    entries = await log_of(scene, bucket)
    belief = Precondition(match=timestamp_of(entries[-1].seq))
    position = await trim(scene.storage, object_path(bucket), entries, ALICE, belief)
    clock = await scene.clock(f"{bucket}/changes")
    assert (position, clock.kept) == (clock.position, entries[-1].seq)
