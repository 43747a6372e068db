"""The live protocol as PyPI's ``websockets`` speaks it, beside plain HTTP."""

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

USER = ("ann", "secret")
AUTHORIZATION = "Basic " + base64.b64encode(b"ann:secret").decode()
PATIENCE = 30.0


def open_socket(url: str, **options: Any) -> ClientConnection:
    found: ClientConnection = connect(
        url.replace("http", "ws", 1) + "/live",
        subprotocols=[Subprotocol("kinto.live.v1")],
        **options,
    )
    return found


def hear(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(PATIENCE))
    return message


def make_records(url: str) -> str:
    """A new collection of Ann; the URL of its records, below the root."""
    bucket = f"/buckets/{uuid.uuid4()}"
    for path in (bucket, f"{bucket}/collections/c"):
        requests.put(url + path, json={}, auth=USER, timeout=PATIENCE).raise_for_status()
    return f"{bucket}/collections/c/records"


def test_client_with_a_header_follows_a_list(serve: Callable[..., str]) -> None:
    url = serve()
    records = make_records(url)
    with open_socket(url, additional_headers={"Authorization": AUTHORIZATION}) as socket:
        assert socket.subprotocol == "kinto.live.v1"
        body = {"sub": "s", "path": records, "include": ["user_id"]}
        socket.send(json.dumps({"type": "hello", "subscribe": [body]}))
        welcome = hear(socket)
        kinds = [hear(socket)["type"] for _ in range(3)]
        assert kinds == ["subscribed", "snapshot", "ready"]
        for n in range(20):
            answer = requests.put(
                f"{url}{records}/r{n % 3}", json={"data": {"n": n}}, auth=USER, timeout=PATIENCE
            )
            event = hear(socket)
            assert event["data"] == answer.json()["data"]
            assert event["cursor"] == answer.headers["Cursor"]
            assert event["action"] == ("create" if n < 3 else "update")
            assert event["user_id"] == welcome["user"]["id"]


def test_large_message_of_the_server_comes_whole(serve: Callable[..., str]) -> None:
    url = serve()
    records = make_records(url)
    data = {"text": "é" * 400_000}
    with open_socket(url, max_size=None) as socket:
        hello = {"type": "hello", "authorization": AUTHORIZATION}
        socket.send(json.dumps({**hello, "subscribe": [{"sub": "s", "path": records}]}))
        while hear(socket)["type"] != "ready":
            pass
        requests.put(f"{url}{records}/r", json={"data": data}, auth=USER, timeout=PATIENCE)
        assert hear(socket)["data"]["text"] == data["text"]


def test_fragmented_message_is_understood(serve: Callable[..., str]) -> None:
    with open_socket(serve()) as socket:
        socket.send(iter(['{"type":', '"hel', 'lo"}']))
        assert hear(socket)["type"] == "welcome"


def test_ping_of_the_client_is_answered(serve: Callable[..., str]) -> None:
    with open_socket(serve()) as socket:
        assert socket.ping().wait(PATIENCE)


def test_wrong_credentials_are_refused_before_and_after_the_upgrade(
    serve: Callable[..., str],
) -> None:
    url = serve()
    with pytest.raises(InvalidStatus) as refused:
        open_socket(url, additional_headers={"Authorization": "Basic !"})
    assert refused.value.response.status_code == 401
    with open_socket(url) as socket:
        socket.send(json.dumps({"type": "hello", "authorization": "Basic !"}))
        assert hear(socket)["code"] == 401
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


def test_client_that_leaves_by_the_book_is_let_go_by_the_book(serve: Callable[..., str]) -> None:
    with open_socket(serve()) as socket:
        socket.send(json.dumps({"type": "hello"}))
        hear(socket)
        socket.close(1000)
        assert socket.close_code == 1000
