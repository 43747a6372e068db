import asyncio
from typing import Any

import pytest

from notifier import carrier as carrier_module
from notifier import live as live_module
from notifier.carrier import CarrierLimits
from notifier.live import LiveOptions
from notifier.subscriptions import Subscription
from server.core.commands import Ensure
from server.core.errors import Unavailable
from server.core.paths import object_path
from server.core.permissions import Actor
from tests.conftest import ExpectedLogs
from tests.notifier.stages import Stage, fold
from tests.server.storage.scenes import BOB, put

pytestmark = pytest.mark.gen_test


def ensure_home(path: str, actor: Actor) -> tuple[str, Ensure | None]:
    """``/buckets/home`` is made at its first use."""
    if path.startswith("/buckets/home"):
        return path, Ensure(actor, object_path("/buckets/home/collections/c"))
    return path, None


async def test_default_bucket_is_made_at_its_first_use() -> None:
    async with Stage() as stage:
        stage.live.resolve = ensure_home
        client = await stage.client()
        heard = await client.subscribe("/buckets/home/collections/c/records")
        assert [one["type"] for one in heard] == ["subscribed", "snapshot", "ready"]
        assert await stage.find("/buckets/home/collections/c") is not None
        stranger = await stage.client(BOB)
        await stranger.say("subscribe", sub="s", path="/buckets/home/collections/c/records")
        assert (await stranger.ear.next())["code"] == 403


async def test_error_of_ours_is_told_and_logged(expected_logs: ExpectedLogs) -> None:
    expected_logs("catching up .* failed")
    async with Stage() as stage:
        collection = await stage.make_collection()

        async def fail(subscription: object) -> None:
            raise ZeroDivisionError

        stage.live.catch_up.run = fail  # type: ignore[method-assign]
        client = await stage.client()
        await client.say("subscribe", id=1, sub="s", path=f"{collection}/records")
        error = await client.ear.next()
        assert (error["id"], error["code"], error["errno"]) == (1, 500, 999)
        assert "ZeroDivisionError" not in str(error)


async def test_subscription_that_ends_while_it_waits_for_room_is_forgotten() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, *[{"t": "x" * 200_000}] * 5)
        client = await stage.client()
        client.ear.taking = False
        await client.say("ping")
        await client.say("subscribe", sub="s", path=f"{collection}/records")
        (subscription,) = client.connection._session.begun
        await asyncio.sleep(0)
        client.connection._carrier.stop(subscription)
        client.ear.take_again()
        await asyncio.sleep(0)
        assert [one["type"] for one in client.ear.rest()] == ["pong"]
        assert stage.live.hub.count == 0


async def test_frames_that_wait_are_taken_back_when_rights_change() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection({"read": [BOB.user_id]})
        client, watch = await stage.client(BOB), await stage.client()
        await client.subscribe(f"{collection}/records")
        await watch.subscribe(f"{collection}/records")
        client.ear.taking = False
        await stage.do(put(f"{collection}/records/a", {}, acl={"read": [BOB.user_id]}))
        await watch.ear.next()
        await stage.do(put(f"{collection}/records/b", {"late": 1}))
        await watch.ear.next()
        nobodys: dict[str, list[str]] = {"read": []}
        await stage.do(put(collection, acl=nobodys))
        client.ear.take_again()
        heard = await client.ear.until("ready")
        assert list(fold(heard)) == ["a"]


async def test_slow_reader_of_pokes_is_poked_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_module, "POKE_SECONDS", 0.0)
    limits = CarrierLimits(outbox_max_messages=3)
    async with Stage(LiveOptions(carrier=limits)) as stage:
        collection = await stage.make_collection()
        client, watch = await stage.client(), await stage.client()
        await client.subscribe(f"{collection}/records", deliver="poke")
        await watch.subscribe(f"{collection}/records")
        client.ear.taking = False
        last: dict[str, Any] = {}
        for index in range(12):
            await stage.do(put(f"{collection}/records/r{index}", {}))
            last = await watch.ear.next()
            await asyncio.sleep(0.001)
        client.ear.take_again()
        await client.ear.wait(lambda: client.ear.heard[-1].get("cursor") == last["cursor"])
        assert {one["type"] for one in client.ear.rest()} == {"poke"}


async def test_closed_carrier_begins_nothing() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        await client.subscribe(f"{collection}/records")
        (subscription,) = client.connection._session.begun
        carrier = client.connection._carrier
        client.connection.closed()
        carrier.start(subscription)
        await asyncio.sleep(0)
        assert stage.live.hub.count == 0


async def test_last_poke_of_a_burst_does_not_wait_for_another_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carrier_module, "POKE_SECONDS", 0.01)
    monkeypatch.setattr(live_module, "TICK_SECONDS", 3600)
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        await client.subscribe(f"{collection}/records", deliver="poke")
        await stage.commit(put(f"{collection}/records/a", {}), put(f"{collection}/records/b", {}))
        (first,) = await client.ear.until("poke")
        (second,) = await client.ear.until("poke")
        assert second["prev"] == first["cursor"]


async def test_task_that_goes_on_though_it_was_stopped_ends_nothing() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection({"read": [BOB.user_id]})
        client = await stage.client()
        begun = asyncio.Event()
        go_on = stage.live.catch_up.run

        async def stubborn(subscription: Subscription) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise Unavailable("The database cannot be reached.", 3) from None

        stage.live.catch_up.run = stubborn  # type: ignore[method-assign]
        await client.say("subscribe", sub="s", path=f"{collection}/records")
        await begun.wait()
        stage.live.catch_up.run = go_on  # type: ignore[method-assign]
        await client.say("auth", id=1, authorization="Bearer bob")
        heard = await client.ear.until("ready")
        assert [one["type"] for one in heard] == ["auth", "subscribed", "snapshot", "ready"]
