import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from notifier import backlogs
from notifier import catchup as catchup_module
from notifier.authority import Authority
from notifier.catchup import check_cursor
from notifier.hub import Ground
from notifier.live import LiveOptions
from notifier.subscriptions import State
from server.core.errors import CursorExpired, Unavailable
from server.core.objects import Clock
from server.core.positions import make_position
from server.storage.base import Snapshot
from tests.notifier.stages import Client, Stage, fold
from tests.server.storage.scenes import ALICE, BOB, RULES, delete, patch, put

pytestmark = pytest.mark.gen_test

MINE = {"read": [BOB.user_id]}
NOBODYS: dict[str, list[str]] = {"read": []}


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [one["type"] for one in messages]


def check_chain(messages: list[dict[str, Any]], cursor: str | None = None) -> None:
    """Each message names the cursor before it."""
    for message in messages:
        if message["type"] == "reset":
            cursor = None
        elif "prev" in message:
            assert message["prev"] == cursor
            cursor = message.get("cursor", cursor)


class AwayStage(Stage):
    """A stage whose database is away for some snapshots.

    Attributes:
        away: how many of the next snapshots fail.
        cut: whether the next snapshot fails after some pages of lists.
        passes: how many.
    """

    def __init__(self, options: LiveOptions | None = None) -> None:
        super().__init__(options)
        self.away = 0
        self.cut = False
        self.passes = 1
        self._open = self.storage.snapshot
        self.storage.snapshot = self._snapshot  # type: ignore[method-assign]

    def _snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        return self._faulty()

    @asynccontextmanager
    async def _faulty(self) -> AsyncIterator[Snapshot]:
        if self.away:
            self.away -= 1
            raise Unavailable("The database cannot be reached.", 3)
        async with self._open() as snapshot:
            if self.cut:
                self.cut = False
                snapshot.page = self._cut_page(snapshot.page)  # type: ignore[method-assign]
            yield snapshot

    def _cut_page(self, page: Any) -> Any:
        pages = 0

        async def read(wanted: Any) -> Any:
            nonlocal pages
            pages += 1
            if pages > self.passes:
                raise Unavailable("The database cannot be reached.", 3)
            return await page(wanted)

        return read


async def test_changes_during_the_snapshot_follow_it() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, *[{"t": "x" * 100_000}] * 6)
        client = await stage.client()
        client.ear.taking = False
        await client.say("ping")
        await client.say("subscribe", sub="s", path=f"{collection}/records")
        for index in range(20):
            await stage.do(put(f"{collection}/records/r{index}", {"n": index}))
        client.ear.take_again()
        await client.ear.wait(lambda: len(fold(client.ear.heard)) == 20)
        heard = client.ear.rest()
        check_chain(heard)
        assert {key: one["n"] for key, one in fold(heard).items()} == {
            f"r{index}": index for index in range(20)
        }


async def test_long_backfill_goes_in_rounds_and_ends_live() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        cursor = (await client.subscribe(f"{collection}/records"))[-1]["cursor"]
        await stage.commit(*[put(f"{collection}/records/x{i}", {}) for i in range(1200)])
        again = await stage.client()
        heard = await again.subscribe(f"{collection}/records", since=cursor)
        check_chain(heard, cursor)
        assert len(fold(heard)) == 1200
        await stage.do(put(f"{collection}/records/last", {}))
        live = await again.ear.next()
        assert live["prev"] == heard[-1]["cursor"]


async def test_rights_that_changed_since_the_cursor_make_a_reset() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.do(put(f"{collection}/records/a", {"n": 1}, acl=MINE))
        await stage.do(put(f"{collection}/records/b", {"n": 2}))
        client = await stage.client(BOB)
        cursor = (await client.subscribe(f"{collection}/records"))[-1]["cursor"]
        client.connection.closed()
        await stage.do(put(collection, acl=MINE))
        again = await stage.client(BOB)
        heard = await again.subscribe(f"{collection}/records", since=cursor)
        assert kinds(heard) == ["subscribed", "reset", "snapshot", "ready"]
        assert heard[0]["mode"] == "snapshot"
        assert heard[1]["reason"] == "permissions-changed"
        assert sorted(fold(heard)) == ["a", "b"]


async def test_poked_client_is_poked_instead_of_reset() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.do(put(f"{collection}/records/a", {"n": 1}, acl=MINE))
        client = await stage.client(BOB)
        path = f"{collection}/records"
        ready = (await client.subscribe(path, deliver="poke"))[-1]
        await stage.do(put(collection, acl=MINE))
        poke = await client.ear.next()
        assert (poke["type"], poke["prev"]) == ("poke", ready["cursor"])
        await stage.do(put(f"{path}/b", {}))
        again = await client.ear.next()
        assert (again["type"], again["prev"]) == ("poke", poke["cursor"])


