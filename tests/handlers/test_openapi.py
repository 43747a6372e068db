import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from handlers.openapi import OpenApiEndpoint
from handlers.routing import Api
from server.app import make_app, open_storage
from tests.handlers.conftest import ALICE, Fetch, Start, settings_of

pytestmark = pytest.mark.gen_test(timeout=60)

EVERYTHING = {
    "includes": "accounts api_keys attachments counters default_bucket discovery flush history"
    " prometheus quotas",
    "multiauth__policies": "account basicauth",
    "account_create_principals": "system.Everyone",
    "userid_hmac_secret": "secret",
    "experimental_permissions_endpoint": True,
    "experimental_collection_schema_validation": True,
}

_METHODS = ("get", "head", "post", "put", "patch", "delete")


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


@pytest.mark.parametrize("given", [{}, EVERYTHING, {"readonly": True}])
async def test_both_descriptions_are_valid_whatever_is_switched_on(
    given: dict[str, Any], start: Start
) -> None:
    fetch = await start(**given)
    document = (await fetch("GET /__api__", user=None)).json
    assert document["openapi"] == "3.1.0"
    validate(document)
    older = (await fetch("GET /__api__?version=2", user=None)).json
    assert older["swagger"] == "2.0"
    validate(older)


async def test_every_route_is_described_with_its_methods(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[Api] = []
    join = OpenApiEndpoint.join

    def spy(endpoint: Any, api: Api) -> None:
        joined.append(api)
        join(endpoint, api)

    monkeypatch.setattr(OpenApiEndpoint, "join", spy)
    settings = settings_of(EVERYTHING)
    storage = await open_storage(settings)
    await make_app(settings, storage)
    fetch = await start(storage=storage, **EVERYTHING)
    document = (await fetch("GET /__api__")).json
    found = {(path, method.upper()) for path, method, _ in operations(document)}
    routes = {(r.template, m) for r in joined[0].routes.all for m in r.methods if m != "OPTIONS"}
    assert len(routes) > 40
    assert routes <= found
    objects = found - routes
    assert ("/buckets/{bucket_id}/collections/{collection_id}/records/{record_id}", "PATCH") in (
        objects
    )
    assert ("/accounts", "POST") in objects
    assert ("/buckets/{bucket_id}/changes", "GET") in objects
    assert ("/live", "GET") in objects


async def test_operations_have_names_of_their_own_a_tag_and_a_summary(start: Start) -> None:
    document = (await (await start(**EVERYTHING))("GET /__api__")).json
    names = [one["operationId"] for _, _, one in operations(document)]
    assert len(names) == len(set(names))
    tags = {one["name"] for one in document["tags"]}
    for path, method, one in operations(document):
        assert set(one["tags"]) <= tags
        assert one["summary"], (path, method)
        assert not one["summary"].startswith(method.upper()), (path, method)


async def test_what_is_switched_off_is_not_described(start: Start) -> None:
    fetch = await start(object_record_delete_enabled="false", includes="")
    paths = (await fetch("GET /__api__")).json["paths"]
    record = paths["/buckets/{bucket_id}/collections/{collection_id}/records/{record_id}"]
    assert "delete" not in record
    assert "put" in record
    assert "/accounts" not in paths
    assert "/__flush__" not in paths
    reading = await start(readonly=True)
    found = operations((await reading("GET /__api__")).json)
    assert {method for _, method, _ in found} == {"get", "head"}


async def test_limits_and_ways_to_sign_in_are_those_of_the_settings(start: Start) -> None:
    fetch = await start(
        paginate_by=7,
        includes="api_keys",
        multiauth__policies="people",
        multiauth__policy__people__use="basicauth",
    )
    components = (await fetch("GET /__api__")).json["components"]
    assert "7 at the most" in components["parameters"]["limit"]["description"]
    schemes = components["securitySchemes"]
    assert {name: one["scheme"] for name, one in schemes.items()} == {
        "people": "basic",
        "api_key": "bearer",
    }


@pytest.mark.parametrize(
    ("target", "accept", "version"),
    [
        ("/__api__", "*/*", "3.1.0"),
        ("/__api__?version=3.1", "*/*", "3.1.0"),
        ("/__api__?version=2.0", "*/*", "2.0"),
        ("/__api__", "application/vnd.oai.openapi+json;version=2.0", "2.0"),
        ("/__api__", "application/vnd.oai.openapi+json;version=3.1", "3.1.0"),
    ],
)
async def test_version_is_the_one_that_is_asked_for(
    target: str, accept: str, version: str, fetch: Fetch
) -> None:
    answer = (await fetch(f"GET {target}", headers={"Accept": accept})).json
    assert answer.get("openapi", answer.get("swagger")) == version


@pytest.mark.parametrize("target", ["/__api__?version=1", "/__api__?version=2&version=3"])
async def test_version_that_there_is_not_is_400(target: str, fetch: Fetch) -> None:
    answer = await fetch(f"GET {target}")
    assert (answer.status, answer.json["errno"]) == (400, 107)


async def test_server_is_the_one_that_was_asked(start: Start) -> None:
    fetch = await start(http_host="kinto.example:8443", http_scheme="https")
    document = (await fetch("GET /__api__")).json
    assert document["servers"] == [{"url": "https://kinto.example:8443/v1"}]
    older = (await fetch("GET /__api__?version=2")).json
    assert (older["host"], older["basePath"]) == ("kinto.example:8443", "/v1")
    assert older["schemes"] == ["https"]


async def test_older_form_has_the_names_that_users_of_kinto_know(fetch: Fetch) -> None:
    older = (await fetch("GET /__api__?version=2")).json
    assert {"Buckets", "Groups", "Collections", "Records", "Utilities", "Batch"} <= {
        one["name"] for one in older["tags"]
    }
    record = older["paths"]["/buckets/{bucket_id}/collections/{collection_id}/records/{id}"]
    assert [one["name"] for one in record["parameters"]] == ["bucket_id", "collection_id", "id"]
    assert record["put"]["operationId"] == "update_record"
    assert "body" in [one["name"] for one in record["put"]["parameters"]]
    assert older["paths"]["/"]["get"]["operationId"] == "server_info"
    assert older["paths"]["/buckets"]["get"]["operationId"] == "get_buckets"


FURNITURE: tuple[tuple[str, Any], ...] = (
    ("PUT /buckets/b", None),
    ("PUT /buckets/b/groups/g", {"data": {"members": []}}),
    ("PUT /buckets/b/collections/c", None),
    ("PUT /buckets/b/collections/c/records/r", {"data": {"n": 1}}),
)

NAMES = {"bucket_id": "b", "group_id": "g", "collection_id": "c", "record_id": "r", "id": "r"} | {
    "account_id": "none",
    "principal": "account:none",
    "file": "page.css",
}

SENT = {
    "post": {"data": {"id": "new", "members": []}},
    "put": {"data": {"members": []}},
    "patch": {"data": {"members": []}},
}


def fill(template: str) -> str | None:
    """A path of a template, where all its names are known."""
    names = re.findall(r"\{(\w+)\}", template)
    if not set(names) <= set(NAMES):
        return None
    return re.sub(r"\{(\w+)\}", lambda match: NAMES[match[1]], template)


def check_answer(document: Mapping[str, Any], operation: Mapping[str, Any], answer: Any) -> None:
    """Whether an answer is one of those that are described, body and all."""
    answers = operation["responses"]
    said = answers.get(str(answer.status)) or answers.get(f"{answer.status // 100}XX")
    assert said is not None, (operation["operationId"], answer.status, answer.body)
    if "$ref" in said:
        said = document["components"]["responses"][said["$ref"].rpartition("/")[2]]
    content = said.get("content", {})
    if not content or not answer.body:
        assert not answer.body or answer.status >= 200
        return
    (media,) = list(content)[:1]
    if media == "application/json":
        schema = {**content[media]["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(json.loads(answer.body))
    elif media != "*/*":
        assert answer.headers["Content-Type"].startswith(media)


async def test_every_operation_answers_as_it_is_described(start: Start) -> None:
    fetch = await start(**EVERYTHING, user_data_delete_principals="system.Authenticated")
    document = (await fetch("GET /__api__")).json
    order = {method: place for place, method in enumerate(_METHODS)}
    # What removes comes last, and the innermost first.
    wanted = sorted(operations(document), key=lambda one: (order[one[1]], -one[0].count("/")))
    asked = 0
    for template, method, operation in wanted:
        path = fill(template)
        if path is None or template == "/__flush__":
            continue
        for target, body in FURNITURE:
            await fetch(target, body)
        if template == "/batch":
            sent: Any = {"requests": [{"path": "/"}]}
        else:
            sent = SENT.get(method)
        for user in (ALICE, None):
            answer = await fetch(f"{method.upper()} {path}", sent, user=user)
            check_answer(document, operation, answer)
            asked += 1
    assert asked > 120
