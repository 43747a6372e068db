import asyncio
import time
from dataclasses import replace

import pytest

from notifier import live as live_module
from notifier.carrier import CarrierLimits
from notifier.live import LiveOptions
from notifier.topics import parse_topic
from server.core.errors import InvalidAuth, MissingAuth, SyncError
from server.core.permissions import ANONYMOUS
from tests.conftest import ExpectedLogs
from tests.notifier.stages import Client, Stage
from tests.server.storage.scenes import ALICE, BOB, put

pytestmark = pytest.mark.gen_test


async def test_stop_says_good_bye_to_everybody_and_closes() -> None:
    async with Stage() as stage:
        clients = [await stage.client() for _ in range(3)]
        for client in clients:
            client.ear.close = _closing(stage, client)  # type: ignore[method-assign]
        await stage.live.stop()
        for client in clients:
            goodbye = client.ear.rest()[-1]
            assert goodbye["type"] == "goodbye"
            assert goodbye["reason"] == "restart"
            assert 0 <= goodbye["retry_after"] <= live_module.STOP_SECONDS
            assert client.ear.closed == (1012, "restart")
        assert stage.live.stopping.is_set()


def _closing(stage: Stage, client: Client):  # type: ignore[no-untyped-def]
    def close(code: int, reason: str) -> None:
        client.ear.closed = (code, reason)
        client.connection.closed()
        stage.live.forget(client.connection)

    return close


async def test_stopped_server_does_not_wait_for_ever_for_who_does_not_answer() -> None:
    async with Stage() as stage:
        client = await stage.client()
        async with asyncio.timeout(live_module.CLOSE_SECONDS + 2):
            await stage.live.stop()
        assert client.ear.closed == (1012, "restart")


async def test_until_it_is_closed_upon_a_client_hears_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_module, "CLOSES_PER_SECOND", 0.1)
    async with Stage() as stage:
        collection = await stage.make_collection()
        clients = [await stage.client() for _ in range(2)]
        for client in clients:
            await client.subscribe(f"{collection}/records")
        stopping = asyncio.ensure_future(stage.live.stop())
        for client in clients:
            await client.ear.until("goodbye")
        gone, left = sorted(clients, key=lambda client: client.ear.closed is None)
        assert gone.ear.closed == (1012, "restart")
        await stage.do(put(f"{collection}/records/r", {"n": 1}))
        assert (await left.ear.next())["data"]["id"] == "r"
        assert gone.ear.rest() == []
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)


async def test_who_comes_while_the_server_stops_is_sent_on() -> None:
    async with Stage() as stage:
        stage.live.stopping.set()
        client = Client(stage.live, ALICE)
        assert client.ear.closed == (1012, "restart")
        assert [one["type"] for one in client.ear.rest()] == ["goodbye"]


async def test_time_goes_on_for_others_when_a_connection_fails(expected_logs: ExpectedLogs) -> None:
    expected_logs("a connection failed")
    async with Stage(LiveOptions(hello_seconds=0.1)) as stage:
        broken, other = Client(stage.live, ALICE), Client(stage.live, ALICE)

        def fail() -> None:
            raise ZeroDivisionError

        broken.connection.tick = fail  # type: ignore[method-assign]
        await other.ear.wait(lambda: other.ear.closed is not None)
        assert other.ear.closed == (4408, "no hello")


async def test_only_who_is_known_is_let_in_by_credentials() -> None:
    async with Stage() as stage:
        assert await stage.live.identify_strictly("Bearer bob") == BOB
        with pytest.raises(MissingAuth):
            await stage.live.identify_strictly("Who knows")
        with pytest.raises(SyncError):
            await stage.live.identify_strictly("Basic !")


async def test_welcome_names_groups_among_the_principals() -> None:
    async with Stage() as stage:
        await stage.do(put("/buckets/b"))
        await stage.do(put("/buckets/b/groups/g", {"members": [ALICE.user_id]}))
        welcome = await stage.live.greet(ALICE)
        assert "/buckets/b/groups/g" in welcome["user"]["principals"]
        assert (await stage.live.greet(ANONYMOUS))["user"] is None


async def test_heartbeat_that_is_no_whole_number_stays_as_it_is() -> None:

    options = LiveOptions(carrier=CarrierLimits(heartbeat_seconds=0.5))
    async with Stage(options) as stage:
        assert (await stage.live.greet(ANONYMOUS))["heartbeat"] == 0.5


async def test_time_passes_for_every_client() -> None:
    async with Stage(LiveOptions(hello_seconds=0.1)) as stage:
        client = Client(stage.live, ALICE)
        await client.ear.wait(lambda: client.ear.closed is not None)
        assert client.ear.closed == (4408, "no hello")


async def test_end_of_the_service_ends_every_connection() -> None:
    async with Stage(LiveOptions(eos=0)) as stage:
        client = await stage.client()
        await client.ear.wait(lambda: client.ear.closed is not None)
        assert client.ear.closed == (4410, "the service has ended")


async def test_time_lets_out_whose_credentials_have_expired() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        short = replace(ALICE, expires=time.time() + 0.1)
        client, other = Client(stage.live, short), Client(stage.live, ALICE)
        waiter = stage.live.wait_for(parse_topic(records, ()), short, 0)
        await waiter.join()
        with pytest.raises(InvalidAuth):
            await waiter.wait(3600)
        waiter.leave()
        await client.ear.wait(lambda: client.ear.closed is not None)
        assert client.ear.closed == (4401, "the credentials are not valid any more")
        assert other.ear.closed is None


async def test_whose_credentials_are_over_is_not_let_in() -> None:
    async with Stage() as stage:
        records = await stage.make_collection() + "/records"
        gone = replace(ALICE, expires=0.0)
        client = Client(stage.live, gone)
        assert client.ear.closed == (4401, "the credentials are not valid any more")
        waiter = stage.live.wait_for(parse_topic(records, ()), gone, 0)
        with pytest.raises(InvalidAuth):
            await waiter.wait(3600)
        waiter.leave()
