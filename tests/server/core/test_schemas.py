import time
from typing import Any

import pytest

from server.core.errors import InvalidParameters
from server.core.json_text import dump_json, parse_json
from server.core.permissions import Rules
from server.core.schemas import (
    MAX_BYTES,
    SCHEMA_MAX_BYTES,
    BadSchema,
    Schema,
    Schemas,
    check_schema,
)
from tests.server.core.worlds import NOW, RULES, World, error_of

BUCKET = "/buckets/b"
COLLECTION = "/buckets/b/collections/c"
RECORD = "/buckets/b/collections/c/records/r"
OTHER = "/buckets/b/collections/c/records/s"
GROUP = "/buckets/b/groups/g"

TITLE = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}


def make_world(**schemas: Any) -> World:
    """Alice's bucket and collection; ``schema`` is the collection's, others the bucket's."""
    world = World(Rules(RULES.grants, schemas=Schemas()))
    own = schemas.pop("schema", None)
    world.put(BUCKET, {"data": {name.replace("_", ":"): one for name, one in schemas.items()}})
    world.put(COLLECTION, {"data": {} if own is None else {"schema": own}})
    world.now = NOW + 100
    return world


def problem_of(world: World, uri: str, data: Any) -> tuple[str, str]:
    """Name and description of the first thing that is wrong with a PUT."""
    error = error_of(lambda: world.put(uri, {"data": data}))
    assert isinstance(error, InvalidParameters)
    return error.problems[0].name, error.problems[0].description


def find(schema: Any, data: Any, kind: str = "record") -> Any:
    return Schema(schema, kind).find_problem(data, dump_json(data))


# What is stored


def test_valid_record_says_by_which_schema_it_was_checked() -> None:
    world = make_world(schema=TITLE)
    version = world.get(COLLECTION)["last_modified"]  # type: ignore[index]
    made = world.put(RECORD, {"data": {"title": "a", "schema": 5}})
    assert made.object.data["schema"] == version
    assert parse_json(made.object.json) == made.object.data
    patched = world.patch(RECORD, {"data": {"title": "b", "schema": 7}})
    assert patched.object.data["schema"] == version


def test_record_that_is_not_valid_is_refused_however_it_is_written() -> None:
    world = make_world(schema=TITLE)
    world.put(RECORD, {"data": {"title": "a"}})
    for write in (world.put, world.patch):
        error = error_of(lambda write=write: write(RECORD, {"data": {"title": 1}}))  # type: ignore[misc]
        assert error.status == 400
    assert error_of(lambda: world.post(OTHER, {"data": {"id": "s"}})).status == 400
    assert error_of(lambda: world.put(OTHER)).status == 400
    assert world.get(RECORD)["title"] == "a"  # type: ignore[index]
    assert world.get(OTHER) is None


def test_change_of_permissions_alone_does_not_ask_whether_the_data_are_valid() -> None:
    world = make_world()
    world.put(RECORD, {"data": {"old": 1}})
    world.patch(COLLECTION, {"data": {"schema": TITLE}})
    shared = world.patch(RECORD, {"permissions": {"read": ["bob"]}})
    assert "schema" not in shared.object.data
    world.put(RECORD, {"permissions": {"read": ["bob"]}})
    assert error_of(lambda: world.patch(RECORD, {"data": {"x": 1}})).status == 400


def test_schemas_of_the_bucket_are_about_all_of_a_kind_in_it_and_set_no_field() -> None:
    closed = {"properties": {"a": True, "members": True}, "additionalProperties": False}
    world = make_world(record_schema=closed, group_schema=closed)
    assert "schema" not in world.put(RECORD, {"data": {"a": 1}}).object.data
    assert problem_of(world, RECORD, {"b": 1})[0] == "additionalProperties"
    world.put(GROUP, {"data": {"members": ["x"]}})
    assert problem_of(world, GROUP, {"b": 1})[0] == "additionalProperties"
    world.patch(BUCKET, {"data": {"collection:schema": TITLE}})
    assert problem_of(world, "/buckets/b/collections/d", {})[0] == "title"
    assert error_of(lambda: world.patch(COLLECTION, {"data": {"x": 1}})).status == 400


