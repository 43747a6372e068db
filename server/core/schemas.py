"""JSON Schema: which objects a collection's or bucket's owner lets be stored.

A collection's ``schema`` is about its records; a bucket's ``record:schema``,
``collection:schema`` and ``group:schema`` about all of a kind in it. All that apply count.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationError, ValidationErrorKind, Validator

from server.core.errors import Detail, InvalidParameters, invalid
from server.core.json_text import HugeInteger, dump_json
from server.core.objects import StoredObject
from server.core.paths import ObjectPath
from server.core.schema_costs import Graph, TooCostly
from server.core.schema_patterns import BadPattern, fancy_options, linear_options
from server.core.schema_references import BadReference

SCHEMA_MAX_BYTES = 128 << 10
"""Of a schema's text."""

FIELD = "schema"
"""Of a collection, its schema; of its records, the ``last_modified`` of the collection by
whose schema they were checked."""

BUCKET_FIELDS = ("record:schema", "collection:schema", "group:schema")

_ASSIGNED = {
    "record": ("id", "last_modified", FIELD, "__permissions__"),
    "collection": ("id", "last_modified", "__permissions__"),
    "group": ("id", "last_modified", "__permissions__"),
}

_DRAFTS: Mapping[str, type[Validator]] = {
    # The first, without a number, stands for none in particular.
    "json-schema.org/schema": jsonschema_rs.Draft7Validator,
    "json-schema.org/draft-04/schema": jsonschema_rs.Draft4Validator,
    "json-schema.org/draft-06/schema": jsonschema_rs.Draft6Validator,
    "json-schema.org/draft-07/schema": jsonschema_rs.Draft7Validator,
    "json-schema.org/draft/2019-09/schema": jsonschema_rs.Draft201909Validator,
    "json-schema.org/draft/2020-12/schema": jsonschema_rs.Draft202012Validator,
}

_META: Mapping[type[Validator], str] = {
    validator: f"http{'s' if '20' in name else ''}://{name}" for name, validator in _DRAFTS.items()
}

_TOLD_MAX_BYTES = 2 << 20
"""Of the copies of a value that the validator makes to tell what is wrong with it."""

_WORDS_MAX = 300
_BIG = re.compile(rb"[0-9]{19}")
_HUGE = re.compile(rb"[0-9]{4301}")
_DEFAULT_DRAFT = "json-schema.org/draft-07/schema"


class BadSchema(ValueError):
    """It is no schema that can be used; the message says why.

    Attributes:
        is_reference: whether it is because of a reference in it.
    """

    def __init__(self, words: str, *, is_reference: bool = False) -> None:
        super().__init__(_shorten(words))
        self.is_reference = is_reference


