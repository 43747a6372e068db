import asyncio
from dataclasses import replace
from typing import Any

import pytest

from server.core.commands import Change, Outcome, Replace, Target
from server.core.envelopes import Envelope
from server.core.errors import CursorExpired, Forbidden, ModifiedMeanwhile, ObjectMissing
from server.core.patches import MergePatch
from server.core.paths import object_path
from server.core.permissions import Actor
from server.core.preconditions import NONE, Precondition
from server.core.revisions import Revision
from server.service.revisions import Merging, Reversion, RevisionsQuery, open_revisions
from server.service.trimming import trim
from server.storage.reader import Reader
from tests.server.storage.scenes import ALICE, BOB, RULES, Scene, delete, patch, put

pytestmark = pytest.mark.gen_test(timeout=120)

ALL = RevisionsQuery(1000)


async def find(
    scene: Scene, uri: str, query: RevisionsQuery = ALL, by: Actor = ALICE
) -> tuple[list[Revision], bool]:
    async with scene.storage.snapshot() as snapshot:
        revisions = await open_revisions(Reader(snapshot, RULES), by, object_path(uri))
        page = await revisions.find(query)
        assert await revisions.count(query) >= len(page.entries)
        return list(page.entries), page.more


async def positions(scene: Scene, uri: str, query: RevisionsQuery = ALL) -> list[int]:
    return [one.position for one in (await find(scene, uri, query))[0]]


async def get(scene: Scene, uri: str, cursor: int, by: Actor = ALICE) -> Revision:
    async with scene.storage.snapshot() as snapshot:
        revisions = await open_revisions(Reader(snapshot, RULES), by, object_path(uri))
        await revisions.check_known()
        return await revisions.get(cursor)


def revert(uri: str, cursor: int, by: Actor = ALICE, only: Precondition = NONE) -> Any:
    return Reversion(RULES, Target(by, object_path(uri), only), cursor).part()


def merge(uri: str, data: dict[str, Any], base: int, by: Actor = ALICE) -> Merging:
    target = Target(by, object_path(uri), Precondition(match=base))
    return Merging(RULES, Change(target, MergePatch(Envelope(data))))


async def live(scene: Scene) -> tuple[str, list[int]]:
    """A record with five revisions, others' between them; their positions, the newest first."""
    collection = await scene.make_collection()
    uri = f"{collection}/records/a"
    written = []
    for number in range(5):
        written.append((await scene.write(put(uri, {"n": number}))).position)
        await scene.do(put(f"{collection}/records/b", {"n": number}))
    return uri, written[::-1]


async def test_revisions_of_an_object_are_its_own_in_any_range(scene: Scene) -> None:
    uri, written = await live(scene)
    assert await positions(scene, uri) == written
    assert await positions(scene, uri, RevisionsQuery(2)) == written[:2]
    assert (await find(scene, uri, RevisionsQuery(2)))[1]
    assert not (await find(scene, uri, RevisionsQuery(5)))[1]
    rest = RevisionsQuery(9, walk=written[1])
    assert await positions(scene, uri, rest) == written[2:]
    between = RevisionsQuery(9, since=written[3], before=written[0])
    assert await positions(scene, uri, between) == written[1:3]
    assert await positions(scene, uri, replace(between, before=written[4])) == []