def test_record_has_to_be_valid_under_both_schemas() -> None:
    world = make_world(schema=TITLE, record_schema={"required": ["author"]})
    assert problem_of(world, RECORD, {"author": "x"})[0] == "title"
    assert problem_of(world, RECORD, {"title": "x"})[0] == "author"
    world.put(RECORD, {"data": {"title": "x", "author": "y"}})


def test_nothing_is_checked_where_the_setting_is_off() -> None:
    world = World()
    world.put(BUCKET)
    world.put(COLLECTION, {"data": {"schema": TITLE}})
    assert world.put(RECORD, {"data": {"schema": 1}}).object.data["schema"] == 1


def test_record_is_checked_by_the_schema_as_it_is_by_then() -> None:
    world = make_world(schema=TITLE)
    world.patch(COLLECTION, {"data": {"schema": {"required": ["other"]}}})
    assert problem_of(world, RECORD, {"title": "x"})[0] == "other"
    world.patch(COLLECTION, {"data": {"schema": {}}})
    stamped = world.put(RECORD, {"data": {"x": 1}}).object.data["schema"]
    assert stamped == world.get(COLLECTION)["last_modified"]  # type: ignore[index]


def test_schema_that_was_stored_unchecked_refuses_by_its_name() -> None:
    schemas = Schemas()
    world = make_world()
    world.rules = Rules(RULES.grants, schemas=schemas)
    stored = world.objects[COLLECTION]
    assert stored is not None
    bad = b'{"id":"c","last_modified":1,"schema":{"$ref":"http://example.com/"}}'
    world.objects[COLLECTION] = type(stored)(
        stored.uri, 1, stored.position, bad, acl=stored.acl, clocks=stored.clocks
    )
    assert problem_of(world, RECORD, {})[0] == "schema"


def test_only_so_many_holders_schemas_are_remembered() -> None:
    world = make_world()
    schemas = Schemas(size=2)
    world.rules = Rules(RULES.grants, schemas=schemas)
    for n in range(5):
        world.put(f"{BUCKET}/collections/c{n}", {"data": {"schema": TITLE}})
        world.put(f"{BUCKET}/collections/c{n}/records/r", {"data": {"title": "x"}})
    assert len(schemas._known) == 2


# What is left out


def test_what_the_server_assigns_is_neither_seen_nor_required() -> None:
    schema = {
        "required": ["id", "last_modified", "schema", "title"],
        "properties": {"title": True},
        "additionalProperties": False,
    }
    assert find(schema, {"id": "x", "last_modified": 1, "schema": 2, "title": 3}) is None
    assert find(schema, {"id": "x"}).name == "title"
    assert find({"required": ["id"]}, {}) is None


def test_id_is_seen_where_the_schema_names_it() -> None:
    schema = {"properties": {"id": {"pattern": "^a"}}, "required": ["id"]}
    assert find(schema, {"id": "abc"}) is None
    assert find(schema, {"id": "xyz"}).name == "id"


def test_group_has_no_schema_field_of_its_own() -> None:
    assert find({"additionalProperties": False}, {"id": "g", "schema": 1}, "group") is not None


# What is told


@pytest.mark.parametrize(
    ("schema", "data", "name"),
    [
        ({"required": ["a", "b"]}, {"a": 1}, "b"),
        ({"additionalProperties": False}, {"x": 1}, "additionalProperties"),
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, "a"),
        (
            {"properties": {"a": {"items": {"properties": {"b": {"minimum": 3}}}}}},
            {"a": [{}, {"b": 1}]},
            "a.1.b",
        ),
        ({"properties": {"a": {"required": ["b"]}}}, {"a": {}}, "a.b"),
        ({"properties": {"a": {"additionalProperties": False}}}, {"a": {"b": 1}}, "a"),
        ({"minProperties": 1}, {}, "minProperties"),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}, "anyOf"),
    ],
)
def test_the_field_that_is_wrong_is_named(schema: Any, data: Any, name: str) -> None:
    assert find(schema, data).name == name


