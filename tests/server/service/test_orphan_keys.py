import asyncio

import pytest

from server.core.errors import Unavailable
from server.service.orphan_keys import OrphanKeys
from tests.server.auth.test_api_keys import Scene

pytestmark = pytest.mark.gen_test


async def keys(at: Scene) -> set[str]:
    async with at.storage.snapshot() as snapshot:
        found = await snapshot.named(["account:a", "account:b"])
    return {one.uri for one in found if one.uri.startswith("/api-keys/")}


async def delete_a(at: Scene, orphans: OrphanKeys) -> None:
    feed = await at.storage.feed()
    await at.remove("/accounts/a", "account:a")
    for change in await feed.read():
        orphans.tell(change.revision)


async def test_keys_of_an_account_go_with_it_and_no_others() -> None:
    at = Scene()
    orphans = OrphanKeys(at.storage, ["account"])
    await at.sign_up("a")
    await at.sign_up("b")
    for owner, key_id in (("account:a", "1"), ("account:a", "2"), ("account:b", "3")):
        await at.key(owner, key_id)
    await delete_a(at, orphans)
    await at.sign_up("a")
    await at.key("account:a", "4")
    task = asyncio.ensure_future(orphans.run())
    async with asyncio.timeout(5):
        while await keys(at) != {"/api-keys/3", "/api-keys/4"}:  # noqa: ASYNC110
            await asyncio.sleep(0)
    task.cancel()


async def test_removal_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.service.orphan_keys.RETRY_SECONDS", 0)
    at = Scene()

    class Failing(OrphanKeys):
        tries = 0

        async def remove(self, owner: str, position: int) -> None:
            self.tries += 1
            if self.tries == 1:
                raise Unavailable("away", 3)
            await super().remove(owner, position)

    orphans = Failing(at.storage, ["account"])
    await at.sign_up("a")
    await at.key("account:a")
    orphans.lose()
    await delete_a(at, orphans)
    task = asyncio.ensure_future(orphans.run())
    async with asyncio.timeout(5):
        while await keys(at):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert orphans.tries == 2
    task.cancel()
