import pytest

from server.core.commands import Trim
from server.core.errors import Forbidden, MissingAuth, ModifiedMeanwhile, ParentMissing, SyncError
from server.core.judge import Judge
from server.core.objects import Clock
from server.core.paths import FEED, object_path
from server.core.permissions import ANONYMOUS, Actor, Rules
from server.core.positions import timestamp_of
from server.core.preconditions import ANY, Precondition
from server.core.state import State
from server.core.trims import check_writable, lists_in, trim
from tests.server.core.worlds import ALICE, BOB, NOW, RULES, World

BUCKET = object_path("/buckets/b")
RECORDS = "/buckets/b/collections/c/records"


@pytest.fixture
def world() -> World:
    world = World()
    world.put(BUCKET.uri)
    world.put("/buckets/b/collections/c")
    for name in ("x", "y"):
        world.put(f"{RECORDS}/{name}")
    return world


def clock_of(world: World, uri: str, plural: str) -> Clock:
    stored = world.objects[uri]
    assert stored is not None
    return stored.clocks[plural]


def test_trim_raises_what_is_kept_and_moves_the_bucket_on(world: World) -> None:
    before = clock_of(world, BUCKET.uri, FEED)
    records = clock_of(world, "/buckets/b/collections/c", "records")
    world.now = NOW + 500
    verdict = world.do(Trim(ALICE, BUCKET, {RECORDS: records.position}, before.position))
    after = clock_of(world, BUCKET.uri, FEED)
    assert (after.position, timestamp_of(verdict)) == (verdict, NOW + 500)
    assert after.kept == before.position
    trimmed = clock_of(world, "/buckets/b/collections/c", "records")
    assert (trimmed.kept, trimmed.position, trimmed.live) == (
        records.position,
        records.position,
        records.live,
    )


@pytest.mark.parametrize("wrong", [0, -1])
def test_trim_never_lowers_what_is_kept(wrong: int, world: World) -> None:
    top = clock_of(world, "/buckets/b/collections/c", "records").position
    world.do(Trim(None, BUCKET, {RECORDS: top}, 0))
    world.do(Trim(None, BUCKET, {RECORDS: top + wrong}, 0))
    world.do(Trim(None, BUCKET, {RECORDS: top + 1}, 0))
    assert clock_of(world, "/buckets/b/collections/c", "records").kept == top


def test_list_whose_parent_is_gone_is_left_alone(world: World) -> None:
    top = clock_of(world, "/buckets/b/collections/c", "records").position
    world.delete("/buckets/b/collections/c")
    world.do(Trim(None, BUCKET, {RECORDS: top, "/buckets/b/collections/c": 5}, 0))
    assert clock_of(world, "/buckets/b/collections/c", "records").kept == 0


@pytest.mark.parametrize(("actor", "error"), [(BOB, Forbidden), (ANONYMOUS, MissingAuth)])
def test_only_who_may_write_the_bucket_trims(
    actor: Actor, error: type[SyncError], world: World
) -> None:
    with pytest.raises(error):
        world.do(Trim(actor, BUCKET, {}, 1))
    with pytest.raises(error):
        world.do(Trim(actor, object_path("/buckets/none"), {}, 1))


def test_setting_lets_others_trim_too(world: World) -> None:
    world.rules = Rules({**RULES.grants, "history:write": frozenset(["bob"])})
    assert world.do(Trim(BOB, BUCKET, {}, 1)) is not None
    world.rules = Rules({"bucket:read": frozenset(["bob"])})
    with pytest.raises(ParentMissing):
        world.do(Trim(BOB, object_path("/buckets/none"), {}, 1))


@pytest.mark.parametrize("belief", [Precondition(match=1), Precondition(none_match=ANY)])
def test_wrong_belief_is_refused(belief: Precondition, world: World) -> None:
    with pytest.raises(ModifiedMeanwhile):
        world.do(Trim(ALICE, BUCKET, {}, 1, belief))


def test_server_finds_nothing_to_trim_in_a_bucket_that_is_gone(world: World) -> None:
    world.delete(BUCKET.uri)
    assert world.do(Trim(None, BUCKET, {}, 1)) is None


def test_list_in_a_bucket_hangs_on_it() -> None:
    assert lists_in(BUCKET).ancestors == (BUCKET,)


def test_writer_is_checked_on_what_was_read(world: World) -> None:
    judge = Judge(State(dict(world.objects)), RULES)
    check_writable(judge, ALICE, BUCKET)
    with pytest.raises(Forbidden):
        check_writable(judge, BOB, BUCKET)
    assert trim(judge, Trim(ALICE, BUCKET, {}, 0), NOW) is not None