def test_what_is_told_is_short_whatever_is_wrong() -> None:
    assert len(find({"maxProperties": 0}, {"a": "x" * 1_000_000}).description) < 400
    many = {"anyOf": [{"required": [f"a{n}"]} for n in range(500)]}
    problem = find(many, {"a": "x" * 100_000})
    assert problem.description == "The object is not valid under the schema."


# What is a schema


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "Washmachine"}, "is not valid under any of the"),
        ({"properties": []}, "properties: [] is not of type"),
        ({"properties": {"a": 5}}, "properties.a: 5 is not of types"),
        ({"pattern": "("}, 'is not a "regex"'),
        ({"patternProperties": {"[": True}}, 'is not a "regex"'),
        ({"$schema": "http://example.com/mine"}, "no draft of JSON Schema"),
        ({"$schema": 7}, "no draft of JSON Schema"),
        ({"pattern": "(((a{100}){100}){100}){100}"}, "too large a one"),
        ({"allOf": [{"pattern": f"a{n}"} for n in range(300)]}, "too many"),
        ({"title": "x" * SCHEMA_MAX_BYTES}, "at most"),
        ({"const": parse_json("1" * 5000)}, "too many digits"),
    ],
)
def test_what_is_no_schema_is_told_where_it_is_not(schema: Any, words: str) -> None:
    problem = check_schema(schema, "record:schema")
    assert problem is not None
    assert problem.name == "data.record:schema"
    assert words in problem.description
    assert len(problem.description) < 400


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"definitions": {"unused": {"$ref": "other.json"}}},
        {"$ref": "#/definitions/none"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {
            "definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"$ref": "#/definitions/a"}},
            "properties": {"x": {"$ref": "#/definitions/a"}},
        },
    ],
)
def test_reference_that_leads_elsewhere_nowhere_or_in_a_circle_is_refused(schema: Any) -> None:
    problem = check_schema(schema, "schema")
    assert problem is not None
    assert problem.name == "schema"


def test_schema_that_describes_a_tree_may_refer_to_itself() -> None:
    tree = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["name"],
    }
    assert find(tree, {"name": "a", "children": [{"name": "b", "children": []}]}) is None
    assert find(tree, {"name": "a", "children": [{}]}).name == "children.0.name"


@pytest.mark.parametrize(
    ("draft", "schema"),
    [
        ("http://json-schema.org/draft-04/schema#", {"minimum": 5, "exclusiveMinimum": True}),
        ("http://json-schema.org/draft-06/schema#", {"exclusiveMinimum": 5}),
        ("http://json-schema.org/schema#", {"exclusiveMinimum": 5}),
        ("https://json-schema.org/draft-07/schema", {"if": True, "then": {"minimum": 6}}),
        (
            "https://json-schema.org/draft/2019-09/schema",
            {"$defs": {"a": {"minimum": 6}}, "$ref": "#/$defs/a"},
        ),
        ("https://json-schema.org/draft/2020-12/schema", {"$dynamicAnchor": "x", "minimum": 6}),
    ],
)
def test_draft_that_the_schema_names_is_honoured(draft: str, schema: Any) -> None:
    # References are of the whole schema.
    defs = {name: schema.pop(name) for name in ("$defs",) if name in schema}
    whole = {"$schema": draft, "properties": {"n": schema}, **defs}
    assert find(whole, {"n": 5}).name == "n"
    assert find(whole, {"n": 7}) is None


def test_formats_are_told_to_people_and_not_checked() -> None:
    assert find({"properties": {"a": {"format": "email"}}}, {"a": "none"}) is None


# What is hard


def test_numbers_of_any_size_are_numbers() -> None:
    schema = {"properties": {"n": {"type": "integer", "minimum": 5}}}
    assert find(schema, {"n": 10**30}) is None
    assert find(schema, {"n": -(10**30)}).name == "n"
    assert find(schema, parse_json('{"n": ' + "1" * 5000 + "}")) is None
    problem = find(schema, parse_json('{"n": -' + "1" * 5000 + "}"))
    assert problem is not None
    assert find(
        {"properties": {"n": {"type": "string"}}}, parse_json('{"n": [' + "1" * 5000 + "]}")
    )