async def test_list_that_was_made_again_while_somebody_lagged_is_a_reset() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        path = f"{collection}/records"
        await stage.fill(collection, {"n": 1})
        client = await stage.client()
        await client.subscribe(path)
        (subscription,) = client.connection._session.begun
        stage.live.hub.leave(subscription)
        await stage.do(delete(collection))
        await stage.do(put(collection))
        await stage.do(put(f"{path}/new", {}))
        client.connection._carrier.start(subscription)
        heard = await client.ear.until("ready")
        assert kinds(heard) == ["reset", "snapshot", "ready"]
        assert heard[0]["reason"] == "floor"
        assert list(fold(heard)) == ["new"]


async def test_lost_right_ends_even_who_lagged() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection(MINE)
        client = await stage.client(BOB)
        await client.subscribe(f"{collection}/records")
        (subscription,) = client.connection._session.begun
        stage.live.hub.leave(subscription)
        await stage.do(put(collection, acl=NOBODYS))
        await stage.do(put(f"{collection}/records/secret", {}))
        client.connection._carrier.start(subscription)
        lost = await client.ear.next()
        assert (lost["type"], lost["code"], lost["purge"]) == ("unsubscribed", 403, True)


async def test_gap_brings_everybody_up_from_the_log() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        cursor = (await client.subscribe(f"{collection}/records"))[-1]["cursor"]
        waiter = await stage.client(BOB)
        await waiter.say("subscribe", sub="w", path=f"{collection}/records", on_denied="wait")
        await waiter.ear.next()
        route = stage.live.hub.route
        stage.live.hub.route = lambda change: None  # type: ignore[method-assign]
        await stage.do(put(f"{collection}/records/r", {"n": 1}))
        await stage.do(put(collection, acl=MINE))
        async with stage.storage.snapshot() as snapshot:
            await snapshot.objects(["/"])
            at = snapshot.at
        await asyncio.sleep(0)
        stage.live.hub.route = route  # type: ignore[method-assign]
        stage.live.hub.forget_past(at)
        event = await client.ear.next()
        assert (event["action"], event["prev"]) == ("create", cursor)
        heard = await waiter.ear.until("ready")
        assert list(fold(heard)) == ["r"]
        await stage.do(put(f"{collection}/records/q", {}))
        assert (await client.ear.next())["prev"] == event["cursor"]


async def test_database_that_is_away_refuses_newcomers_and_delays_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catchup_module, "_AGAIN_SECONDS", 0.01)
    async with AwayStage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        stage.away = 1
        await client.say("subscribe", id=1, sub="s", path=f"{collection}/records")
        error = await client.ear.next()
        assert (error["code"], error["errno"], error["retry_after"]) == (503, 201, 3)
        await client.subscribe(f"{collection}/records")
        (subscription,) = client.connection._session.begun
        stage.live.hub.leave(subscription)
        await stage.do(put(f"{collection}/records/r", {"n": 1}))
        stage.away = 3
        client.connection._carrier.start(subscription)
        assert (await client.ear.next())["data"]["id"] == "r"
        assert stage.away == 0


async def test_snapshot_of_a_list_that_was_cut_off_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catchup_module, "_AGAIN_SECONDS", 0.01)
    async with AwayStage() as stage:
        collection = await stage.make_collection()
        path = f"{collection}/records"
        await stage.fill(collection, *[{"t": "x" * 400_000}] * 9)
        client = await stage.client()
        client.ear.taking = False
        await client.say("ping")
        stage.cut = True
        await client.say("subscribe", sub="s", path=path)
        # While the first pages wait: what was sent, what was not, and what is new.
        await stage.do(delete(f"{path}/r8"))
        await stage.do(patch(f"{path}/r7", {"n": 1}))
        await stage.do(delete(f"{path}/r0"))
        await stage.do(put(f"{path}/new", {"n": 2}))
        client.ear.take_again()
        heard = await client.ear.until("ready")
        assert "reset" not in kinds(heard)
        pages = [one for one in heard if one["type"] == "snapshot"]
        assert pages[-1]["cursor"] == heard[kinds(heard).index("subscribed")]["cursor"]
        check_chain(heard)
        expected = {one.id: one.data for one in await stage.page(path)}
        assert fold(heard) == expected
        assert stage.cut is False