class Schema:
    """A schema, compiled.

    Attributes:
        bytes: that its regular expressions take, at most.
    """

    def __init__(self, schema: Mapping[str, Any], kind: str) -> None:
        """Compile it.

        Args:
            schema: as it is stored.
            kind: of the objects that it is about.

        Raises:
            BadSchema: If it is none, or none that can be used here.
        """
        properties = schema.get("properties")
        named = properties if isinstance(properties, dict) else {}
        self._ignored = {name for name in _ASSIGNED[kind] if name != "id" or name not in named}
        if len(dump_json(schema)) > SCHEMA_MAX_BYTES:
            raise BadSchema(f"a schema may have at most {SCHEMA_MAX_BYTES} bytes")
        self._validator, self._graph = _compile(self._without_ignored(schema))
        self.bytes = self._graph.bytes

    def _without_ignored(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The schema with nothing required that it does not get to see."""
        required = schema.get("required")
        if not isinstance(required, list):
            return dict(schema)
        left = [one for one in required if one not in self._ignored]
        rest = {name: value for name, value in schema.items() if name != "required"}
        return {**rest, "required": left} if left else rest

    def find_problem(self, data: Mapping[str, Any], text: bytes) -> Detail | None:
        """What is wrong with an object; None if nothing is.

        Args:
            data: of the object.
            text: its JSON text, or about that.
        """
        seen = {name: value for name, value in data.items() if name not in self._ignored}
        try:
            cost = self._graph.cost(seen, len(text), has_big=_BIG.search(text) is not None)
        except TooCostly:
            words = "The schema asks for more work on this object than there may be."
            return Detail("body", FIELD, words)
        instance = _without_huge(seen) if _HUGE.search(text) else seen
        if self._validator.is_valid(instance):
            return None
        if (1 + cost.branches) * len(text) > _TOLD_MAX_BYTES:
            # To tell more, the validator would copy the object again and again.
            return Detail("body", "data", "The object is not valid under the schema.")
        return _explain(self._validator, instance)


def _compile(schema: dict[str, Any]) -> tuple[Validator, Graph]:
    draft = schema.pop("$schema", _DEFAULT_DRAFT)
    name = re.sub(r"^https?://|#$", "", draft) if isinstance(draft, str) else ""
    validator = _DRAFTS.get(name)
    if validator is None:
        raise BadSchema(f"{draft!s:.100} is no draft of JSON Schema that is known here")
    if _HUGE.search(dump_json(schema)):
        raise BadSchema("a number in it has too many digits")
    try:
        # First by the draft's own schema: only what is well formed can be looked through.
        jsonschema_rs.meta.validate({**schema, "$schema": _META[validator]})
        graph = Graph(schema)
        options = fancy_options() if graph.is_fancy else linear_options()
        made = validator(schema, validate_formats=False, offline=True, pattern_options=options)
    except BadReference as error:
        raise BadSchema(str(error), is_reference=True) from None
    except BadPattern as error:
        raise BadSchema(str(error)) from None
    except ValidationError as error:
        raise _reject(error) from None
    return made, graph


def _reject(error: ValidationError) -> BadSchema:
    if isinstance(error.kind, ValidationErrorKind.Referencing):
        return BadSchema("a $ref in it cannot be followed", is_reference=True)
    place = ".".join(str(step) for step in error.instance_path)
    return BadSchema(f"{place}: {error.message}" if place else error.message)


def check_schema(schema: Mapping[str, Any], name: str) -> Detail | None:
    """What is wrong with a schema that is to be stored; None if nothing is.

    Args:
        schema: as it was sent.
        name: of the field that holds it: ``schema``, ``record:schema`` and so on.
    """
    kind = "record" if name == FIELD else name.removesuffix(":schema")
    try:
        Schema(schema, kind)
    except BadSchema as error:
        return Detail("body", FIELD if error.is_reference else f"data.{name}", str(error))
    return None


def _explain(validator: Validator, instance: Mapping[str, Any]) -> Detail:
    """The first thing that is wrong with what is not valid."""
    try:
        validator.validate(instance)
    except ValidationError as error:
        return Detail("body", _field_of(error), _shorten(error.message))
    except ValueError:
        # A number of so many digits that it cannot be spelled.
        pass
    return Detail("body", "data", "The object is not valid under the schema.")


def _field_of(error: ValidationError) -> str:
    """The dotted name of the field that is wrong; at the top, else of the keyword."""
    path = [str(step) for step in error.instance_path]
    if isinstance(error.kind, ValidationErrorKind.Required):
        path.append(error.kind.property)
    return ".".join(path) or str(error.schema_path[-1])


def _shorten(words: str) -> str:
    return words if len(words) <= _WORDS_MAX else f"{words[:_WORDS_MAX]}..."


def _without_huge(value: Any) -> Any:
    """The value with numbers that the validator knows."""
    if isinstance(value, dict):
        return {name: _without_huge(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_huge(one) for one in value]
    return value.decimal if isinstance(value, HugeInteger) else value


MAX_BYTES = 64 << 20
"""Of the regular expressions of schemas that are remembered."""


class Schemas:
    """The schemas in use, compiled once for each text of the object that has them."""

    def __init__(self, size: int = 64) -> None:
        """Begin.

        Args:
            size: of how many objects they are remembered.
        """
        self._size = size
        self._bytes = 0
        self._known: OrderedDict[bytes, dict[str, Schema | BadSchema]] = OrderedDict()

    def check(
        self,
        path: ObjectPath,
        data: Mapping[str, Any],
        text: bytes,
        parents: Mapping[str, StoredObject],
    ) -> Mapping[str, Any]:
        """Check what is to be stored.

        Args:
            path: of the object, which lies in a bucket.
            data: that it shall hold, without ``id`` and ``last_modified``.
            text: the JSON text of that.
            parents: the stored objects that it lies in, by kind.

        Returns:
            The data; those of a record that was checked by the schema of its collection
            say so.

        Raises:
            InvalidParameters: If it is not valid under all schemas that apply.
        """
        whole = {**data, "id": path.id}
        stamp = None
        if path.kind.name == "record":
            collection = parents["collection"]
            own = self._of(collection).get(FIELD)
            if own is not None:
                _apply(own, whole, text)
                # A database may have integers of a type of its own.
                stamp = int(collection.last_modified)
        common = self._of(parents["bucket"]).get(f"{path.kind.name}:schema")
        if common is not None:
            _apply(common, whole, text)
        return data if stamp is None else {**data, FIELD: stamp}

    def _of(self, holder: StoredObject) -> Mapping[str, Schema | BadSchema]:
        """The schemas that an object has, by field."""
        known = self._known.pop(holder.json, None)
        if known is None:
            known = dict(_compile_all(holder.data))
            self._bytes += _weigh(known)
        self._known[holder.json] = known
        while len(self._known) > self._size or (self._bytes > MAX_BYTES and len(self._known) > 1):
            _, forgotten = self._known.popitem(last=False)
            self._bytes -= _weigh(forgotten)
        return known


def _weigh(schemas: Mapping[str, Schema | BadSchema]) -> int:
    return sum(one.bytes for one in schemas.values() if isinstance(one, Schema))


def _compile_all(data: Mapping[str, Any]) -> Iterator[tuple[str, Schema | BadSchema]]:
    for name in (FIELD, *BUCKET_FIELDS):
        schema = data.get(name)
        if not isinstance(schema, dict):
            continue
        try:
            yield name, Schema(schema, "record" if name == FIELD else name.partition(":")[0])
        except BadSchema as error:
            # It was stored before it was looked at.
            yield name, error


def _apply(schema: Schema | BadSchema, data: Mapping[str, Any], text: bytes) -> None:
    if isinstance(schema, BadSchema):
        raise invalid("body", FIELD, str(schema))
    problem = schema.find_problem(data, text)
    if problem is not None:
        raise InvalidParameters([problem])
