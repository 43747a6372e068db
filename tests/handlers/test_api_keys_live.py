"""API keys on connections that stay open, and on more than one process."""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.httpclient import HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

from tests.handlers.conftest import ALICE
from tests.handlers.lives import B, C, LiveServer, R, open_live, run_live

pytestmark = pytest.mark.gen_test(timeout=60)

GIVEN: dict[str, Any] = {
    "includes": "api_keys accounts",
    "multiauth_policies": "account basicauth",
    "account_create_principals": "system.Everyone",
}
CAROL = "Basic " + b64encode(b"carol:secret1234").decode()


@pytest.fixture(params=["memory", "mongo"])
def live(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[LiveServer]:
    yield from run_live(request, io_loop, **GIVEN)


async def make_key(live: LiveServer, uri: str, user: str = ALICE) -> tuple[str, str]:
    """What a program sends, and the URI of the key."""
    body = {"data": {"scopes": [{"uri": uri, "access": "read"}]}}
    made = await live.ask("POST /api-keys", body, user=user)
    assert made.status == 201, made.body
    return f"Bearer {made.data['key']}", f"/api-keys/{made.data['id']}"


async def user_of(live: LiveServer, key: str) -> str | None:
    user: str | None = (await live.ask("GET /", user=key)).json.get("user", {}).get("id")
    return user


async def test_stream_is_for_what_lies_in_the_scope(live: LiveServer) -> None:
    await live.furnish()
    key, _ = await make_key(live, C)
    stream = await live.listen(R, user=key)
    assert stream.status == 200
    await live.put(f"{R}/r")
    assert (await stream.until("event"))[-1].data["data"]["id"] == "r"
    for path in (B, f"{B}/changes", "/buckets", f"{B}/collections"):
        refused = await live.listen(path, user=key)
        assert refused.status == 403, path


async def test_subscription_outside_the_scope_is_refused_and_the_connection_stays(
    live: LiveServer,
) -> None:
    await live.furnish()
    key, _ = await make_key(live, C)
    url = f"ws://127.0.0.1:{live.server.port}/v1/live"
    socket = await websocket_connect(HTTPRequest(url, headers={"Authorization": key}))

    async def say(**message: Any) -> None:
        await socket.write_message(json.dumps(message))

    async def until(kind: str) -> Any:
        while True:
            heard = await socket.read_message()
            assert heard is not None, socket.close_code
            message = json.loads(heard)
            if message["type"] == kind:
                return message

    await say(type="hello", versions=[1])
    await until("welcome")
    await say(type="subscribe", sub="wide", path=f"{B}/collections")
    assert (await until("error"))["code"] == 403
    await say(type="subscribe", sub="own", path=R)
    assert (await until("subscribed"))["sub"] == "own"
    socket.close()
    while await socket.read_message() is not None:
        pass


async def test_stream_ends_when_its_key_is_revoked(live: LiveServer) -> None:
    await live.furnish()
    key, uri = await make_key(live, C)
    stream = await live.listen(R, user=key)
    assert (await live.ask(f"DELETE {uri}")).status == 200
    await stream.rest()
    assert await user_of(live, key) is None


async def test_stream_ends_when_the_scopes_of_its_key_change(live: LiveServer) -> None:
    await live.furnish()
    key, uri = await make_key(live, C)
    stream = await live.listen(R, user=key)
    body = {"data": {"scopes": [{"uri": "/buckets/other", "access": "read"}]}}
    assert (await live.ask(f"PATCH {uri}", body)).status == 200
    await stream.rest()
    assert (await live.listen(R, user=key)).status == 403


async def test_stream_ends_when_the_account_of_its_key_is_deleted(live: LiveServer) -> None:
    account = {"data": {"password": "secret1234"}}
    assert (await live.ask("PUT /accounts/carol", account, user=None)).status == 201
    await live.furnish({"read": ["account:carol"]})
    key, uri = await make_key(live, C, CAROL)
    stream = await live.listen(R, user=key)
    assert (await live.ask("DELETE /accounts/carol", user=CAROL)).status == 200
    await stream.rest()
    assert await user_of(live, key) is None
    assert (await live.ask("PUT /accounts/carol", account, user=None)).status == 201
    assert (await live.ask(f"GET {uri}", user=CAROL)).status == 403


async def test_key_that_one_process_revokes_is_nobodys_on_the_others(
    mongo_uri: str, mongo_database: str
) -> None:
    environ = {"MONGODB_URI": mongo_uri, "KINTO_MONGODB_DATABASE": mongo_database}
    async with open_live(environ, **GIVEN) as one, open_live(environ, **GIVEN) as two:
        await one.furnish()
        key, uri = await make_key(one, C)
        assert await user_of(two, key) is not None
        stream = await two.listen(R, user=key)
        assert (await one.ask(f"DELETE {uri}")).status == 200
        assert await user_of(one, key) is None
        await stream.rest()
        assert await user_of(two, key) is None
