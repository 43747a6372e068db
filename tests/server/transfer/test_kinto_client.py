import json

import pytest

from server.transfer import kinto_client
from server.transfer.kinto_client import Credentials, KintoClient, refuse
from server.transfer.sources import SourceError
from tests.server.transfer.canned import Reply, answering

pytestmark = pytest.mark.gen_test


class Pauses(list[float]):
    """How long was waited, without waiting for it."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


OK: Reply = (200, {}, {"ok": True})


@pytest.mark.parametrize(
    ("suffix", "path"),
    [("", "/v1/x"), ("/", "/v1/x"), ("/v1", "/v1/x"), ("/v1/", "/v1/x"), ("/a", "/a/v1/x")],
)
async def test_address_may_have_the_version_or_not(suffix: str, path: str) -> None:
    async with answering(OK) as (url, asked):
        client = KintoClient(url + suffix, Credentials())
        assert (await client.get("/x")).json() == {"ok": True}
        client.close()
    assert asked[0][1] == path
    assert "Authorization" not in asked[0][2]


@pytest.mark.parametrize("url", ["ftp://x", "nothing", "http://"])
async def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SourceError, match="no address"):
        KintoClient(url, Credentials())


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (Credentials("alice", "sec:ret"), "Basic YWxpY2U6c2VjOnJldA=="),
        (Credentials(bearer="abc"), "Bearer abc"),
    ],
)
async def test_credentials_are_sent(credentials: Credentials, header: str) -> None:
    async with answering(OK) as (url, asked):
        client = KintoClient(url, credentials)
        await client.get("/")
        client.close()
    assert client.is_somebody
    assert asked[0][2]["Authorization"] == header


@pytest.mark.parametrize("status", [429, 503, 409, 500])
async def test_passing_failure_is_tried_again(status: int) -> None:
    pauses = Pauses()
    async with answering((status, {}, {}), (status, {}, {}), OK) as (url, asked):
        client = KintoClient(url, Credentials(), pauses)
        assert (await client.get("/x")).status == 200
        client.close()
    assert len(asked) == 3
    assert len(pauses) == 2


@pytest.mark.parametrize("header", ["Retry-After", "Backoff"])
async def test_it_waits_as_long_as_it_is_told_to(header: str) -> None:
    first: Reply = (503 if header == "Retry-After" else 200, {header: "7"}, {})
    pauses = Pauses()
    async with answering(first, OK) as (url, _):
        client = KintoClient(url, Credentials(), pauses)
        await client.get("/x")
        await client.get("/y")
        client.close()
    assert any(6 < seconds <= 7 for seconds in pauses)


async def test_server_that_fails_for_ever_is_an_error() -> None:
    pauses = Pauses()
    async with answering((503, {}, {})) as (url, asked):
        client = KintoClient(url, Credentials(), pauses)
        with pytest.raises(SourceError, match=r"status 503.*run it again to go on"):
            await client.get("/x")
        client.close()
    assert len(asked) == kinto_client.ATTEMPTS == len(pauses) + 1


async def test_server_that_is_not_there_is_an_error() -> None:
    async with answering(OK) as (url, _):
        pass
    with pytest.raises(SourceError, match="does not answer"):
        await KintoClient(url, Credentials(), Pauses()).get("/x")


async def test_batch_is_one_request() -> None:
    responses = [{"status": 200, "body": {"data": 1}}, {"status": 404, "body": {}}]
    async with answering((200, {}, {"responses": responses})) as (url, asked):
        client = KintoClient(url, Credentials())
        assert await client.batch(["/a", "/b"]) == responses
        client.close()
    method, uri, headers, body = asked[0]
    assert (method, uri, headers["Content-Type"]) == ("POST", "/v1/batch", "application/json")
    assert [one["path"] for one in json.loads(body)["requests"]] == ["/a", "/b"]


async def test_refused_batch_is_an_error() -> None:
    async with answering((400, {}, {"message": "too many"})) as (url, _):
        client = KintoClient(url, Credentials())
        with pytest.raises(SourceError, match="too many"):
            await client.batch(["/a"])
        client.close()


async def test_answer_that_is_no_json_is_an_error() -> None:
    async with answering((200, {}, "<html>")) as (url, _):
        client = KintoClient(url, Credentials())
        answer = await client.get("/x")
        with pytest.raises(SourceError, match="does not answer in JSON"):
            answer.json()
        client.close()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((403, {}, {}), "--auth or --bearer"),
        ((301, {"Location": "https://new/v1"}, {}), "has moved to https://new/v1"),
        ((404, {}, {"message": "gone"}), "gone"),
        ((404, {}, "no json"), "no json"),
    ],
)
async def test_refusal_says_what_to_do(reply: Reply, words: str) -> None:
    async with answering(reply) as (url, _):
        client = KintoClient(url, Credentials())
        assert words in str(refuse(await client.get("/x"), "it"))
        client.close()
