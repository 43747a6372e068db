import asyncio
from typing import Any

import pytest

from notifier.carrier import CarrierLimits
from notifier.live import LiveOptions
from notifier.session import SessionLimits
from server.core.errors import Unavailable
from server.core.permissions import ANONYMOUS, Actor
from tests.conftest import ExpectedLogs
from tests.notifier.stages import Client, Stage, fold
from tests.server.storage.scenes import ALICE, BOB, delete, patch, put

pytestmark = pytest.mark.gen_test


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [one["type"] for one in messages]


async def test_welcome_tells_who_one_is_and_what_one_may() -> None:
    async with Stage() as stage:
        client = Client(stage.live, ALICE)
        welcome = await client.hello(id=7)
        assert welcome["type"] == "welcome"
        assert welcome["id"] == 7
        assert welcome["user"]["id"] == ALICE.user_id
        assert "system.Authenticated" in welcome["user"]["principals"]
        assert welcome["heartbeat"] == 25
        assert welcome["limits"]["subscriptions"] == 128
        assert welcome["epoch"]


async def test_anonymous_client_is_nobody() -> None:
    async with Stage() as stage:
        welcome = await Client(stage.live, ANONYMOUS).hello()
        assert welcome["user"] is None


async def test_credentials_in_hello_count() -> None:
    async with Stage() as stage:
        welcome = await Client(stage.live, ANONYMOUS).hello(authorization="Bearer bob")
        assert welcome["user"]["id"] == BOB.user_id


@pytest.mark.parametrize(("authorization", "errno"), [("Basic !", 105), ("Who knows", 104)])
async def test_wrong_credentials_in_hello_end_the_connection(
    authorization: str, errno: int
) -> None:
    async with Stage() as stage:
        client = Client(stage.live, ANONYMOUS)
        error = await client.hello(id="h", authorization=authorization, subscribe=[{}])
        assert (error["type"], error["id"], error["errno"]) == ("error", "h", errno)
        assert client.ear.closed == (4401, "Unauthorized")
        assert client.ear.rest() == []


async def test_one_round_trip_is_enough_to_be_back() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, {"n": 1})
        client = Client(stage.live, ALICE)
        path = f"{collection}/records"
        bodies = [{"sub": "a", "path": path}, {"sub": "b"}, {"sub": "c", "path": "/nowhere"}]
        await client.say("hello", subscribe=bodies)
        heard = await client.ear.until("ready")
        errors = [one for one in heard if one["type"] == "error"]
        assert [(one["sub"], one["code"]) for one in errors] == [("b", 400), ("c", 404)]
        assert fold(heard)["r0"]["n"] == 1


async def test_snapshot_then_changes() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, {"n": 1}, {"n": 2})
        client = await stage.client()
        first = await client.subscribe(f"{collection}/records", id=1)
        assert kinds(first) == ["subscribed", "snapshot", "ready"]
        assert first[0]["id"] == 1
        assert first[0]["mode"] == "snapshot"
        assert first[1]["prev"] is None
        assert first[2]["prev"] == first[1]["cursor"] == first[2]["cursor"]
        await stage.do(patch(f"{collection}/records/r0", {"n": 3}))
        await stage.do(delete(f"{collection}/records/r1"))
        update, gone = await client.ear.next(), await client.ear.next()
        assert (update["action"], update["data"]["n"]) == ("update", 3)
        assert (gone["action"], gone["data"]["deleted"]) == ("delete", True)
        assert update["prev"] == first[2]["cursor"]
        assert gone["prev"] == update["cursor"]


async def test_cursor_brings_back_what_was_missed_and_nothing_else() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, {"n": 1}, {"n": 2})
        client = await stage.client()
        ready = (await client.subscribe(f"{collection}/records"))[-1]
        await stage.do(put(f"{collection}/records/r2", {"n": 3}))
        again = await stage.client()
        heard = await again.subscribe(f"{collection}/records", since=ready["cursor"])
        assert kinds(heard) == ["subscribed", "event", "ready"]
        assert heard[0]["mode"] == "backfill"
        assert heard[1]["prev"] == ready["cursor"]
        assert heard[1]["data"]["id"] == "r2"


