import time
from collections.abc import Sequence
from typing import Any

import pytest

from server.core.commands import Command, Trim, Verdict
from server.core.errors import Forbidden, InvalidParameters
from server.core.history_entries import parse_history_query
from server.core.paths import object_path
from server.core.permissions import Actor
from server.core.preconditions import NONE, Precondition
from server.service import history as history_module
from server.service.history import Cleared, Histories, HistoryAnswer
from server.service.history_searches import Excluded, HistoryRequest
from server.service.pages import ListOptions
from server.storage.base import LogPage
from server.storage.memory import MemoryStorage
from tests.server.storage.scenes import ALICE, BOB, RULES, Scene, delete, patch, put

pytestmark = pytest.mark.gen_test(timeout=60)


def ask(
    bucket: str,
    query: str = "",
    *,
    by: Actor = ALICE,
    only: Precondition = NONE,
    count: bool = False,
) -> HistoryRequest:
    pairs = [(name, value) for name, _, value in (p.partition("=") for p in query.split("&") if p)]
    now = time.time_ns() // 1_000_000
    path = object_path(bucket)
    return HistoryRequest(by, path, parse_history_query(pairs), only, now, count)


def histories(scene: Scene, **options: Any) -> Histories:
    return Histories(scene.storage, ListOptions(RULES, b"secret", **options), Excluded())


async def read(scene: Scene, request: HistoryRequest, **options: Any) -> HistoryAnswer:
    async with scene.storage.snapshot() as snapshot:
        return await histories(scene, **options).read(snapshot, request)


async def clear(scene: Scene, request: HistoryRequest) -> Cleared:
    return await histories(scene).delete(request)


def spell(entries: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{one['action']} {one['uri'].rpartition('/')[2]}" for one in entries]


async def make_history(scene: Scene, records: int = 3) -> str:
    """A bucket in which so many records were made."""
    collection = await scene.make_collection()
    await scene.fill(collection, *({"n": n} for n in range(records)))
    return collection.partition("/collections")[0]


async def test_pages_and_counts_are_the_same_on_every_storage(scene: Scene) -> None:
    bucket = await make_history(scene, 5)
    whole = spell((await read(scene, ask(bucket))).entries)
    assert whole[:5] == [f"create r{n}" for n in (4, 3, 2, 1, 0)]
    for order in ("", "_sort=last_modified&", "_sort=-target.data.n&", "_sort=uri&"):
        seen: list[str] = []
        query = order
        while True:
            answer = await read(scene, ask(bucket, query), page_size=2)
            assert len(answer.entries) <= 2
            seen += spell(answer.entries)
            if answer.token is None:
                break
            query = f"{order}_token={answer.token}"
        assert sorted(seen) == sorted(whole), order
    for query, total in (("", 7), ("resource_name=record", 5), ("gt_target.data.n=2", 4)):
        assert (await read(scene, ask(bucket, query, count=True))).total == total, query


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("uri=/buckets/{b}/collections/c/records/r1", ["create r1"]),
        ("collection_id=c&record_id=r2", ["create r2"]),
        ("resource_name=record&collection_id=c&target.data.n=0", ["create r0"]),
        ("user_id=basicauth:bob", []),
        ("user_id=basicauth:alice&resource_name=collection", ["create c"]),
    ],
)
async def test_what_narrows_the_search_finds_the_same(
    query: str, found: list[str], scene: Scene
) -> None:
    bucket = await make_history(scene)
    filled = query.replace("{b}", object_path(bucket).id)
    assert spell((await read(scene, ask(bucket, filled))).entries) == found


