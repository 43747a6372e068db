"""What a storage promises about writing: positions, the log, and all or nothing."""

import asyncio
from itertools import count
from typing import Any, NoReturn

import pytest

from server.core.commands import Command, Ensure, Inquiry, ListOutcome, RemoveMany
from server.core.errors import (
    Forbidden,
    ModifiedMeanwhile,
    ObjectMissing,
    ParentMissing,
    Unforeseen,
)
from server.core.paths import object_path
from server.core.positions import sequence_of, timestamp_of
from server.core.preconditions import ANY, Precondition
from server.core.queries import parse_query
from tests.conftest import ExpectedLogs
from tests.server.storage.scenes import (
    ALICE,
    BOB,
    Scene,
    delete,
    list_path,
    make_page,
    patch,
    post,
    put,
    random_bucket,
)


@pytest.mark.gen_test(timeout=60)
class WritingContract:
    """One command after the other, and many at once."""

    async def test_writes_move_the_clock_the_count_and_their_own_position(
        self, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records"
        start = await scene.clock(uri)
        made = await scene.write(post(f"{uri}/a", {"n": 1}))
        assert made.position > start.position
        assert made.last_modified == timestamp_of(made.position)
        changed = await scene.write(patch(f"{uri}/a", {"n": 2}))
        assert changed.position > made.position
        assert changed.data == {"id": "a", "last_modified": changed.last_modified, "n": 2}
        other = await scene.write(put(f"{uri}/b"))
        clock = await scene.clock(uri)
        assert (clock.position, clock.live) == (other.position, 2)
        gone = await scene.write(delete(f"{uri}/a"))
        clock = await scene.clock(uri)
        assert (clock.position, clock.live, clock.floor) == (gone.position, 1, start.floor)

    async def test_parents_have_clocks_of_their_lists_and_of_all_in_a_bucket(
        self, scene: Scene
    ) -> None:
        bucket = random_bucket()
        made = await scene.write(put(bucket))
        assert (await scene.clock("/buckets")).position == made.position
        collection = await scene.write(put(f"{bucket}/collections/c"))
        assert (await scene.clock(f"{bucket}/collections")).position == collection.position
        groups = await scene.clock(f"{bucket}/groups")
        assert groups.live == 0
        before = await scene.clock(f"{bucket}/changes")
        await scene.do(put(f"{bucket}/groups/g"))
        assert (await scene.clock(f"{bucket}/groups")).live == 1
        assert (await scene.clock(f"{bucket}/changes")).position > before.position
        # The bucket's own change is one of it, too.
        before = await scene.clock(f"{bucket}/changes")
        await scene.do(patch(bucket, {"a": 1}))
        assert (await scene.clock(f"{bucket}/changes")).position > before.position

    async def test_write_dated_in_the_past_keeps_its_date_and_takes_the_next_n(
        self, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records"
        last = await scene.write(put(f"{uri}/a"))
        seq = (await scene.clock(f"{uri.split('/collections')[0]}/changes")).position
        for n, name in enumerate(("b", "c"), start=1):
            dated = await scene.write(put(f"{uri}/{name}", {"last_modified": 1234}))
            assert dated.last_modified == 1234
            assert timestamp_of(dated.position) == timestamp_of(last.position)
            assert sequence_of(dated.position) == n
            now = (await scene.clock(f"{uri.split('/collections')[0]}/changes")).position
            assert timestamp_of(now) > timestamp_of(seq)
            seq = now
        assert await scene.ids(uri) == ["a", "b", "c"]

    async def test_write_dated_in_the_future_moves_the_clock_there(self, scene: Scene) -> None:
        uri = await scene.make_collection() + "/records"
        future = timestamp_of((await scene.clock(uri)).position) + 3_600_000
        dated = await scene.write(put(f"{uri}/a", {"last_modified": future}))
        assert dated.last_modified == timestamp_of(dated.position) == future
        following = await scene.write(put(f"{uri}/b"))
        assert following.last_modified == future + 1
        same = await scene.write(put(f"{uri}/c", {"last_modified": future + 1}))
        assert same.last_modified == future + 2
        # What the log is ordered by takes no client's date.
        seq = (await scene.clock(f"{uri.split('/collections')[0]}/changes")).position
        assert timestamp_of(seq) < future

    async def test_deletion_takes_a_later_date_of_the_client(self, scene: Scene) -> None:
        uri = await scene.make_collection() + "/records"
        made = await scene.write(put(f"{uri}/a"))
        gone = await scene.write(delete(f"{uri}/a", date=made.last_modified + 5_000))
        assert gone.last_modified == made.last_modified + 5_000

    async def test_log_has_one_revision_an_effect_with_all_that_changed(self, scene: Scene) -> None:
        bucket = random_bucket()
        uri = f"{bucket}/collections/c"
        await scene.do(put(bucket))
        await scene.do(put(uri, {"a": 1}, acl={"read": ["basicauth:bob"]}))
        first = await scene.find(uri)
        await scene.do(put(uri, {"a": 2}, by=ALICE))
        second = await scene.find(uri)
        gone = await scene.write(delete(uri))
        assert first is not None
        assert second is not None
        log = sorted(await scene.log(), key=lambda one: one.seq)
        mine = [one for one in log if one.bucket == bucket.split("/")[2]]
        assert [(one.uri, one.action) for one in mine] == [
            (bucket, "create"),
            (uri, "create"),
            (uri, "update"),
            (uri, "delete"),
        ]
        assert [(one.before, one.json) for one in mine[1:]] == [
            (None, first.json),
            (first.json, second.json),
            (second.json, gone.json),
        ]
        assert [one.position for one in mine[1:]] == [
            first.position,
            second.position,
            gone.position,
        ]
        assert [(one.acl_before, one.acl) for one in mine[1:]] == [
            ({}, first.acl),
            (first.acl, second.acl),
            (second.acl, {}),
        ]
        readers = {"basicauth:bob", "basicauth:alice"}
        assert [(set(one.readers_before), set(one.readers)) for one in mine[1:]] == [
            (set(), readers),
            (readers, readers),
            (readers, set()),
        ]
        assert {(one.list, one.by) for one in mine[1:]} == {
            (f"{bucket}/collections", ALICE.user_id)
        }
        assert mine[-1].seq == (await scene.clock(f"{bucket}/changes")).position

    async def test_refused_write_leaves_no_trace(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        bucket = object_path(collection).ancestors[0].uri
        before = (await scene.clock(uri), await scene.clock(f"{bucket}/changes"))
        with pytest.raises(Forbidden):
            await scene.do(put(f"{uri}/a", by=BOB))
        with pytest.raises(ObjectMissing):
            await scene.do(delete(f"{uri}/a"))
        with pytest.raises(ParentMissing):
            await scene.do(put(f"{bucket}/collections/none/records/a"))
        assert (await scene.clock(uri), await scene.clock(f"{bucket}/changes")) == before
        assert await scene.find(f"{uri}/a") is None

    async def test_refused_part_of_a_batch_leaves_the_others(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        verdicts = await scene.commit(
            put(f"{uri}/a", {"n": 1}),
            put(f"{uri}/b", by=BOB),
            put(f"{uri}/c", {"n": 3}),
            put(f"{uri}/a", {"n": 4}, only=Precondition(match=1)),
        )
        assert isinstance(verdicts[1], Forbidden)
        assert isinstance(verdicts[3], ModifiedMeanwhile)
        assert await scene.ids(uri) == ["c", "a"]
        found = await scene.find(f"{uri}/a")
        assert found is not None
        assert found.data["n"] == 1

    async def test_parts_of_a_batch_see_those_before_them(self, scene: Scene) -> None:
        bucket = random_bucket()
        uri = f"{bucket}/collections/c/records"
        verdicts = await scene.commit(
            put(bucket),
            put(f"{bucket}/collections/c"),
            put(f"{uri}/a", {"n": 1}),
            patch(f"{uri}/a", {"m": 2}),
            delete(f"{uri}/a"),
            put(f"{uri}/a", {"k": 3}),
        )
        assert [getattr(one, "created", one) for one in verdicts] == [
            True,
            True,
            True,
            False,
            False,
            True,
        ]
        positions = [one.object.position for one in verdicts[2:]]
        assert positions == sorted(set(positions))
        found = await scene.find(f"{uri}/a")
        assert found == verdicts[-1].object
        assert (await scene.clock(uri)).live == 1

    async def test_batch_is_seen_whole_or_not_at_all(self, scene: Scene) -> None:
        uri = await scene.make_collection() + "/records"
        writing = asyncio.ensure_future(
            scene.commit(*(put(f"{uri}/r{index}") for index in range(25)))
        )
        counts = set()
        while not writing.done():
            counts.add(len(await scene.ids(uri)))
            await asyncio.sleep(0)
        counts.add(len(await scene.ids(uri)))
        assert counts <= {0, 25}
        assert 25 in counts

    async def test_inquiry_sees_the_writes_before_it_and_not_those_after(
        self, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records"

        async def ask(snapshot: Any) -> Any:
            found = await snapshot.objects([f"{uri}/a", f"{uri}/b"])
            page = await snapshot.page(make_page(uri))
            total = await snapshot.count(make_page(uri))
            return sorted(found), [one.id for one in page], total

        verdicts = await scene.commit(
            Inquiry(ask), put(f"{uri}/a"), Inquiry(ask), put(f"{uri}/b"), Inquiry(ask)
        )
        assert verdicts[0] == ([], [], 0)
        assert verdicts[2] == ([f"{uri}/a"], ["a"], 1)
        assert verdicts[4] == ([f"{uri}/a", f"{uri}/b"], ["b", "a"], 2)
        assert await scene.ids(uri) == ["b", "a"]

    async def test_inquiry_may_give_the_write_that_is_decided_in_its_place(
        self, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records"

        async def ask(snapshot: Any) -> Any:
            page = await snapshot.page(make_page(uri, "n=1"))
            return RemoveMany(ALICE, list_path(uri), tuple(one.id for one in page))

        verdicts = await scene.commit(
            put(f"{uri}/a", {"n": 1}), put(f"{uri}/b", {"n": 2}), Inquiry(ask)
        )
        assert isinstance(verdicts[2], ListOutcome)
        assert [one.path.id for one in verdicts[2].tombstones] == ["a"]
        assert await scene.ids(uri) == ["b"]

    async def test_removal_of_many_leaves_what_does_not_match_or_may_not_be_written(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection({"read": [BOB.user_id]})
        uri = f"{collection}/records"
        for name, data in (("a", {"n": 1}), ("b", {"n": 2}), ("c", {"n": 1})):
            await scene.do(put(f"{uri}/{name}", data, acl={"write": [BOB.user_id]}))
        await scene.do(put(f"{uri}/d", {"n": 1}))
        conditions = parse_query([("n", "1")]).conditions
        ids = ("a", "b", "d", "nothing")
        outcome = await scene.do(RemoveMany(BOB, list_path(uri), ids, conditions))
        assert [one.path.id for one in outcome.tombstones] == ["a"]
        assert outcome.position == (await scene.clock(uri)).position
        assert await scene.ids(uri) == ["d", "c", "b"]
        stale = Precondition(match=5)
        with pytest.raises(ModifiedMeanwhile):
            await scene.do(RemoveMany(BOB, list_path(uri), ("c",), precondition=stale))

    async def test_ensure_makes_what_is_missing_and_only_that(self, scene: Scene) -> None:
        bucket = random_bucket()
        path = object_path(f"{bucket}/collections/c")
        assert await scene.do(Ensure(ALICE, path)) is None
        made = await scene.find(path.uri)
        assert made is not None
        assert made.acl == {"write": (ALICE.user_id,)}
        await scene.do(Ensure(ALICE, path))
        assert await scene.find(path.uri) == made
        mine = [one for one in await scene.log() if one.bucket == path.bucket]
        assert [one.uri for one in sorted(mine, key=lambda one: one.seq)] == [bucket, path.uri]

    async def test_post_of_a_taken_id_gives_what_is_there_or_takes_another_id(
        self, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records"
        made = await scene.write(post(f"{uri}/a", {"n": 1}))
        again = await scene.do(post(f"{uri}/a", {"n": 2}))
        assert (again.created, again.object) == (False, made)
        names = (f"free{number}" for number in count())
        await scene.do(put(f"{uri}/free0"))
        other = await scene.do(post(f"{uri}/a", {"n": 3}, new_id=lambda: next(names)))
        assert (other.created, other.object.path.id) == (True, "free1")

    async def test_unforeseen_error_undoes_its_command_and_leaves_the_others(
        self, scene: Scene, expected_logs: ExpectedLogs
    ) -> None:
        expected_logs("ERROR server.storage.*could not be")
        uri = await scene.make_collection() + "/records"
        await scene.do(put(f"{uri}/taken"))

        def fail() -> NoReturn:
            raise RuntimeError("no ids today")

        bad = Command((put(f"{uri}/undone"), post(f"{uri}/taken", new_id=fail)))
        good = [Command((put(f"{uri}/g{index}"),)) for index in range(6)]
        commands = [*good[:3], bad, *good[3:]]
        answers = await asyncio.gather(
            *(scene.storage.commit(one) for one in commands), return_exceptions=True
        )
        assert isinstance(answers[3], Unforeseen)
        assert not any(isinstance(one, BaseException) for one in answers[:3] + answers[4:])
        assert sorted(await scene.ids(uri)) == ["g0", "g1", "g2", "g3", "g4", "g5", "taken"]

    async def test_many_replacements_of_one_state_have_exactly_one_winner(
        self, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records/r"
        made = await scene.write(put(uri))
        only = Precondition(match=made.last_modified)
        answers = await asyncio.gather(
            *(scene.commit(put(uri, {"n": index}, only=only)) for index in range(50))
        )
        lost = [one for (one,) in answers if isinstance(one, ModifiedMeanwhile)]
        (winner,) = [index for index, (one,) in enumerate(answers) if one not in lost]
        assert len(lost) == 49
        found = await scene.find(uri)
        assert found is not None
        assert found.data["n"] == winner

    async def test_many_creations_of_one_object_have_exactly_one_winner(self, scene: Scene) -> None:
        uri = await scene.make_collection() + "/records/r"
        only = Precondition(none_match=ANY)
        answers = await asyncio.gather(*(scene.commit(put(uri, only=only)) for _ in range(20)))
        assert sum(not isinstance(one, ModifiedMeanwhile) for (one,) in answers) == 1

    async def test_concurrent_writes_are_all_logged_in_an_order_without_ties(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        await asyncio.gather(*(scene.commit(put(f"{uri}/r{index}")) for index in range(60)))
        clock = await scene.clock(uri)
        log = [one for one in await scene.log() if one.list == uri]
        assert {one.uri for one in log} == {f"{uri}/r{index}" for index in range(60)}
        assert len({one.position for one in log}) == len({one.seq for one in log}) == 60
        by_seq = sorted(log, key=lambda one: one.seq)
        assert by_seq == sorted(log, key=lambda one: one.position)
        assert (clock.position, clock.live) == (by_seq[-1].position, 60)
