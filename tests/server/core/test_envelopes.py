from typing import Any

import pytest

from server.core.envelopes import Envelope, parse_envelope, spell_value
from server.core.errors import InvalidParameters
from server.core.json_text import HugeInteger

NAMES = ("write", "read", "record:create")
NO_MAPPING = "is not a mapping type: Does not implement dict-like functionality."


@pytest.mark.parametrize(
    ("body", "envelope"),
    [
        ({}, Envelope()),
        ({"data": {"a": None}}, Envelope({"a": None})),
        ({"permissions": {}}, Envelope(None, {})),
        (
            {
                "data": {},
                "permissions": {"read": ["b", "a", "b"], "record:create": [], "write": None},
            },
            Envelope({}, {"read": ("b", "a"), "record:create": (), "write": None}),
        ),
    ],
    ids=["empty", "data", "permissions", "both"],
)
def test_a_well_formed_body_is_read(body: Any, envelope: Envelope) -> None:
    assert parse_envelope(body, NAMES) == envelope


@pytest.mark.parametrize(
    ("body", "name", "description"),
    [
        (None, "", "Should be a JSON object or an array"),
        ("a", "", "Should be a JSON object or an array"),
        ([], "", f'"[]" {NO_MAPPING}'),
        ({"x": 1, "data": {}}, "", "Unrecognized keys in mapping: \"{'x': 1}\""),
        ({"data": None}, "data", f'"None" {NO_MAPPING}'),
        ({"data": [1]}, "data", f'"[1]" {NO_MAPPING}'),
        ({"data": "x"}, "data", f'"x" {NO_MAPPING}'),
        ({"permissions": None}, "permissions", f'"None" {NO_MAPPING}'),
        ({"permissions": []}, "permissions", f'"[]" {NO_MAPPING}'),
        (
            {"permissions": {"foo": ["a"]}},
            "permissions",
            '"foo" is not one of read, write, record:create',
        ),
        ({"permissions": {"read": "z"}}, "permissions.read", '"z" is not iterable'),
        ({"permissions": {"read": {}}}, "permissions.read", '"{}" is not iterable'),
        ({"permissions": {"read": ["a", 1]}}, "permissions.read.1", "1 is not a string"),
        ({"permissions": {"read": [""]}}, "permissions.read.0", "Required"),
        ({"permissions": {"read": [None]}}, "permissions.read.0", "Required"),
    ],
)
def test_a_malformed_body_is_refused_in_its_place(body: Any, name: str, description: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_envelope(body, NAMES)
    (problem,) = caught.value.problems
    assert (problem.location, problem.name, problem.description) == ("body", name, description)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1000,
        ["x" * 1000] * 1000,
        {str(n): {"y": "x" * 1000} for n in range(1000)},
        10**4000,
        HugeInteger("1" * 100_000),
    ],
    ids=["string", "array", "object", "integer", "huge integer"],
)
def test_a_large_value_is_short_in_a_message(value: Any) -> None:
    assert len(spell_value(value)) < 500
