"""PyPI's kinto-http when not all goes well: retries, pauses, refused parts; and who it can be."""

import base64
import logging
import uuid
from collections.abc import Iterator
from typing import Any

import kinto_http
import pytest
import requests
from kinto_http.cli_utils import add_parser_options, create_client_from_args
from kinto_http.exceptions import BackoffException
from kinto_http.patch_type import BasicPatch
from kinto_http.replication import replicate
from pymongo import MongoClient

from tests.clients.conftest import Serve
from tests.processes import ServerProcess

Client = Any
SETTINGS = {
    "includes": "accounts api_keys",
    "multiauth_policies": "account basicauth",
    "account_create_principals": "system.Everyone",
}


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """The client logs what became of each part of a batch as warnings and errors."""
    logger = logging.getLogger("kinto_http")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


@pytest.fixture
def url(serve: Serve) -> str:
    return serve(**SETTINGS)


def connect(url: str, **options: Any) -> Client:
    given = {"auth": ("alice", "secret"), "bucket": f"b-{uuid.uuid4()}", "collection": "notes"}
    return kinto_http.Client(server_url=url, **{**given, **options})


@pytest.fixture
def alice(url: str) -> Client:
    """The owner of a new bucket with the collection "notes"."""
    client = connect(url)
    client.create_bucket()
    client.create_collection()
    return client


def test_refused_part_of_a_batch_is_told_and_the_others_are_done(alice: Client) -> None:
    alice.create_record(id="taken", data={"n": 0})

    def send() -> None:
        with alice.batch() as batch:
            batch.create_record(id="before", data={"n": 1})
            batch.create_record(id="taken", data={"n": 2})
            batch.delete_record(id="never")
            batch.create_record(id="after", data={"n": 3})

    with pytest.raises(kinto_http.KintoBatchException) as failed:
        send()
    refused: list[Any] = failed.value.exceptions
    answers = [one.response.status_code for one in refused]
    assert answers == [412, 404]
    [(answer, _)] = failed.value.results
    assert [one["status"] for one in answer["responses"]] == [201, 412, 404, 201]
    existing = answer["responses"][1]["body"]["details"]["existing"]
    assert (existing["id"], existing["n"]) == ("taken", 0)
    assert {one["id"]: one["n"] for one in alice.get_records()} == {
        "before": 1,
        "taken": 0,
        "after": 3,
    }


def test_refused_parts_can_be_ignored(url: str, alice: Client) -> None:
    client = connect(url, bucket=alice.bucket_name, ignore_batch_4xx=True)
    with client.batch() as batch:
        batch.delete_record(id="never")
        batch.create_record(id="a", data={})
    missing, made = batch.results()
    assert (missing["errno"], made["data"]["id"]) == (110, "a")


def test_batch_of_the_client_holds_no_reads(alice: Client) -> None:
    def read() -> None:
        with alice.batch() as batch:
            batch.get_record(id="a")

    with pytest.raises(TypeError):
        read()


def test_dry_run_asks_for_nothing_and_writes_nothing(url: str, alice: Client) -> None:
    dry = connect(url, bucket=alice.bucket_name, dry_mode=True)
    dry.create_record(id="a", data={})
    with dry.batch() as batch:
        batch.create_record(id="b", data={})
    assert alice.get_records() == []


def test_write_that_the_server_could_not_do_in_time_is_tried_again(
    hasty: ServerProcess, mongo_client: MongoClient[dict[str, object]], mongo_database: str
) -> None:
    client = connect(hasty.url.rstrip("/"), retry=5)
    client.create_bucket()
    client.create_collection()
    answers: list[tuple[int, str | None]] = []
    with mongo_client.start_session() as session:
        session.start_transaction()
        objects = mongo_client[mongo_database]["objects"]
        uri = f"/buckets/{client.bucket_name}"
        objects.update_one({"_id": uri}, {"$inc": {"lock": 1}}, session=session)

        def see(answer: requests.Response, *_: Any, **__: Any) -> None:
            answers.append((answer.status_code, answer.headers.get("Retry-After")))
            if session.in_transaction:
                session.abort_transaction()

        client.session._session.hooks["response"].append(see)
        client.update_record(id="a", data={"title": "at last"}, safe=False)
    assert answers[0] == (503, "1")
    assert answers[-1][0] in (200, 201)
    assert client.get_record(id="a")["data"]["title"] == "at last"


def test_pause_that_the_server_asks_for_is_kept(serve: Serve) -> None:
    client = connect(serve(backoff=30))
    client.server_info()
    with pytest.raises(BackoffException) as refused:
        client.create_bucket()
    assert 25 <= refused.value.backoff <= 30


def test_announced_end_of_the_service_is_a_warning(serve: Serve) -> None:
    url = serve(eos="2099-01-01", eos_message="Moving", eos_url="https://example.com/moving")
    with pytest.warns(DeprecationWarning, match="Moving"):
        connect(url).server_info()


def test_user_signs_up_and_may_be_named_in_every_way_the_client_knows(url: str) -> None:
    name = f"user-{uuid.uuid4().hex}"
    anonymous = connect(url, auth=None, headers={"X-Kind": "test"})
    account = {"password": "secret"}
    anonymous.session.request("put", f"/accounts/{name}", data=account)
    text = base64.b64encode(f"{name}:secret".encode()).decode()
    session = kinto_http.create_session(server_url=url, auth=f"{name}:secret")
    wanted = {"name": "a program", "scopes": [{"uri": "/", "access": "write"}]}
    made, _ = session.request("post", "/api-keys", data=wanted)
    key = made["data"]["key"]
    ways: list[Any] = [
        (name, "secret"),
        f"{name}:secret",
        f"Basic {text}",
        kinto_http.TokenAuth(text, type="Basic"),
        f"Bearer {key}",
        kinto_http.BearerTokenAuth(key),
    ]
    users = [connect(url, auth=auth).server_info()["user"]["id"] for auth in ways]
    users.append(kinto_http.Client(session=session).server_info()["user"]["id"])
    header = connect(url, auth=None, headers={"Authorization": f"Bearer {key}"})
    users.append(header.server_info()["user"]["id"])
    assert users == [f"account:{name}"] * 8
    with pytest.raises(kinto_http.KintoException) as refused:
        connect(url, auth=kinto_http.BearerTokenAuth("forged")).create_bucket()
    assert refused.value.response.status_code == 401


def test_collection_is_replicated_with_its_dates(url: str, alice: Client) -> None:
    alice.patch_collection(
        id="notes",
        changes=BasicPatch(data={"sort": "-n"}, permissions={"read": ["system.Everyone"]}),
    )
    for number in range(30):
        alice.create_record(id=f"r{number}", data={"n": number})
    parser = add_parser_options()
    bucket = f"copy-{uuid.uuid4()}"
    arguments = ["--server", url, "--auth", "bob:secret", "--bucket", bucket, "-c", "notes"]
    bob = create_client_from_args(parser.parse_args(arguments))
    replicate(alice, bob)
    copied = bob.get_collection()
    assert (copied["data"]["sort"], copied["permissions"]["read"]) == ("-n", ["system.Everyone"])
    assert bob.get_records(_sort="n") == alice.get_records(_sort="n")
