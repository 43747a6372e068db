from typing import Any

import pytest

from handlers.swagger import to_swagger


def document(**paths: Any) -> dict[str, Any]:
    return {
        "info": {"title": "t", "version": "1", "description": "d"},
        "servers": [{"url": "https://host:1/v1"}],
        "security": [{}, {"basic": []}],
        "tags": [{"name": "Hello"}, {"name": "Operation"}, {"name": "Records"}],
        "paths": {path: {"parameters": [], **item} for path, item in paths.items()},
        "components": {
            "schemas": {
                "Thing": {
                    "type": "object",
                    "properties": {
                        "type": {"type": ["string", "null"]},
                        "writeOnly": {"type": "string", "writeOnly": True},
                        "other": {"$ref": "#/components/schemas/Thing"},
                    },
                }
            },
            "parameters": {
                "limit": {"name": "_limit", "in": "query", "schema": {"type": "integer"}},
                "filters": {"name": "filters", "in": "query", "schema": {"type": "object"}},
            },
            "headers": {"ETag": {"description": "e", "schema": {"type": "string"}}},
            "responses": {
                "Error404": {
                    "description": "none",
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}
                    },
                }
            },
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer", "description": "a token"},
            },
        },
    }


def operation(**more: Any) -> dict[str, Any]:
    return {
        "operationId": "o",
        "summary": "s",
        "tags": ["Records"],
        "parameters": [],
        "responses": {},
        **more,
    }


def test_address_security_and_tags_are_told_in_the_older_words() -> None:
    older = to_swagger(document())
    assert (older["schemes"], older["host"], older["basePath"]) == (["https"], "host:1", "/v1")
    assert older["securityDefinitions"] == {
        "basic": {"type": "basic"},
        "token": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "a token",
        },
    }
    assert older["security"] == [{"basic": []}]
    assert older["tags"] == [{"name": "Utilities"}, {"name": "Records"}]


def test_schema_keeps_fields_whose_names_are_words_of_schemas() -> None:
    assert to_swagger(document())["definitions"]["Thing"]["properties"] == {
        "type": {"type": "string", "x-nullable": True},
        "writeOnly": {"type": "string"},
        "other": {"$ref": "#/definitions/Thing"},
    }


def test_answers_and_parameters_are_put_in_place_and_filters_left_out() -> None:
    parameters = [{"$ref": f"#/components/parameters/{name}"} for name in ("limit", "filters")]
    etag = {"ETag": {"$ref": "#/components/headers/ETag"}}
    responses = {
        "2XX": {"description": "fine", "headers": etag},
        "404": {"$ref": "#/components/responses/Error404"},
    }
    given = {"/x": {"get": operation(parameters=parameters, responses=responses)}}
    found = to_swagger(document(**given))["paths"]["/x"]["get"]
    assert found["parameters"] == [{"name": "_limit", "in": "query", "type": "integer"}]
    assert found["responses"] == {
        "200": {
            "description": "fine",
            "headers": {"ETag": {"description": "e", "type": "string"}},
        },
        "404": {"description": "none", "schema": {"$ref": "#/definitions/Thing"}},
    }


@pytest.mark.parametrize(
    ("path", "name", "shown"),
    [
        ("/buckets/{bucket_id}", "bucket_id", "/buckets/{id}"),
        ("/api-keys/{api_key_id}", "api_key_id", "/api-keys/{id}"),
        ("/buckets/{bucket_id}/changes", "bucket_id", "/buckets/{bucket_id}/changes"),
        ("/attachments/{path}", "path", "/attachments/{path}"),
        ("/others/{bucket_id}", "bucket_id", "/others/{bucket_id}"),
    ],
)
def test_id_of_an_object_is_called_id_in_its_own_path(path: str, name: str, shown: str) -> None:
    own = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    found = to_swagger(document(**{path: {"parameters": [own]}}))["paths"]
    assert list(found) == [shown]
    (parameter,) = found[shown]["parameters"]
    assert f"{{{parameter['name']}}}" in shown
    assert parameter["required"] is True


def test_forms_become_fields_and_bodies_a_parameter() -> None:
    form = {
        "type": "object",
        "properties": {
            "attachment": {"type": "string", "format": "binary"},
            "data": {"type": "string"},
        },
        "required": ["attachment"],
    }
    upload = operation(requestBody={"content": {"multipart/form-data": {"schema": form}}})
    patch = operation(
        requestBody={
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}},
                "application/merge-patch+json": {"schema": {}},
                "application/json-patch+json": {"schema": {}},
            }
        }
    )
    found = to_swagger(document(**{"/x": {"post": upload, "patch": patch}}))["paths"]["/x"]
    assert [(one["name"], one["type"]) for one in found["post"]["parameters"]] == [
        ("attachment", "file"),
        ("data", "string"),
    ]
    assert found["post"]["consumes"] == ["multipart/form-data"]
    assert found["patch"]["parameters"] == [
        {"name": "body", "in": "body", "schema": {"$ref": "#/definitions/Thing"}}
    ]
    assert found["patch"]["consumes"] == ["application/json", "application/merge-patch+json"]


def test_answers_that_are_no_json_say_what_they_are() -> None:
    text = {"200": {"description": "", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    found = to_swagger(document(**{"/x": {"get": operation(responses=text, security=[])}}))
    assert found["paths"]["/x"]["get"]["produces"] == ["text/plain"]
    assert found["paths"]["/x"]["get"]["security"] == []
