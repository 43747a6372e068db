"""Whatever is shared, unshared and written: a poller's copy comes to what GET shows."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from server.core.errors import SyncError
from tests.server.service.pollers import OPTIONS, Poller, now_ms
from tests.server.storage.scenes import ALICE, BOB, Scene, delete, put, random_bucket

pytestmark = pytest.mark.gen_test(timeout=120)

RECORDS = [f"r{n}" for n in range(8)]
STEPS = 60


class World:
    """A list, and everything by which somebody may come to see it or a part of it."""

    def __init__(self, scene: Scene, seed: int, *, past: bool) -> None:
        self.scene = scene
        self.chance = random.Random(seed)
        self.past = past
        self.bucket, self.other = random_bucket(), random_bucket()
        self.collection = f"{self.bucket}/collections/c"
        self.list = f"{self.collection}/records"
        self.groups = [f"{self.bucket}/groups/g", f"{self.bucket}/groups/h"]
        self.groups.append(f"{self.other}/groups/g")

    async def begin(self) -> None:
        await self.scene.commit(put(self.bucket), put(self.other), put(self.collection))

    def readers(self) -> list[str]:
        who = [BOB.user_id, "system.Authenticated", *self.groups, "basicauth:carol"]
        return self.chance.sample(who, self.chance.choice([0, 0, 1, 1, 2]))

    async def step(self) -> None:
        """Do one thing; what is refused or missing does no harm."""
        kinds = ["write"] * 6 + ["delete"] * 2 + ["group"] * 4 + ["collection", "bucket", "ungroup"]
        await getattr(self, f"_{self.chance.choice(kinds)}")()

    async def _do(self, part: Any) -> None:
        # What is done in two buckets within a millisecond has no order.
        elsewhere = self.other in str(part)
        if elsewhere:
            await asyncio.sleep(0.002)
        (verdict,) = await self.scene.commit(part)
        if isinstance(verdict, SyncError):
            assert verdict.status == 404, verdict
        if elsewhere:
            await asyncio.sleep(0.002)

    async def _write(self) -> None:
        data: dict[str, Any] = {"n": self.chance.random()}
        if self.past and self.chance.random() < 0.3:
            data["last_modified"] = now_ms() - self.chance.randrange(10**9)
        uri = f"{self.list}/{self.chance.choice(RECORDS)}"
        acl = None if self.chance.random() < 0.3 else {"read": self.readers()}
        await self._do(put(uri, data, acl=acl))

    async def _delete(self) -> None:
        await self._do(delete(f"{self.list}/{self.chance.choice(RECORDS)}"))

    async def _group(self) -> None:
        members = self.chance.choice([[], [], [BOB.user_id], ["system.Authenticated"]])
        await self._do(put(self.chance.choice(self.groups), {"members": members}))

    async def _ungroup(self) -> None:
        await self._do(delete(self.chance.choice(self.groups)))

    async def _collection(self) -> None:
        acl: dict[str, list[str]] = {"read": self.readers(), "write": [ALICE.user_id]}
        acl["record:create"] = [BOB.user_id] if self.chance.random() < 0.1 else []
        await self._do(put(self.collection, acl=acl))

    async def _bucket(self) -> None:
        acl = {"read": self.readers() if self.chance.random() < 0.3 else []}
        await self._do(put(self.bucket, acl=acl))


async def run(scene: Scene, seed: int, *, cursors: bool, steps: int = STEPS) -> None:
    world = World(scene, seed, past=cursors)
    await world.begin()
    size = world.chance.choice([None, 1, 2, 3])
    options = replace(OPTIONS, page_size=size)
    poller = Poller(scene, world.list, cursors=cursors, options=options)
    seen: set[str] = set()
    for step in range(steps):
        await world.step()
        seen |= (await poller.whole()).keys()
        if world.chance.random() < 0.4:
            before, begins_anew = set(poller.told), poller.since == "0"
            await poller.poll()
            if begins_anew:
                # Whoever may read all of a list may read all of its tombstones.
                seen |= poller.told - before
            expected = await poller.whole()
            assert poller.copy == expected, f"seed {seed}, step {step}"
            assert poller.told <= seen, f"seed {seed}, step {step}"


@pytest.mark.parametrize("cursors", [False, True], ids=["etags", "cursors"])
async def test_copy_comes_to_what_get_shows_and_no_id_leaks(scene: Scene, cursors: bool) -> None:
    rounds = 12 if "Memory" in type(scene.storage).__name__ else 3
    for seed in range(rounds):
        await run(scene, seed, cursors=cursors)