@pytest.mark.parametrize("change", ["feed", "rights"])
async def test_snapshot_that_cannot_go_on_begins_again(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup_module, "_AGAIN_SECONDS", 0.01)
    async with AwayStage() as stage:
        collection = await stage.make_collection(MINE)
        path = f"{collection}/records"
        await stage.fill(collection, *[{"t": "x" * 400_000}] * 6)
        await stage.do(put(f"{path}/r5", {"t": "x"}, acl=MINE))
        client = await stage.client(ALICE if change == "feed" else BOB)
        client.ear.taking = False
        await client.say("ping")
        stage.cut = True
        # A bucket's groups and its collections, twice, come before the records.
        stage.passes = 4 if change == "feed" else 1
        topic = collection.partition("/collections")[0] + "/changes"
        await client.say("subscribe", sub="s", path=topic if change == "feed" else path)
        if change == "rights":
            await asyncio.sleep(0)
            await stage.do(put(collection, acl=NOBODYS))
        client.ear.take_again()
        heard = await client.ear.until("ready")
        assert [one["reason"] for one in heard if one["type"] == "reset"] == ["restarted"]
        check_chain(heard)


async def test_more_changes_than_are_kept_while_reading_are_read_from_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlogs, "MAX_CHANGES", 10)
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, *[{"t": "x" * 200_000}] * 4)
        client = await stage.client()
        client.ear.taking = False
        await client.say("ping")
        await client.say("subscribe", sub="s", path=f"{collection}/records")
        for index in range(50):
            await stage.do(put(f"{collection}/records/r{index}", {"n": index}))
        client.ear.take_again()
        heard = await client.ear.until("ready")
        check_chain(heard)
        await client.ear.wait(lambda: len(fold(client.ear.heard)) == 50)


@pytest.mark.parametrize(
    ("position", "reason"), [(4, "floor"), (5, None), (7, None), (9, None), (10, "ahead")]
)
async def test_cursor_is_good_from_the_floor_to_the_clock(
    position: int, reason: str | None
) -> None:
    clock = Clock(make_position(9), make_position(5))
    ground = Ground(1, Authority(RULES), clock)
    if reason is None:
        check_cursor(make_position(position), ground)
        return
    with pytest.raises(CursorExpired) as caught:
        check_cursor(make_position(position), ground)
    assert caught.value.details == {"reason": reason, "cursor": "9", "floor": "5"}


async def test_whole_history_is_told_to_who_asks_for_it() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, {"n": 0})
        client = Client(stage.live, ALICE)
        await client.hello()
        for n in range(1, 4):
            await stage.do(patch(f"{collection}/records/r0", {"n": n}))
        heard = await client.subscribe(f"{collection}/records", since="0", history="all")
        assert [one["data"]["n"] for one in heard if one["type"] == "event"] == [0, 1, 2, 3]
        check_chain(heard, "0")


async def test_identity_that_changes_during_the_snapshot_makes_it_begin_again() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, *[{"t": "x" * 200_000}] * 6)
        client = await stage.client()
        client.ear.taking = False
        await client.say("ping")
        await client.say("subscribe", sub="s", path=f"{collection}/records")
        (subscription,) = client.connection._session.begun
        while not fold(client.ear.heard):
            await _let_run()
            client.ear.take_again(taking=False)
        await _let_run()
        (gone,) = fold(client.ear.heard)
        await stage.do(delete(f"{collection}/records/{gone}"))
        await client.say("auth", id=1, authorization="Bearer alice")
        client.ear.take_again()
        await client.ear.until("ready")
        check_chain(client.ear.heard)
        assert sorted({*fold(client.ear.heard), gone}) == [f"r{index}" for index in range(6)]
        assert gone not in fold(client.ear.heard)
        assert subscription.state is State.LIVE


async def test_identity_that_changes_during_a_backfill_loses_no_event() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        first = await stage.client()
        cursor = (await first.subscribe(f"{collection}/records"))[-1]["cursor"]
        await stage.fill(collection, *[{"n": 1}] * 6)
        client = await stage.client()
        client.ear.taking = False
        await client.say("ping")
        await client.say("subscribe", id=7, sub="s", path=f"{collection}/records", since=cursor)
        await _let_run()
        await client.say("auth", id=1, authorization="Bearer alice")
        while "subscribed" not in kinds(client.ear.heard):
            client.ear.take_again(taking=False)
            await _let_run()
        await client.say("auth", id=2, authorization="Bearer alice")
        client.ear.take_again()
        heard = await client.ear.until("ready")
        assert [one["id"] for one in heard if one["type"] == "subscribed"] == [7]
        check_chain(heard, cursor)
        assert len(fold(heard)) == 6


async def _let_run() -> None:
    """Let others run until they wait for the socket."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_who_waits_to_be_let_in_waits_for_the_database_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catchup_module, "_AGAIN_SECONDS", 0.01)
    async with AwayStage() as stage:
        collection = await stage.make_collection()
        client = await stage.client(BOB)
        await client.say("subscribe", sub="s", path=f"{collection}/records", on_denied="wait")
        assert (await client.ear.next())["mode"] == "waiting"
        stage.away = 2
        await stage.do(put(collection, acl=MINE))
        assert kinds(await client.ear.until("ready")) == ["subscribed", "snapshot", "ready"]
