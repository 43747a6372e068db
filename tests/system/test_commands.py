"""How many MongoDB commands a request costs."""

from typing import Any

import pytest

from tests.system.clients import Client
from tests.system.conftest import COLLECTION, RunServer, make_collection
from tests.system.proxies import MongoProxy

RECORDS = f"{COLLECTION}/records"
ONE_TRANSACTION = ["find", "update", "insert", "commitTransaction"]


@pytest.fixture
def client(proxy: MongoProxy, run_server: RunServer) -> Client:
    """A client whose first request, which reads what is kept afterwards, is behind it."""
    client = run_server(proxy.uri).connect()
    make_collection(client)
    proxy.take_commands()
    return client


def put_requests(count: int) -> dict[str, Any]:
    """The body of a batch that creates records."""
    parts = [
        {"method": "PUT", "path": f"{RECORDS}/batch-{i}", "body": {"data": {"i": i}}}
        for i in range(count)
    ]
    return {"requests": parts}


def test_reading_a_record_is_one_find(client: Client, proxy: MongoProxy) -> None:
    client.put(f"{RECORDS}/r")
    proxy.take_commands()
    for _ in range(3):
        client.get(f"{RECORDS}/r")
        assert proxy.take_commands() == ["find"]


def test_list_that_the_client_has_already_is_one_find(client: Client, proxy: MongoProxy) -> None:
    client.put(f"{RECORDS}/r")
    etag = client.get(RECORDS).etag
    proxy.take_commands()
    for _ in range(3):
        assert client.ask("GET", RECORDS, headers={"If-None-Match": etag}).status == 304
        assert proxy.take_commands() == ["find"]


def test_list_of_a_hundred_is_two_finds(client: Client, proxy: MongoProxy) -> None:
    for _ in range(4):
        assert client.ask("POST", "/batch", put_requests(25)).status == 200
    for i in range(100):
        client.put(f"{RECORDS}/r{i}")
    proxy.take_commands()
    assert len(client.get(f"{RECORDS}?_limit=100").data) == 100
    assert proxy.take_commands() == ["find", "find"]
    assert len(client.get(RECORDS).data) == 125
    assert proxy.take_commands() == ["find", "find"]


def test_write_alone_is_one_transaction_of_four_commands(client: Client, proxy: MongoProxy) -> None:
    path = f"{RECORDS}/r"
    for method, body in (("PUT", {"data": {}}), ("PATCH", {"data": {"a": 1}}), ("DELETE", None)):
        assert client.ask(method, path, body).is_success
        assert proxy.take_commands() == ONE_TRANSACTION
    assert client.ask("POST", RECORDS, {"data": {}}).status == 201
    assert proxy.take_commands() == ONE_TRANSACTION


def test_batch_of_25_creates_is_one_transaction_of_four_commands(
    client: Client, proxy: MongoProxy
) -> None:
    answer = client.ask("POST", "/batch", put_requests(25))
    assert [one["status"] for one in answer.body["responses"]] == [201] * 25
    assert proxy.take_commands() == ONE_TRANSACTION
