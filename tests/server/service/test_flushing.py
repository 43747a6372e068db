import asyncio

import pytest

from server.core.commands import Flush
from server.service import flushing
from server.service.flushing import flush
from tests.server.storage.scenes import Scene, put

pytestmark = pytest.mark.gen_test(timeout=60)


async def test_flush_of_nothing_is_fine(scene: Scene) -> None:
    await flush(scene.storage, "first")
    await flush(scene.storage, "second")
    assert await scene.living("/buckets") == []


async def test_flush_takes_as_many_commands_as_it_needs(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flushing, "AT_ONCE", 3)
    uris = [f"/buckets/b{i}" for i in range(7)]
    await scene.commit(*[put(uri) for uri in uris], put("/buckets/b0/groups/g", {"members": []}))
    await flush(scene.storage, "next")
    assert await scene.living("/buckets") == []
    assert await scene.find("/buckets/b0/groups/g") is None


async def test_flush_removes_what_is_made_while_it_runs(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flushing, "AT_ONCE", 2)
    await scene.commit(*[put(f"/buckets/b{i}") for i in range(6)])
    writes = [scene.commit(put(f"/buckets/new{i}")) for i in range(5)]
    await asyncio.gather(flush(scene.storage, "next"), *writes)
    # What came after the last command is left, and nothing of before.
    assert all(name.startswith("new") for name in await scene.living("/buckets"))


async def test_two_flushes_at_once_are_both_done(scene: Scene) -> None:
    await scene.commit(*[put(f"/buckets/b{i}") for i in range(6)])
    await asyncio.gather(flush(scene.storage, "one"), flush(scene.storage, "two"))
    assert await scene.living("/buckets") == []


async def test_bucket_may_be_made_again_after_a_flush_with_nothing_of_before(
    scene: Scene,
) -> None:
    before = await scene.write(put("/buckets/b", {"n": 1}))
    await scene.do(put("/buckets/b/groups/g", {"members": []}))
    await flush(scene.storage, "next")
    after = await scene.write(put("/buckets/b", {"n": 2}))
    assert after.last_modified > before.last_modified
    assert await scene.living("/buckets/b/groups") == []


async def test_flush_that_is_told_of_a_bucket_that_is_gone_goes_on(scene: Scene) -> None:
    (verdict,) = await scene.commit(Flush(("/buckets/none",), "next"))
    assert not isinstance(verdict, Exception)
