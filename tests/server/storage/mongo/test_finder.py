import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from server.core.commands import Command, Replace, Target
from server.core.contents import NOTHING
from server.core.paths import object_path
from server.core.permissions import Rules, make_actor
from server.storage.base import StorageOptions
from server.storage.mongo.driver import AutoReconnect, Driver, open_driver
from server.storage.mongo.finder import AT_ONCE, URI_MAX_BYTES, Finder
from server.storage.mongo.storage import open_mongo
from tests.servers import run_alone

RULES = Rules({"bucket:create": frozenset({"system.Authenticated"})})
ACTOR = make_actor("basicauth:alice")


class CountingDriver(Driver):
    """Passes everything on to a real driver, and can be held back or cut off.

    Attributes:
        finds: the URIs that each find asked for.
        begun: has an entry for each find.
        gate: finds wait for it.
        failures: how many of the next finds lose their connection.
    """

    def __init__(self, driver: Driver) -> None:
        self._inner = driver
        self.finds: list[list[str]] = []
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = 0

    async def run(self, command: dict[str, Any], session: Any = None) -> dict[str, Any]:
        if "find" in command:
            self.finds.append(command["filter"]["_id"]["$in"])
            self.begun.put_nowait(None)
            await self.gate.wait()
            if self.failures:
                self.failures -= 1
                raise AutoReconnect("cut")
        return await self._inner.run(command, session)

    async def start_session(self) -> Any:
        return await self._inner.start_session()

    async def begin(self, session: Any) -> None:
        await self._inner.begin(session)

    async def close(self) -> None:
        await self._inner.close()


Work = Callable[[Finder, CountingDriver], Coroutine[Any, Any, None]]


def run_with_finder(uri: str, database: str, work: "Any") -> None:
    """Run ``work(finder, driver)`` on a database that holds the buckets a, b and c."""

    async def main() -> None:
        storage = await open_mongo(StorageOptions(RULES, uri, database))
        for name in "abc":
            target = Target(ACTOR, object_path(f"/buckets/{name}"))
            await storage.commit(Command((Replace(target, NOTHING),)))
        await storage.close()
        driver = CountingDriver(open_driver("pymongo", uri, database, 5000))
        finder = Finder(driver)
        try:
            await work(finder, driver)
        finally:
            await finder.close()
            await driver.close()

    run_alone(main())


def test_readers_of_one_turn_share_a_find(mongo_uri: str, mongo_database: str) -> None:
    async def work(finder: Finder, driver: CountingDriver) -> None:
        uris = [["/buckets/a"], ["/buckets/a", "/buckets/b"], ["/buckets/none"]]
        answers = await asyncio.gather(*(finder.find(one) for one in uris))
        assert [sorted(find) for find in driver.finds] == [
            ["/buckets/a", "/buckets/b", "/buckets/none"]
        ]
        assert all(sorted(found.objects) == ["/buckets/a", "/buckets/b"] for found in answers)
        assert len({found.at for found in answers}) == 1

    run_with_finder(mongo_uri, mongo_database, work)


def test_who_comes_while_finds_are_on_their_way_gets_a_later_one(
    mongo_uri: str, mongo_database: str
) -> None:
    async def work(finder: Finder, driver: CountingDriver) -> None:
        driver.gate.clear()
        early = []
        for name in "ab"[:AT_ONCE]:
            early.append(asyncio.ensure_future(finder.find([f"/buckets/{name}"])))
            await driver.begun.get()
        late = [asyncio.ensure_future(finder.find([f"/buckets/{name}"])) for name in "bc"]
        for _ in range(10):
            await asyncio.sleep(0)
        assert driver.finds == [["/buckets/a"], ["/buckets/b"]]
        driver.gate.set()
        found = await asyncio.gather(*early, *late)
        assert driver.finds[AT_ONCE:] == [["/buckets/b", "/buckets/c"]]
        assert "/buckets/c" in found[-1].objects

    run_with_finder(mongo_uri, mongo_database, work)


def test_a_lost_connection_is_tried_once_more_and_then_told_to_all(
    mongo_uri: str, mongo_database: str
) -> None:
    async def work(finder: Finder, driver: CountingDriver) -> None:
        driver.failures = 1
        assert "/buckets/a" in (await finder.find(["/buckets/a"])).objects
        driver.failures = 2
        both = [asyncio.ensure_future(finder.find([f"/buckets/{name}"])) for name in "ab"]
        for one in both:
            with pytest.raises(AutoReconnect):
                await one
        assert "/buckets/a" in (await finder.find(["/buckets/a"])).objects

    run_with_finder(mongo_uri, mongo_database, work)


def test_who_leaves_does_not_disturb_the_others(mongo_uri: str, mongo_database: str) -> None:
    async def work(finder: Finder, driver: CountingDriver) -> None:
        driver.gate.clear()
        leaving = asyncio.ensure_future(finder.find(["/buckets/a"]))
        staying = asyncio.ensure_future(finder.find(["/buckets/b"]))
        await driver.begun.get()
        leaving.cancel()
        driver.gate.set()
        assert "/buckets/b" in (await staying).objects
        with pytest.raises(asyncio.CancelledError):
            await leaving

    run_with_finder(mongo_uri, mongo_database, work)


def test_an_endless_uri_is_found_nowhere_and_never_sent(
    mongo_uri: str, mongo_database: str
) -> None:
    async def work(finder: Finder, driver: CountingDriver) -> None:
        endless = "/buckets/" + "x" * URI_MAX_BYTES
        found = await finder.find([endless, "/buckets/a"])
        assert list(found.objects) == ["/buckets/a"]
        assert driver.finds == [["/buckets/a"]]

    run_with_finder(mongo_uri, mongo_database, work)
