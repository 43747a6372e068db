from typing import Any

import pytest
from jsonschema import Draft7Validator

from handlers.asyncapi import AsyncApiOptions, describe_live
from notifier.session import SessionLimits
from tests.clients.schemas import asyncapi_schema
from tests.handlers.conftest import Fetch, Start
from tests.handlers.lives import B, C, Event, R, Talk, open_live

pytestmark = pytest.mark.gen_test(timeout=60)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"http_host": "kinto.example", "http_scheme": "https"},
        {"includes": "api_keys", "multiauth__policies": ""},
    ],
)
async def test_description_is_valid_by_the_official_schema(
    given: dict[str, Any], start: Start
) -> None:
    document = (await (await start(**given))("GET /__asyncapi__", user=None)).json
    found = list(Draft7Validator(asyncapi_schema("3.0.0")).iter_errors(document))
    assert [error.message[:200] for error in found] == []


async def test_official_schema_finds_what_is_wrong(fetch: Fetch) -> None:
    document = (await fetch("GET /__asyncapi__")).json
    document["operations"]["hear"]["action"] = "listen"
    assert list(Draft7Validator(asyncapi_schema("3.0.0")).iter_errors(document))


async def test_references_lead_somewhere(fetch: Fetch) -> None:
    document = (await fetch("GET /__asyncapi__")).json

    def check(part: Any) -> int:
        if isinstance(part, list):
            return sum(check(one) for one in part)
        if not isinstance(part, dict):
            return 0
        if "$ref" in part:
            found = document
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            return 1
        return sum(check(one) for one in part.values())

    assert check(document) > 50


async def test_addresses_and_limits_are_those_of_this_server(start: Start) -> None:
    fetch = await start(
        http_host="kinto.example", http_scheme="https", live_max_subscriptions=7, project_name="my"
    )
    document = (await fetch("GET /__asyncapi__")).json
    assert document["servers"]["websocket"]["protocol"] == "wss"
    assert document["servers"]["http"]["host"] == "kinto.example"
    assert document["channels"]["live"]["address"] == "/live"
    assert "7 subscriptions" in document["info"]["description"]
    assert document["info"]["title"] == "my: live changes"
    assert SessionLimits().subscriptions == AsyncApiOptions().subscriptions


async def test_what_is_streamed_is_as_it_is_described() -> None:
    async with open_live({"KINTO_STORAGE_BACKEND": "memory"}) as server:
        await server.furnish()
        await server.put(f"{R}/a", {"n": 1})
        told: list[Event] = []
        for path in (R, f"{B}/changes", f"{R}?_deliver=poke&_since=0"):
            told += await (talk := await server.listen(path)).until("ready")
            told += await _change(talk, server)
        messages = describe_live(AsyncApiOptions(), "http://h/v1")["components"]["messages"]
        assert {one.type for one in told} >= {"subscribed", "snapshot", "ready", "event", "poke"}
        for one in told:
            payload = messages[f"server.{one.type}"]["payload"]
            whole = {"type": one.type, "sub": "s", **one.data}
            Draft7Validator(payload).validate(whole)
            assert set(whole) <= set(payload["properties"]), one.type


async def _change(talk: Talk, server: Any) -> list[Event]:
    await server.put(C, {"touched": True})
    await server.put(f"{R}/a", {"n": 2})
    return [await talk.event()]
