import gc
import json
import re
import socket
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from server.app import Parts, Server, make_name, make_rules, make_uuid, open_server
from server.config import StartupError, load_settings
from server.core.errors import Unavailable
from server.storage.base import StorageError
from server.storage.memory import MemoryStorage

pytestmark = pytest.mark.gen_test


async def opened(**given: Any) -> Server:
    return await open_server(load_settings({}, storage_backend="memory", port=0, **given))


async def get(url: str) -> Any:
    response = await AsyncHTTPClient(force_instance=True).fetch(url, raise_error=False)
    return json.loads(response.body)


async def test_server_listens_on_the_port_it_tells_until_it_is_stopped() -> None:
    server = await opened(host="127.0.0.1")
    assert server.url == f"http://127.0.0.1:{server.port}/v1/"
    assert (await get(server.url))["http_api_version"] == "1.23"
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port)).close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_address_that_is_taken_is_told_with_what_to_do() -> None:
    server = await opened(host="127.0.0.1")
    settings = load_settings({}, storage_backend="memory", host="127.0.0.1", port=server.port)
    with pytest.raises(StartupError, match=rf"127\.0\.0\.1:{server.port} .*--port"):
        await open_server(settings)
    # Tornado forgets the socket that it could not bind.
    gc.collect()
    await server.stop()


async def test_storage_that_cannot_be_opened_stops_the_start() -> None:
    settings = load_settings({"MONGODB_URI": "mongodb://a,"}, storage_backend="mongo", port=0)
    with pytest.raises(StorageError, match="MONGODB_URI"):
        await open_server(settings)


async def test_database_whose_changes_cannot_be_watched_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def be_away(storage: MemoryStorage) -> None:
        raise Unavailable("The database cannot be reached.", 3)

    monkeypatch.setattr(MemoryStorage, "feed", be_away)
    settings = load_settings({}, storage_backend="memory", port=0)
    with pytest.raises(StorageError, match="changes cannot be watched"):
        await open_server(settings)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("a.example", "a.example")],
)
async def test_url_of_a_server_can_be_opened_on_its_machine(host: str, shown: str) -> None:
    parts = Parts(None, None, ())  # type: ignore[arg-type]
    server = Server(None, parts, None, (host, 80))  # type: ignore[arg-type]
    assert server.url == f"http://{shown}:80/v1/"


async def test_what_settings_say_about_permissions_is_in_the_rules() -> None:
    environ = {"KINTO_BUCKET_READ_PRINCIPALS": "system.Everyone"}
    rules = make_rules(load_settings(environ, explicit_permissions=False))
    assert rules.grants["bucket:read"] == {"system.Everyone"}
    assert not rules.explicit_permissions


async def test_generated_names_are_short_ids_and_differ() -> None:
    names = {make_name() for _ in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{7}", name) for name in names)
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", make_uuid()
    )
