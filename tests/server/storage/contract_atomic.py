"""What a storage promises about commands whose parts stand and fall together."""

import asyncio
from typing import Any

import pytest

from server.core.commands import Command, Inquiry
from server.core.errors import Forbidden, ObjectMissing, PartFailed, SyncError
from server.storage.base import Gap
from tests.server.storage.scenes import BOB, Scene, delete, patch, put


def is_error(verdict: Any) -> bool:
    return isinstance(verdict, SyncError)


async def look(snapshot: Any) -> Any:
    """Reads something: whoever answers it lets the transaction store what was decided."""
    return await snapshot.objects(["/"])


@pytest.mark.gen_test(timeout=60)
class AtomicContract:
    """All or nothing, whoever else writes."""

    async def together(self, scene: Scene, *parts: Any) -> list[Any]:
        return await scene.storage.commit(Command(parts, fails=is_error))

    async def test_parts_that_stand_together_see_each_other_and_are_all_stored(
        self, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records"
        verdicts = await self.together(
            scene, put(f"{uri}/a", {"n": 1}), Inquiry(look), patch(f"{uri}/a", {"n": 2})
        )
        assert verdicts[2].object.data["n"] == 2
        assert await scene.living(uri) == ["a"]

    @pytest.mark.parametrize("asks", [False, True])
    async def test_refused_part_undoes_all_that_it_stands_with(
        self, asks: bool, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records"
        await scene.do(put(f"{uri}/old", {"n": 1}))
        before, log = await scene.clock(uri), len(await scene.log())
        verdicts = await self.together(
            scene,
            put(f"{uri}/a"),
            patch(f"{uri}/old", {"n": 2}),
            *([Inquiry(look)] if asks else []),
            delete(f"{uri}/none"),
            put(f"{uri}/b"),
        )
        kinds = {type(one) for one in verdicts}
        assert kinds == {PartFailed, ObjectMissing}
        assert isinstance(verdicts[-2], ObjectMissing)
        assert await scene.living(uri) == ["old"]
        assert (await scene.page(uri))[0].data["n"] == 1
        assert await scene.clock(uri) == before
        assert len(await scene.log()) == log

    async def test_failed_command_hurts_none_of_those_that_are_committed_with_it(
        self, scene: Scene
    ) -> None:
        uri = await scene.make_collection() + "/records"

        async def fail(n: int) -> None:
            verdicts = await self.together(
                scene, put(f"{uri}/half{n}"), Inquiry(look), put(f"{uri}/no{n}", by=BOB)
            )
            assert isinstance(verdicts[0], PartFailed)
            assert isinstance(verdicts[2], Forbidden)

        async def write(n: int) -> None:
            await scene.do(put(f"{uri}/r{n}"))

        await asyncio.gather(*(one(n) for n in range(10) for one in (write, fail)))
        assert sorted(await scene.living(uri)) == sorted(f"r{n}" for n in range(10))
        clock = await scene.clock(uri)
        assert clock.live == 10

    async def test_nobody_ever_sees_a_half(self, scene: Scene) -> None:
        uri = await scene.make_collection() + "/records"
        feed = await scene.storage.feed()
        await scene.do(put(f"{uri}/start"))
        halves: list[list[str]] = []
        writing = True

        async def write(n: int) -> None:
            refused = put(f"{uri}/x{n}", by=BOB)
            end = [refused] if n % 3 == 0 else []
            await self.together(scene, put(f"{uri}/a{n}"), Inquiry(look), put(f"{uri}/b{n}"), *end)

        async def poll() -> None:
            while writing:
                found = await scene.living(uri)
                pairs = [one[1:] for one in found if one != "start"]
                halves.extend([one] for one in set(pairs) if pairs.count(one) != 2)
                await asyncio.sleep(0)

        poller = asyncio.ensure_future(poll())
        await asyncio.gather(*(write(n) for n in range(20)))
        writing = False
        await poller
        assert halves == []
        await scene.do(put(f"{uri}/end"))
        told = await self.names_until(feed, f"{uri}/end")
        await feed.close()
        inner = told[told.index("start") + 1 : -1]
        assert len(inner) == 2 * len([n for n in range(20) if n % 3])
        # Those of one command come together.
        assert all(
            inner[i][1:] == inner[i + 1][1:] and inner[i][0] == "a" for i in range(0, len(inner), 2)
        )

    async def names_until(self, feed: Any, last: str) -> list[str]:
        """The ids of what is told of, up to one of them."""
        names: list[str] = []
        listing = last.rpartition("/")[0]
        while True:
            try:
                changes = await feed.read()
            except Gap:
                continue
            for change in changes:
                if change.revision.list == listing:
                    names.append(change.revision.uri.rpartition("/")[2])
                if change.revision.uri == last:
                    return names