def test_what_is_nested_as_deep_as_may_be_is_checked() -> None:
    deep: Any = 1
    for _ in range(197):
        deep = [deep]
    every = {"items": {"$ref": "#"}, "additionalProperties": {"$ref": "#"}, "not": {"const": 2}}
    assert find(every, {"a": deep}) is None
    assert find({**every, "not": {"const": 1}}, {"a": deep}) is not None


NASTY: dict[str, tuple[Any, Any]] = {
    "nested repetition": (
        {"properties": {"a": {"pattern": "^(a+)+$"}}},
        {"a": "a" * 100_000 + "b"},
    ),
    "many states": (
        {"properties": {"a": {"pattern": "(a|b)*a(a|b){400}c"}}},
        {"a": "ab" * 2_000_000},
    ),
    "look-around": ({"properties": {"a": {"pattern": "(?=.*c)(?=.*d)x"}}}, {"a": "ab" * 1_000_000}),
    "back-reference": ({"properties": {"a": {"pattern": "(a*)*\\1b"}}}, {"a": "a" * 1_000_000}),
    "doubling": (
        {
            "definitions": {
                **{
                    f"a{n}": {"allOf": [{"$ref": f"#/definitions/a{n + 1}"}] * 2} for n in range(40)
                },
                "a40": True,
            },
            "properties": {"a": {"$ref": "#/definitions/a0"}},
        },
        {"a": 1},
    ),
    "many alternatives": (
        {"properties": {"a": {"items": {"anyOf": [{"const": n} for n in range(5000)]}}}},
        {"a": [4999] * 1_000_000},
    ),
    "many contained": (
        {"properties": {"a": {"allOf": [{"contains": {"const": n}} for n in range(3000)]}}},
        {"a": list(range(500_000))},
    ),
    "long names": ({"patternProperties": {"(a|b)*a(a|b){400}c": True}}, {"ab" * 1_000_000: 1}),
    "deep doubling": (
        {
            "properties": {
                "a": {"oneOf": [{"allOf": [{"$ref": "#"}, {"required": ["z"]}]}, {"$ref": "#"}]}
            }
        },
        parse_json('{"a":' * 190 + "1" + "}" * 190),
    ),
    "many digits": (
        {"properties": {"a": {"items": {"minimum": 1}}}},
        {"a": [10**4000] * 900},
    ),
    "remainders": (
        {"properties": {"a": {"items": {"multipleOf": 1e-300}}}},
        {"a": [1e300] * 50_000},
    ),
    "content": (
        {"properties": {"a": {"allOf": [{"contentEncoding": "base64"}] * 1000}}},
        {"a": "YWFh" * 1_000_000},
    ),
    "digits": ({"properties": {"a": {"allOf": [{"multipleOf": 0.1}] * 3000}}}, {"a": 10**4299}),
    "unique": (
        {"properties": {"a": {"allOf": [{"uniqueItems": True}] * 3000}}},
        {"a": [[n] for n in range(100_000)]},
    ),
    "unevaluated": (
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "properties": {
                "a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}], "unevaluatedProperties": False}
            },
        },
        parse_json('{"a":' * 190 + "1" + "}" * 190),
    ),
}


@pytest.mark.parametrize("name", NASTY)
def test_schema_that_asks_for_too_much_work_is_no_way_to_stop_the_server(name: str) -> None:
    schema, data = NASTY[name]
    text = dump_json(data)
    start = time.process_time()
    try:
        compiled = Schema(schema, "record")
    except BadSchema:
        return
    compiled.find_problem(data, text)
    # Of the processor, on a busy machine too; without bounds, some take minutes.
    assert time.process_time() - start < 3


def test_schemas_whose_expressions_take_much_room_are_forgotten_sooner() -> None:
    world = make_world()
    schemas = Schemas()
    world.rules = Rules(RULES.grants, schemas=schemas)
    large = {"pattern": "^(.{0,700}){2}$"}
    for n in range(40):
        world.put(f"{BUCKET}/collections/c{n}", {"data": {"schema": large}})
        world.put(f"{BUCKET}/collections/c{n}/records/r", {"data": {"title": "x"}})
    assert 1 < len(schemas._known) < 40
    assert 0 < schemas._bytes <= MAX_BYTES