async def test_now_begins_with_the_next_change() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, {"n": 1})
        client = await stage.client()
        heard = await client.subscribe(f"{collection}/records", since="now")
        assert kinds(heard) == ["subscribed", "ready"]
        assert heard[1]["prev"] == heard[0]["cursor"]
        await stage.do(put(f"{collection}/records/r2", {"n": 3}))
        assert (await client.ear.next())["data"]["id"] == "r2"


@pytest.mark.parametrize(
    ("since", "code", "errno"),
    [("x", 400, 107), ("1-2-3", 400, 107), ("", 400, 107), ("8000000000000", 410, 118)],
)
async def test_cursor_that_cannot_be_resumed_is_an_error(since: str, code: int, errno: int) -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        await client.say("subscribe", id="i", sub="s", path=f"{collection}/records", since=since)
        error = await client.ear.next()
        assert (error["type"], error["id"], error["sub"]) == ("error", "i", "s")
        assert (error["code"], error["errno"]) == (code, errno)
        # The name is free again.
        assert (await client.subscribe(f"{collection}/records"))[-1]["type"] == "ready"


async def test_cursor_below_the_floor_is_410() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.fill(collection, {"n": 1})
        client = await stage.client()
        cursor = (await client.subscribe(f"{collection}/records"))[-1]["cursor"]
        await stage.do(delete(collection))
        await stage.do(put(collection))
        again = await stage.client()
        await again.say("subscribe", sub="s", path=f"{collection}/records", since=cursor)
        error = await again.ear.next()
        assert (error["code"], error["errno"]) == (410, 118)
        assert error["details"]["reason"] == "floor"


async def test_unsubscribed_client_hears_nothing_more() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        await client.subscribe(f"{collection}/records")
        await client.say("unsubscribe", id=9, sub="s")
        told = await client.ear.next()
        assert (told["type"], told["id"], told["code"]) == ("unsubscribed", 9, 200)
        assert stage.live.hub.count == 0
        await stage.do(put(f"{collection}/records/r2", {"n": 3}))
        await client.say("ping", t=1)
        assert kinds([await client.ear.next()]) == ["pong"]


async def test_refused_subscription_is_an_error_or_waits() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client(BOB)
        await client.say("subscribe", id=1, sub="s", path=f"{collection}/records")
        assert (await client.ear.next())["errno"] == 121
        wish = {"sub": "s", "path": f"{collection}/records", "on_denied": "wait"}
        await client.say("subscribe", id=2, **wish)
        waiting = await client.ear.next()
        assert (waiting["mode"], waiting["id"]) == ("waiting", 2)
        await stage.do(put(collection, acl={"read": [BOB.user_id]}))
        heard = await client.ear.until("ready")
        assert kinds(heard) == ["subscribed", "snapshot", "ready"]
        assert "id" not in heard[0]


async def test_waiting_subscription_begins_when_the_parent_is_made() -> None:
    async with Stage() as stage:
        client = await stage.client()
        await stage.do(put("/buckets/later"))
        await client.say(
            "subscribe", sub="s", path="/buckets/later/collections/c/records", on_denied="wait"
        )
        assert (await client.ear.next())["mode"] == "waiting"
        await stage.do(put("/buckets/later/collections/c"))
        assert (await client.ear.until("ready"))[0]["mode"] == "snapshot"


