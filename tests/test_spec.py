"""The protocol, as the scenarios of ``tests/spec`` state it, on servers of ours."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.servers import ThreadServer
from tests.spec.runner import Mismatch, Scenario, check_match, load, run

SCENARIOS = load()

SpecServer = Callable[[dict[str, Any]], str]

BASE = {"includes": "default_bucket", "experimental_permissions_endpoint": True}
"""Settings of the server for scenarios that name none."""


@pytest.fixture(scope="module", params=["memory", "mongo"])
def spec_server(request: pytest.FixtureRequest, mongo_uri: str) -> Iterator[SpecServer]:
    """The URL of a server with the given settings; one server for equal settings."""
    servers: dict[str, ThreadServer] = {}

    def find(settings: dict[str, Any]) -> str:
        key = json.dumps(settings, sort_keys=True)
        if key not in servers:
            given = {**BASE, "storage_backend": request.param, **settings}
            environ = {"MONGODB_URI": mongo_uri}
            given["mongodb_database"] = f"spec_{uuid.uuid4().hex}"
            servers[key] = ThreadServer(given, environ)
        url: str = servers[key].url
        return url

    yield find
    for server in servers.values():
        server.stop()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_server_answers_as_the_protocol_says(scenario: Scenario, spec_server: SpecServer) -> None:
    problems = run(scenario, spec_server(scenario.settings))
    assert not problems, "\n".join(problems)


def test_each_scenario_has_a_name_of_its_own() -> None:
    names = [scenario.id for scenario in SCENARIOS]
    assert sorted(set(names)) == sorted(names)


def test_each_scenario_expects_something_of_each_answer() -> None:
    vague = [s.id for s in SCENARIOS for step in s.steps if not step.get("response")]
    assert vague == []


@pytest.mark.parametrize(
    ("value", "matcher"),
    [
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": {"b": 1}}, {"$exactly": {"a": {"b": {"$type": "int"}}}}),
        ({"a": 1}, {"b": {"$absent": True}}),
        ([2, 1], {"$unordered": [1, 2]}),
        ([{"a": 1, "b": 2}], {"$contains": {"a": 1}}),
        ('"12"', {"$greater": 11, "$less": '"13"'}),
        ("abc", {"$regex": "^a", "$length": 3, "$contains": "b", "$not": "x"}),
        ({"$set": 1}, {"$set": 1}),
    ],
)
def test_value_that_is_as_expected_matches(value: Any, matcher: Any) -> None:
    check_match(value, matcher, "value")


@pytest.mark.parametrize(
    ("value", "matcher"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": True}),
        ({"a": 1.0}, {"a": 1}),
        ({"a": 2.0**64}, {"a": 2**64}),
        ({"a": 1, "b": 2}, {"$exactly": {"a": 1}}),
        ({"a": {"b": 1, "c": 1}}, {"$exactly": {"a": {"b": 1}}}),
        ({"a": None}, {"a": {"$absent": True}}),
        ([1], [1, 2]),
        ([1, 1], {"$unordered": [1, 2]}),
        ([1, 3], {"$unordered": [1, 1]}),
        ([1], {"$contains": 2}),
        ("12", {"$greater": 12}),
        ("abc", {"$regex": "^b"}),
        ("abc", {"$not": "abc"}),
        ({}, {"a": {"$type": "null"}}),
        ({}, {"a": {"$not": 1}}),
    ],
)
def test_value_that_is_otherwise_is_a_mismatch(value: Any, matcher: Any) -> None:
    with pytest.raises(Mismatch):
        check_match(value, matcher, "value")
