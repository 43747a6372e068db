from typing import Any

import pytest

from server.core.schema_references import BadReference, References

SCHEMA: dict[str, Any] = {
    "a/b": {"c~d": {"title": "escaped"}},
    "list": [1, {"title": "second"}],
    "definitions": {
        "x": {"$anchor": "name", "title": "anchored"},
        "é": {"title": "encoded"},
        "y": {"$id": "#other", "title": "with an id"},
        "z": {"$dynamicAnchor": "dynamic", "title": "dynamic"},
    },
    "title": "whole",
    "properties": {"a": {"$ref": "#"}},
}


@pytest.mark.parametrize(
    ("reference", "title"),
    [
        ("#", "whole"),
        ("#/a~1b/c~0d", "escaped"),
        ("#/list/1", "second"),
        ("#/definitions/%C3%A9", "encoded"),
        ("#name", "anchored"),
        ("#other", "with an id"),
        ("#dynamic", "dynamic"),
    ],
)
def test_reference_within_the_schema_is_followed(reference: str, title: str) -> None:
    assert References(SCHEMA).follow(reference)["title"] == title


@pytest.mark.parametrize(
    "reference",
    ["other.json", "http://example.com/#", "#/none", "#/list/2", "#/list/01", "#/title", "#none"],
)
def test_reference_that_leads_elsewhere_or_nowhere_is_refused(reference: str) -> None:
    with pytest.raises(BadReference):
        References(SCHEMA).follow(reference)


def test_nothing_can_be_referred_to_where_parts_have_addresses_of_their_own() -> None:
    parts = {"properties": {"a": {"$id": "/properties/a", "type": "string"}}}
    References(parts)
    References({"$id": "http://example.com/whole", "items": {"$ref": "#"}})
    with pytest.raises(BadReference):
        References({**parts, "items": {"$ref": "#"}})