async def test_another_identity_sees_what_it_may() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.do(put(f"{collection}/records/r", {"n": 1}, acl={"read": [BOB.user_id]}))
        await stage.do(put(f"{collection}/records/q", {"n": 2}))
        client = await stage.client()
        await client.subscribe(f"{collection}/records")
        await client.say("auth", id=3, authorization="Bearer bob")
        told = await client.ear.next()
        assert (told["type"], told["user"]["id"]) == ("auth", BOB.user_id)
        heard = await client.ear.until("ready")
        assert heard[0]["type"] == "reset"
        assert list(fold(heard)) == ["r"]
        await client.say("auth", id=4, authorization="Bearer carol")
        lost = (await client.ear.until("unsubscribed"))[-1]
        assert (lost["code"], lost["errno"], lost["purge"]) == (403, 121, True)


async def test_who_says_again_who_they_are_goes_on_undisturbed() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        ready = (await client.subscribe(f"{collection}/records"))[-1]
        await client.say("auth", id=3, authorization="Bearer alice")
        assert (await client.ear.next())["type"] == "auth"
        await stage.do(put(f"{collection}/records/r", {}))
        event = await client.ear.next()
        assert (event["type"], event["prev"]) == ("event", ready["cursor"])


async def test_deleted_parent_ends_the_subscription() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        await client.subscribe(f"{collection}/records")
        await stage.do(delete(collection))
        lost = await client.ear.next()
        assert (lost["code"], lost["errno"], lost["purge"]) == (404, 111, True)


async def test_poke_says_only_that_something_changed() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        heard = await client.subscribe(f"{collection}/records", deliver="poke")
        assert heard[0]["mode"] == "live"
        for index in range(5):
            await stage.do(put(f"{collection}/records/r{index}", {}))
        first, second = await client.ear.next(), await client.ear.next()
        assert kinds([first, second]) == ["poke", "poke"]
        assert second["prev"] == first["cursor"]
        etag = (await stage.clock(f"{collection}/records")).position >> 20
        assert second["cursor"] == str(etag)
        assert client.ear.rest() == []


async def test_poke_after_a_cursor_comes_only_if_something_changed() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        path = f"{collection}/records"
        cursor = (await client.subscribe(path, deliver="poke"))[-1]["cursor"]
        heard = await client.subscribe(path, sub="b", deliver="poke", since=cursor)
        assert kinds(heard) == ["subscribed", "ready"]
        await stage.do(put(f"{collection}/records/r", {}))
        await client.ear.until("poke")
        heard = await client.subscribe(path, sub="c", deliver="poke", since=cursor)
        assert "poke" in kinds([one for one in heard if one["sub"] == "c"])


async def test_slow_reader_loses_nothing_and_costs_little() -> None:
    limits = CarrierLimits(outbox_max_messages=10)
    async with Stage(LiveOptions(carrier=limits)) as stage:
        collection = await stage.make_collection()
        slow, quick = await stage.client(), await stage.client()
        heard = await slow.subscribe(f"{collection}/records")
        await quick.subscribe(f"{collection}/records")
        slow.ear.taking = False
        await stage.do(put(f"{collection}/records/r0", {"n": -1}))
        await quick.ear.until("event")
        for index in range(100):
            await stage.do(put(f"{collection}/records/r{index % 7}", {"n": index}))
        await quick.ear.wait(lambda: len(quick.ear.heard) >= 100)
        assert stage.live.hub.count == 1
        slow.ear.take_again()
        await slow.ear.wait(lambda: fold(slow.ear.heard).get("r1", {}).get("n") == 99)
        heard += slow.ear.rest()
        events = [one for one in heard if one["type"] == "event"]
        assert len(events) < 30
        cursors = [heard[2]["cursor"], *(one["cursor"] for one in events)]
        assert [one["prev"] for one in events] == cursors[:-1]
        assert fold(heard) == fold(quick.ear.heard)
        assert stage.live.hub.count == 2


async def test_large_snapshot_comes_in_pages_of_one_instant() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        text = "x" * 100_000
        await stage.fill(collection, *[{"t": text}] * 7)
        client = await stage.client()
        heard = await client.subscribe(f"{collection}/records")
        pages = [one for one in heard if one["type"] == "snapshot"]
        assert [len(one["data"]) for one in pages] == [2, 2, 2, 1]
        assert [one["more"] for one in pages] == [True, True, True, False]
        assert ["cursor" in one for one in pages] == [False, False, False, True]