async def test_count_of_many_is_exact(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.service.revisions.CHUNK", 2)
    uri, _ = await live(scene)
    async with scene.storage.snapshot() as snapshot:
        revisions = await open_revisions(Reader(snapshot, RULES), ALICE, object_path(uri))
        assert await revisions.count(RevisionsQuery(1)) == 5


async def test_page_of_large_revisions_is_short_and_the_last_one_says_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.service.revisions.PAGE_MAX_BYTES", 150)
    uri, written = await live(scene)
    walked: list[int] = []
    walk, more = None, True
    while more:
        entries, more = await find(scene, uri, RevisionsQuery(9, walk=walk))
        assert 0 < len(entries) < 5
        walked += [one.position for one in entries]
        walk = walked[-1]
    assert walked == written


async def test_revision_is_found_by_its_position_alone(scene: Scene) -> None:
    uri, written = await live(scene)
    assert [(await get(scene, uri, one)).position for one in written] == written
    for other in (written[0] + 1, written[-1] - 1, written[1] + 1):
        with pytest.raises(ObjectMissing):
            await get(scene, uri, other)
    with pytest.raises(ObjectMissing):
        await get(scene, uri.replace("/a", "/never"), written[0])


async def test_revisions_end_where_the_list_was_made_again(scene: Scene) -> None:
    uri, written = await live(scene)
    collection = uri.rpartition("/records/")[0]
    await scene.do(delete(collection))
    await scene.do(put(collection))
    made = await scene.write(put(uri))
    assert await positions(scene, uri) == [made.position]
    with pytest.raises(CursorExpired):
        await get(scene, uri, written[0])
    with pytest.raises(CursorExpired):
        await scene.do(revert(uri, written[0]))
    with pytest.raises(CursorExpired):
        await find(scene, uri, RevisionsQuery(9, since=written[0]))


async def test_revert_makes_the_data_of_then_the_data_of_now(scene: Scene) -> None:
    uri, written = await live(scene)
    outcome: Outcome = await scene.do(revert(uri, written[3]))
    assert (outcome.created, outcome.object.data["n"]) == (False, 1)
    assert (await positions(scene, uri))[0] == outcome.object.position
    with pytest.raises(ModifiedMeanwhile):
        await scene.do(revert(uri, written[2], only=Precondition(match=1)))


async def test_reverts_of_two_with_one_precondition_have_one_winner(scene: Scene) -> None:
    uri, written = await live(scene)
    now = await scene.find(uri)
    assert now is not None
    only = Precondition(match=now.last_modified)
    attempts = [scene.commit(revert(uri, one, only=only)) for one in written[1:]]
    verdicts = [one for (one,) in await asyncio.gather(*attempts)]
    assert sum(isinstance(one, Outcome) for one in verdicts) == 1
    assert sum(isinstance(one, ModifiedMeanwhile) for one in verdicts) == 3


async def test_deleted_object_is_made_again_with_the_permissions_that_it_had(scene: Scene) -> None:
    uri, written = await live(scene)
    await scene.do(put(uri, {"n": 9}, acl={"read": [BOB.user_id]}))
    await scene.do(delete(uri))
    outcome: Outcome = await scene.do(revert(uri, written[0]))
    assert (outcome.created, outcome.object.data["n"]) == (True, 4)
    assert outcome.object.acl == {"read": (BOB.user_id,), "write": (ALICE.user_id,)}


async def test_who_may_write_in_a_list_that_they_may_not_read_revives_nothing(scene: Scene) -> None:
    collection = await scene.make_collection({"record:create": [BOB.user_id]})
    uri = f"{collection}/records/a"
    first = await scene.write(put(uri, {"n": 1}))
    await scene.do(delete(uri))
    with pytest.raises(Forbidden):
        await scene.do(revert(uri, first.position, by=BOB))


async def test_object_that_is_only_shared_has_the_revisions_since_it_was_made(scene: Scene) -> None:
    collection = await scene.make_collection()
    uri = f"{collection}/records/a"
    former = await scene.write(put(uri, {"n": 1}))
    await scene.do(delete(uri))
    made = await scene.write(put(uri, {"n": 2}))
    shared = await scene.write(put(uri, {"n": 3}, acl={"read": [BOB.user_id]}))
    entries, _ = await find(scene, uri, by=BOB)
    assert [one.position for one in entries] == [shared.position, made.position]
    with pytest.raises(ObjectMissing):
        await get(scene, uri, former.position, by=BOB)
    assert len((await find(scene, uri))[0]) == 4


async def test_merge_is_of_both_changes_and_says_on_what_it_was_made(scene: Scene) -> None:
    collection = await scene.make_collection()
    uri = f"{collection}/records/a"
    base = await scene.write(put(uri, {"x": 1, "y": 1}))
    await scene.do(patch(uri, {"x": 2}))
    merging = merge(uri, {"y": 2}, base.last_modified)
    outcome: Outcome = await scene.do(merging.part())
    assert (outcome.object.data["x"], outcome.object.data["y"]) == (2, 2)
    assert merging.base == base.last_modified
    conflict = merge(uri, {"x": 3}, base.last_modified)
    with pytest.raises(ModifiedMeanwhile) as caught:
        await scene.do(conflict.part())
    assert caught.value.details["conflicts"] == ["/x"]
    assert caught.value.details["base"] == base.data
    assert conflict.base is None


async def test_base_that_was_dated_in_the_past_is_found(scene: Scene) -> None:
    collection = await scene.make_collection()
    uri = f"{collection}/records/a"
    base = await scene.write(put(uri, {"last_modified": 1000, "x": 1}))
    assert base.last_modified == 1000
    await scene.do(patch(uri, {"x": 2}))
    outcome: Outcome = await scene.do(merge(uri, {"y": 2}, 1000).part())
    assert (outcome.object.data["x"], outcome.object.data["y"]) == (2, 2)


async def test_merges_of_many_writers_lose_no_change(scene: Scene) -> None:
    collection = await scene.make_collection()
    uri = f"{collection}/records/a"
    base = await scene.write(put(uri, {"n": 0}))
    merges = [merge(uri, {f"w{number}": number}, base.last_modified) for number in range(12)]
    await asyncio.gather(*(scene.do(one.part()) for one in merges))
    stored = await scene.find(uri)
    assert stored is not None
    assert {name: stored.data[name] for name in stored.data if name[0] == "w"} == {
        f"w{number}": number for number in range(12)
    }


async def test_merge_is_refused_to_who_may_not_write(scene: Scene) -> None:
    collection = await scene.make_collection({"read": [BOB.user_id]})
    uri = f"{collection}/records/a"
    base = await scene.write(put(uri, {"x": 1}))
    await scene.do(patch(uri, {"x": 2}))
    with pytest.raises(Forbidden):
        await scene.do(merge(uri, {"y": 2}, base.last_modified, by=BOB).part())


async def test_part_of_a_reversion_is_decided_as_a_replacement(scene: Scene) -> None:
    uri, written = await live(scene)
    async with scene.storage.snapshot() as snapshot:
        wanted = await revert(uri, written[1]).ask(snapshot)
    assert isinstance(wanted, Replace)
    assert (wanted.content.fields, wanted.content.text) == ({"n": 3}, b'{"n":3}')


async def test_revisions_that_were_trimmed_are_gone_and_no_base_for_a_merge(scene: Scene) -> None:
    uri, written = await live(scene)
    entries, _ = await find(scene, uri)
    old = [one for one in entries if one.position <= written[2]]
    await trim(scene.storage, object_path(uri).ancestors[0], old)
    assert await positions(scene, uri) == written[:2]
    for gone in written[2:]:
        with pytest.raises(CursorExpired):
            await get(scene, uri, gone)
        with pytest.raises(CursorExpired):
            await scene.do(revert(uri, gone))
    (base,) = [one for one in entries if one.position == written[2]]
    with pytest.raises(ModifiedMeanwhile) as caught:
        await scene.do(merge(uri, {"m": 1}, base.last_modified).part())
    assert set(caught.value.details) == {"existing"}
    merged = await scene.do(merge(uri, {"m": 1}, entries[1].last_modified).part())
    assert (merged.object.data["n"], merged.object.data["m"]) == (4, 1)


async def test_what_the_history_of_a_bucket_forgot_is_no_revision_of_it(scene: Scene) -> None:
    collection = await scene.make_collection()
    bucket = collection.partition("/collections")[0]
    await scene.do(put(bucket, {"n": 1}))
    entries, _ = await find(scene, bucket)
    await trim(scene.storage, object_path(bucket), entries)
    await scene.do(put(bucket, {"n": 2}))
    left, _ = await find(scene, bucket)
    assert [one.before is not None for one in left] == [True]
    with pytest.raises(ObjectMissing):
        await get(scene, bucket, entries[0].position)


async def test_object_of_which_nothing_is_kept_has_no_revisions(scene: Scene) -> None:
    uri, _ = await live(scene)
    entries, _ = await find(scene, uri)
    last = await scene.write(put(uri.replace("/a", "/z")))
    newest, _ = await find(scene, uri.replace("/a", "/z"))
    await trim(scene.storage, object_path(uri).ancestors[0], [*newest, *entries])
    assert await positions(scene, uri) == []
    async with scene.storage.snapshot() as snapshot:
        revisions = await open_revisions(Reader(snapshot, RULES), ALICE, object_path(uri))
        assert await revisions.check_known() == entries[0].last_modified
    with pytest.raises(CursorExpired):
        await get(scene, uri, last.position)


async def test_sharee_sees_what_is_kept_where_the_making_of_the_object_is_not(scene: Scene) -> None:
    uri, written = await live(scene)
    shared = await scene.write(put(uri, {"n": 9}, acl={"read": [BOB.user_id]}))
    entries, _ = await find(scene, uri)
    old = [one for one in entries if one.position <= written[1]]
    await trim(scene.storage, object_path(uri).ancestors[0], old)
    seen, more = await find(scene, uri, by=BOB)
    assert ([one.position for one in seen], more) == ([shared.position, written[0]], False)


@pytest.mark.parametrize("base", [0, 1 << 42, 10**20 - 1])
async def test_base_that_never_was_is_looked_for_in_vain(scene: Scene, base: int) -> None:
    uri, _ = await live(scene)
    with pytest.raises(ModifiedMeanwhile) as caught:
        await scene.do(merge(uri, {"m": 1}, base).part())
    assert set(caught.value.details) == {"existing"}
