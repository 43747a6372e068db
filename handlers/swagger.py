"""From OpenAPI 3.1 to Swagger 2.0, in the shape that Kinto's own description has. Pure.

What 2.0 cannot say is left out: alternatives, and filters by any name.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

Part = dict[str, Any]

_METHODS = ("get", "head", "post", "put", "patch", "delete")
_UTILITIES = ("Operation", "Hello", "Documentation")
_UNSPEAKABLE = frozenset({"writeOnly", "examples", "anyOf", "oneOf"})
_LAST_NAME = re.compile(r"/([a-z-]+)/\{(\w+)\}$")


def to_swagger(document: Mapping[str, Any]) -> Part:
    """The same API in Swagger 2.0.

    Args:
        document: OpenAPI 3.1, with one absolute URL in ``servers``.
    """
    root = urlsplit(document["servers"][0]["url"])
    components = document["components"]
    info = document["info"]
    schemes = components["securitySchemes"]
    tags = dict.fromkeys(_tag(one["name"]) for one in document["tags"])
    return {
        "swagger": "2.0",
        "info": {name: info[name] for name in ("title", "version", "description")},
        "host": root.netloc,
        "schemes": [root.scheme],
        "basePath": root.path,
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "tags": [{"name": name} for name in tags],
        "securityDefinitions": {name: _scheme(one) for name, one in schemes.items()},
        "security": [one for one in document["security"] if one],
        "paths": dict(_path(name, one, components) for name, one in document["paths"].items()),
        "definitions": {name: _schema(one) for name, one in components["schemas"].items()},
    }


def _tag(name: str) -> str:
    return "Utilities" if name in _UTILITIES else name


def _scheme(scheme: Mapping[str, Any]) -> Part:
    about = {"description": scheme["description"]} if "description" in scheme else {}
    if scheme.get("scheme") == "basic":
        return {"type": "basic", **about}
    return {"type": "apiKey", "in": "header", "name": "Authorization", **about}


def _schema(schema: Any) -> Any:
    """A schema, or a part of one, in the words that 2.0 knows."""
    if isinstance(schema, list):
        return [_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept: Part = {}
    for name, value in schema.items():
        if name in _UNSPEAKABLE:
            continue
        if name == "$ref":
            kept[name] = value.replace("#/components/schemas/", "#/definitions/")
        elif name == "type" and isinstance(value, list):
            kept["type"] = next(one for one in value if one != "null")
            kept["x-nullable"] = "null" in value
        elif name == "properties":
            kept[name] = {key: _schema(one) for key, one in value.items()}
        else:
            kept[name] = _schema(value)
    return kept


def _path(template: str, item: Mapping[str, Any], components: Part) -> tuple[str, Part]:
    renamed = _own_name(template)
    parameters = [_parameter(one, renamed) for one in item["parameters"]]
    shown: Part = {"parameters": parameters} if parameters else {}
    for method in _METHODS:
        if method in item:
            shown[method] = _operation(item[method], components)
    if renamed:
        template = f"{template[: template.rindex('{')]}{{id}}"
    return template, shown


def _own_name(template: str) -> str:
    """The name of an object's own id in the path of objects, which is ``id`` there."""
    match = _LAST_NAME.search(template)
    if match is None or not match[2].endswith("_id"):
        return ""
    return match[2] if match[1].replace("-", "_") == f"{match[2][:-3]}s" else ""


def _parameter(parameter: Mapping[str, Any], renamed: str = "") -> Part:
    kept = {name: parameter[name] for name in ("name", "in", "description") if name in parameter}
    if kept["name"] == renamed:
        kept["name"] = "id"
    if kept["in"] == "path":
        kept["required"] = True
    kept |= _schema(parameter["schema"])
    return kept


def _operation(operation: Mapping[str, Any], components: Part) -> Part:
    shown: Part = {name: operation[name] for name in ("operationId", "summary")}
    shown["tags"] = [_tag(one) for one in operation["tags"]]
    found = [components["parameters"][_name(one)] for one in operation["parameters"]]
    shown["parameters"] = [
        _parameter(one) for one in found if one["schema"].get("type") != "object"
    ]
    shown["parameters"] += _body(operation.get("requestBody"), shown)
    if operation.get("security") == []:
        shown["security"] = []
    types = dict.fromkeys(_types(operation["responses"].values(), components))
    if list(types) not in ([], ["application/json"]):
        shown["produces"] = list(types)
    shown["responses"] = {
        _status(status): _response(one, components)
        for status, one in operation["responses"].items()
    }
    return shown


def _status(status: str) -> str:
    return "200" if status == "2XX" else status


def _name(reference: Mapping[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _body(body: Mapping[str, Any] | None, operation: Part) -> list[Part]:
    if body is None:
        return []
    content = body["content"]
    form = content.get("multipart/form-data")
    if form is not None:
        operation["consumes"] = ["multipart/form-data"]
        return _fields(form["schema"])
    schema = _schema(content["application/json"]["schema"])
    if list(content) != ["application/json"]:
        # Only bodies of one shape can be told.
        kinds = [one for one in content if one != "application/json-patch+json"]
        operation["consumes"] = kinds
    return [{"name": "body", "in": "body", "schema": schema}]


def _fields(schema: Mapping[str, Any]) -> list[Part]:
    fields = []
    for name, one in schema["properties"].items():
        kind = "file" if one.get("format") == "binary" else "string"
        required = name in schema["required"]
        fields.append({"name": name, "in": "formData", "type": kind, "required": required})
    return fields


def _types(responses: Iterable[Mapping[str, Any]], components: Part) -> Iterable[str]:
    for one in responses:
        yield from _resolved(one, components).get("content", {})


def _resolved(response: Mapping[str, Any], components: Part) -> Mapping[str, Any]:
    found: Mapping[str, Any] = response
    if "$ref" in response:
        found = components["responses"][_name({"$ref": response["$ref"]})]
    return found


def _response(response: Mapping[str, Any], components: Part) -> Part:
    found = _resolved(response, components)
    shown: Part = {"description": found["description"]}
    json = found.get("content", {}).get("application/json")
    if json is not None:
        shown["schema"] = _schema(json["schema"])
    headers = found.get("headers", {})
    if headers:
        shown["headers"] = {
            name: {
                "description": components["headers"][name]["description"],
                **_schema(components["headers"][name]["schema"]),
            }
            for name in headers
        }
    return shown