async def test_silent_newcomer_is_sent_away() -> None:
    async with Stage() as stage:
        client = Client(stage.live, ALICE)
        client.connection.tick()
        assert client.ear.closed is None
        stage.live.time += 10
        client.connection.tick()
        assert client.ear.closed == (4408, "no hello")


async def test_client_that_answers_no_pings_is_sent_away() -> None:
    async with Stage() as stage:
        client = await stage.client()
        for expected in (1, 2):
            stage.live.time += 20
            client.connection.tick()
            assert client.ear.pings == expected
        client.connection.pong()
        for expected in (3, 4):
            stage.live.time += 20
            client.connection.tick()
            assert client.ear.pings == expected
        stage.live.time += 20
        client.connection.tick()
        assert client.ear.closed == (4408, "pings are not answered")
        assert client.ear.aborted


async def test_socket_that_takes_nothing_is_given_up() -> None:
    async with Stage() as stage:
        client = await stage.client()
        client.ear.taking = False
        await client.say("ping")
        stage.live.time = asyncio.get_running_loop().time() + 59
        client.connection.tick()
        assert client.ear.closed is None
        stage.live.time += 2
        client.connection.tick()
        assert client.ear.closed == (4408, "takes nothing")
        assert client.ear.aborted


async def test_after_a_silence_the_server_says_how_far_it_is() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client, watch = await stage.client(), await stage.client()
        await watch.subscribe(f"{collection}/records")
        cursor = (await client.subscribe(f"{collection}/records?n=1"))[-1]["cursor"]
        stage.live.time += 15
        client.connection.tick()
        stage.live.time += 15
        client.connection.tick()
        assert kinds([await client.ear.next()]) == ["ping"]
        await stage.do(put(f"{collection}/records/r", {"n": 2}))
        await watch.ear.next()
        client.connection.pong()
        stage.live.time += 25
        client.connection.tick()
        stage.live.flush()
        progress = await client.ear.next()
        assert (progress["type"], progress["prev"]) == ("progress", cursor)
        assert int(progress["cursor"]) > int(cursor)


async def test_who_sees_a_part_is_told_nothing_of_the_rest() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        await stage.do(put(f"{collection}/records/r", {"n": 1}, acl={"read": [BOB.user_id]}))
        client, watch = await stage.client(BOB), await stage.client()
        await client.subscribe(f"{collection}/records")
        await watch.subscribe(f"{collection}/records")
        await stage.do(put(f"{collection}/records/q", {"n": 2}))
        await watch.ear.next()
        stage.live.time += 25
        client.connection.tick()
        stage.live.flush()
        assert kinds(client.ear.rest()) == ["ping"]


@pytest.mark.parametrize(
    ("frame", "code"), [("{", 4400), ("[]", 4400), (b"{}", 4400), ("x" * 101, 4413)]
)
async def test_what_is_no_message_ends_the_connection(frame: str | bytes, code: int) -> None:
    options = LiveOptions(session=SessionLimits(message_bytes=100))
    async with Stage(options) as stage:
        client = await stage.client()
        await client.connection.receive(frame)
        assert client.ear.closed is not None
        assert client.ear.closed[0] == code
        await client.say("ping")
        assert client.ear.rest() == []


async def test_connection_that_is_gone_leaves_nothing_behind() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        await client.subscribe(f"{collection}/records")
        wish = {"path": "/buckets/none/collections/c/records", "on_denied": "wait"}
        await client.say("subscribe", sub="w", **wish)
        await client.ear.next()
        assert stage.live.hub.count == 2
        client.connection.closed()
        client.connection.closed()
        assert stage.live.hub.count == 0


