import asyncio
from dataclasses import replace

import pytest

from server.webhooks.hooks import Hook
from server.webhooks.senders import Delivery, Sender, Undelivered
from tests.processes import free_port
from tests.server.storage.scenes import make_revision
from tests.server.webhooks.receivers import SECRET, receiving

pytestmark = pytest.mark.gen_test

DELIVERY = Delivery("b", [make_revision()])


def hook_of(url: str) -> Hook:
    return Hook("audit", url, SECRET, allows_private=True, timeout_seconds=20)


async def send(hook: Hook) -> None:
    sender = Sender(hook)
    try:
        await sender.send(DELIVERY)
    finally:
        sender.close()


async def fail(hook: Hook) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        await send(hook)
    return caught.value


async def test_delivery_is_signed_and_arrives() -> None:
    async with receiving() as receiver:
        await send(hook_of(receiver.url))
        assert receiver.changes() == [("update", "g")]


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
async def test_what_is_not_taken_is_undelivered(status: int) -> None:
    async with receiving() as receiver:
        receiver.answers = [status]
        error = await fail(hook_of(receiver.url))
        assert str(status) in str(error)
        assert error.retry_after is None


async def test_receiver_may_say_when_it_wants_it_again() -> None:
    async with receiving() as receiver:
        receiver.answers, receiver.headers = [503], {"Retry-After": "7"}
        assert (await fail(hook_of(receiver.url))).retry_after == 7


async def test_redirect_is_not_followed() -> None:
    async with receiving() as other, receiving() as receiver:
        receiver.answers, receiver.headers = [307], {"Location": other.url}
        assert "307" in str(await fail(hook_of(receiver.url)))
        assert other.events == []


async def test_receiver_that_is_not_there_takes_nothing() -> None:
    error = await fail(hook_of(f"http://127.0.0.1:{free_port()}/"))
    assert "refused" in str(error).lower()
    assert error.retry_after is None


async def test_receiver_that_does_not_answer_is_given_up() -> None:
    async with receiving() as receiver:
        receiver.hold = asyncio.Event()
        error = await fail(replace(hook_of(receiver.url), timeout_seconds=0.2))
        assert "timeout" in str(error).lower()
        assert receiver.events == []
        receiver.hold.set()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_private_address_is_refused_when_it_is_found_too(host: str) -> None:
    async with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", host)
        error = await fail(Hook("audit", url, SECRET))
        assert "private network" in str(error)
        assert receiver.events == []
