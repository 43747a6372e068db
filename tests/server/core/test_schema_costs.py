from typing import Any

import pytest

from server.core.json_text import dump_json, parse_json
from server.core.schema_costs import STEPS_MAX, Graph, TooCostly
from server.core.schema_patterns import BadPattern
from server.core.schema_references import BadReference


def ns(schema: Any, value: Any) -> float:
    return Graph(schema).cost(value, len(dump_json(value))).ns


@pytest.mark.parametrize(
    ("schema", "cheap", "dear"),
    [
        ({"pattern": "a+b+"}, "a", "a" * 1000),
        ({"enum": [1]}, 1, None),
        ({"items": {"items": {"type": "integer"}}}, [[1]], [[1]] * 100),
        ({"items": {"type": "integer"}}, [1], [1] * 1000),
        ({"items": [{"pattern": "a+b+"}]}, [1], ["a" * 1000]),
        ({"additionalItems": {"pattern": "a+b+"}, "items": [True]}, ["a" * 99], [1, "a" * 99]),
        ({"properties": {"a": {"pattern": "a+b+"}}}, {"b": "a" * 1000}, {"a": "a" * 1000}),
        ({"patternProperties": {"a+b+": True}}, {"a": 1}, {"a" * 1000: 1}),
        ({"additionalProperties": {"pattern": "a+b+"}}, {"b": 1}, {"b": "a" * 1000}),
        ({"propertyNames": {"pattern": "a+b+"}}, {"b": 1}, {"b" * 1000: 1}),
        ({"uniqueItems": True}, [], list(range(100))),
        ({"maximum": 1}, 2**60, 2**1000),
        ({"maximum": 1}, 1, parse_json("1" * 5000)),
        ({"multipleOf": 0.1}, "1", 1.5),
        ({"items": {"multipleOf": 0.1}}, [1.5], [1e300]),
        ({"multipleOf": 1e-300}, "1", 1.5),
        ({"contentEncoding": "base64"}, "a", "a" * 1000),
        ({"dependencies": {"a": {"pattern": "a+b+"}}}, "a", "a" * 1000),
        ({"if": {"pattern": "a+b+"}}, "a", "a" * 1000),
        ({"contains": {"pattern": "a+b+"}}, ["a"], ["a" * 1000]),
        ({"prefixItems": [{"pattern": "a+b+"}]}, ["a"], ["a" * 1000]),
    ],
)
def test_what_is_looked_at_costs_more_the_more_it_is(schema: Any, cheap: Any, dear: Any) -> None:
    if dear is None:
        return_of_more = ns({"enum": list(range(1000))}, cheap)
        assert return_of_more > 10 * ns(schema, cheap)
    else:
        assert ns(schema, dear) > 2 * ns(schema, cheap)


def test_members_that_have_a_schema_of_their_own_do_not_fall_under_the_others() -> None:
    pattern = {"pattern": "(a|b)*a(a|b){200}c"}
    schema = {"properties": {"a": True}, "additionalProperties": pattern}
    text = "ab" * 500
    assert ns(schema, {"b": text}) > 100 * ns(schema, {"a": text})


def test_alternatives_are_counted_for_what_a_failure_has_to_tell() -> None:
    schema = {"items": {"anyOf": [True, True], "oneOf": [True]}, "contains": True}
    assert Graph(schema).cost([1, 2], 5).branches == 7


def test_what_unevaluated_members_ask_for_is_counted_twice() -> None:
    part = {"allOf": [{"pattern": "a+b+"}]}
    assert ns({**part, "unevaluatedProperties": False}, "a" * 100) > 1.9 * ns(part, "a" * 100)


def test_more_steps_than_there_may_be_are_too_costly() -> None:
    part = {"items": {"properties": {"a": True}}}
    assert ns(part, [{}] * (STEPS_MAX // 2)) > 0
    with pytest.raises(TooCostly):
        ns(part, [{}] * (STEPS_MAX + 1))
    doubling: Any = {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}
    with pytest.raises(TooCostly):
        ns(doubling, parse_json('{"a":' * 60 + "1" + "}" * 60))


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_part_that_comes_back_to_itself_on_one_value_is_refused(keyword: str) -> None:
    with pytest.raises(BadReference):
        Graph({keyword: [{"$ref": "#"}]})
    for other in ("not", "if", "else"):
        with pytest.raises(BadReference):
            Graph({other: {"$ref": "#"}})


def test_long_chain_of_references_is_followed_to_its_end() -> None:
    links = {f"a{n}": {"$ref": f"#/definitions/a{n + 1}"} for n in range(3000)}
    schema = {"definitions": {**links, "a3000": {"enum": [1]}}, "$ref": "#/definitions/a0"}
    assert ns(schema, 1) > 3000


def test_regular_expressions_may_be_only_so_many_and_so_large() -> None:
    Graph({"allOf": [{"pattern": "a"}] * 1000})
    with pytest.raises(BadPattern):
        Graph({"allOf": [{"pattern": f"a{n}"} for n in range(201)]})
    with pytest.raises(BadPattern):
        Graph({"allOf": [{"pattern": f"^.{{0,{1000 + n}}}$"} for n in range(20)]})


def test_big_integers_are_looked_at_one_by_one_where_there_may_be_some() -> None:
    graph = Graph({"items": {"minimum": 1}})
    value = [2**2000] * 100
    assert graph.cost(value, 60_000, has_big=True).ns > 100 * graph.cost(value, 60_000).ns


def test_expression_that_stands_in_many_places_is_measured_once() -> None:
    part = {"pattern": "(?=a)b"}
    graph = Graph({"properties": {name: dict(part) for name in "abc"}})
    assert graph.is_fancy
    assert graph.bytes == Graph(part).bytes