async def test_nothing_follows_the_end() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client, watch = await stage.client(), await stage.client()
        await client.subscribe(f"{collection}/records")
        await watch.subscribe(f"{collection}/records")
        client.connection.close(4401, "no more")
        await stage.do(put(f"{collection}/records/r", {}))
        await watch.ear.next()
        assert client.ear.closed == (4401, "no more")
        assert client.ear.rest() == []
        assert stage.live.hub.count == 1


async def test_what_was_asked_for_with_a_hello_that_failed_does_not_begin() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()

        async def fail(actor: Actor) -> dict[str, Any]:
            raise Unavailable("The database cannot be reached.", 3)

        stage.live.greet = fail  # type: ignore[method-assign]
        client = Client(stage.live, ANONYMOUS)
        wish = {"sub": "s", "path": f"{collection}/records"}
        await client.say("hello", id=1, authorization="Bearer alice", subscribe=[wish])
        assert client.connection._session.begun == []
        assert [(one["type"], one["code"]) for one in client.ear.rest()] == [("error", 503)]
        assert client.ear.closed is not None
        assert client.ear.closed[0] == 4503


async def test_error_of_ours_in_a_message_is_told_and_logged(expected_logs: ExpectedLogs) -> None:
    expected_logs("what a client said cannot be done")
    async with Stage() as stage:

        async def fail(actor: Actor) -> dict[str, Any]:
            raise ZeroDivisionError

        stage.live.greet = fail  # type: ignore[method-assign]
        client = Client(stage.live, ALICE)
        await client.say("hello", id=1)
        assert [(one["code"], one["errno"]) for one in client.ear.rest()] == [(500, 999)]
        assert client.ear.closed is not None
        assert client.ear.closed[0] == 4500


async def test_who_does_not_listen_is_not_listened_to_for_ever() -> None:
    limits = CarrierLimits(outbox_max_messages=5)
    async with Stage(LiveOptions(carrier=limits)) as stage:
        client = await stage.client()
        client.ear.taking = False

        async def ask() -> None:
            for number in range(20):
                await client.say("subscribe", id=number, sub="s", path="/nothing")

        asking = asyncio.ensure_future(ask())
        for _ in range(100):
            await asyncio.sleep(0)
        assert client.connection._carrier.outbox.waiting <= 6
        assert not asking.done()
        client.ear.take_again()
        await asking
        assert [one["id"] for one in client.ear.rest()] == list(range(20))


async def test_ping_that_has_not_left_needs_no_answer() -> None:
    async with Stage() as stage:
        client = await stage.client()
        client.ear.taking = False
        client.connection._carrier.outbox.push(b"x" * (4 << 20))
        client.connection._carrier.outbox.flush()
        for _ in range(10):
            stage.live.time += 20
            client.connection.tick()
        assert client.ear.closed is None


async def test_client_whose_credentials_are_over_is_sent_away_and_hears_nothing_more() -> None:
    async with Stage() as stage:
        collection = await stage.make_collection()
        client = await stage.client()
        await client.subscribe(f"{collection}/records")
        client.connection.expel()
        client.connection.expel()
        assert client.ear.closed == (4401, "the credentials are not valid any more")
        await stage.fill(collection, {"n": 1})
        await asyncio.sleep(0.05)
        assert client.ear.rest() == []


@pytest.mark.parametrize("kind", ["hello", "auth"])
async def test_credentials_that_ended_while_they_were_looked_at_let_nobody_in(kind: str) -> None:
    async with Stage() as stage:
        stage.live.credentials.are_over = lambda actor: actor == BOB  # type: ignore[method-assign]
        late = Client(stage.live, ANONYMOUS)
        if kind == "auth":
            await late.hello()
        await late.say(kind, id=1, authorization="Bearer bob")
        error = await late.ear.next()
        assert (error["type"], error["id"], error["errno"]) == ("error", 1, 105)
        assert late.ear.closed == (4401, "Unauthorized")