async def test_reader_of_a_part_finds_it_among_much_else(scene: Scene) -> None:
    bucket = await make_history(scene, 3)
    await scene.do(put(f"{bucket}/collections/c/records/s", acl={"read": [BOB.user_id]}))
    await scene.do(patch(f"{bucket}/collections/c/records/s", {"x": 1}))
    await scene.do(delete(f"{bucket}/collections/c/records/s"))
    answer = await read(scene, ask(bucket, by=BOB))
    assert spell(answer.entries) == ["delete s", "update s", "create s"]
    assert (await read(scene, ask(bucket, "action=none", by=BOB))).entries == []
    feed = await scene.clock(f"{bucket}/changes")
    assert answer.timestamp < feed.position >> 20


async def test_deletion_in_portions_ends_when_nothing_is_left(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "DELETE_AT_ONCE", 2)
    bucket = await make_history(scene, 5)
    cleared = await clear(scene, ask(bucket, "resource_name=record"))
    assert (len(cleared.ids), cleared.token) == (5, None)
    assert spell((await read(scene, ask(bucket))).entries)[0] == "create c"
    assert cleared.timestamp == (await scene.clock(f"{bucket}/changes")).position >> 20
    assert (await scene.clock(f"{bucket}/collections/c/records")).live == 5
    again = await clear(scene, ask(bucket, "resource_name=record"))
    assert (again.ids, again.timestamp) == ((), cleared.timestamp)


async def test_deletion_leaves_what_the_limit_leaves(scene: Scene) -> None:
    bucket = await make_history(scene, 3)
    first = await clear(scene, ask(bucket, "_limit=4"))
    assert (len(first.ids), first.token is None) == (4, False)
    second = await clear(scene, ask(bucket, f"_limit=4&_token={first.token}"))
    assert (len(second.ids), second.token) == (1, None)
    with pytest.raises(InvalidParameters):
        await clear(scene, ask(bucket, f"_limit=4&_token={first.token}"))


async def test_text_of_what_was_cleared_is_in_no_log(scene: Scene) -> None:
    bucket = await make_history(scene)
    await scene.do(patch(f"{bucket}/collections/c", {"secret": "once"}))
    await scene.do(patch(f"{bucket}/collections/c", {"secret": "gone"}))
    await clear(scene, ask(bucket))
    async with scene.storage.snapshot() as snapshot:
        left = await snapshot.log(LogPage(object_path(bucket).id, 0, 1 << 62, 100))
    assert not any(b"once" in one.json or b"once" in (one.before or b"") for one in left)


async def test_only_writers_may_and_others_are_told_first(scene: Scene) -> None:
    bucket = await make_history(scene)
    for request in (ask(bucket, by=BOB), ask(bucket, "_token=x", by=BOB)):
        with pytest.raises(Forbidden):
            await clear(scene, request)
        with pytest.raises(Forbidden):
            await read(scene, request)
    async with scene.storage.snapshot() as snapshot:
        for writes in (False, True):
            with pytest.raises(Forbidden):
                await histories(scene).check_readable(
                    snapshot, BOB, object_path(bucket), writes=writes
                )
            await histories(scene).check_readable(
                snapshot, ALICE, object_path(bucket), writes=writes
            )


async def test_who_loses_the_right_in_the_middle_is_told_what_went_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Revoking(MemoryStorage):
        """Takes Bob's right away after his first portion."""

        async def commit(self, command: Command) -> list[Verdict]:
            verdicts = await super().commit(command)
            if isinstance(command.parts[0], Trim):
                (bucket,) = {command.parts[0].bucket.uri}
                await super().commit(Command((put(bucket, acl={"read": [BOB.user_id]}),)))
            return verdicts

    monkeypatch.setattr(history_module, "DELETE_AT_ONCE", 2)
    scene = Scene(Revoking(RULES), lambda: pytest.fail("nobody looks into it"))
    bucket = await make_history(scene)
    await scene.do(put(bucket, acl={"write": [BOB.user_id]}))
    cleared = await clear(scene, ask(bucket, by=BOB))
    assert len(cleared.ids) == 2
    left = spell((await read(scene, ask(bucket))).entries)
    assert (left[0].partition(" ")[0], len(left)) == ("update", 5)
