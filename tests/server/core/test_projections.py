from typing import Any

import pytest

from server.core.projections import project

DATA = {
    "id": "r",
    "last_modified": 5,
    "a": {"b": {"c": 1, "d": 2}, "e": 3, "o": {}},
    "a.e": 4,
    "t": "text",
    "l": [{"x": 1}],
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["t"], {"t": "text"}),
        (["zz"], {}),
        (["id", "last_modified"], {}),
        (["a.b"], {"a": {"b": {"c": 1, "d": 2}}}),
        (["a.b.c"], {"a": {"b": {"c": 1}}}),
        (["a.b.c", "a.b.d"], {"a": {"b": {"c": 1, "d": 2}}}),
        (["a.b.c", "a.b"], {"a": {"b": {"c": 1, "d": 2}}}),
        (["a.b", "a.b.c"], {"a": {"b": {"c": 1, "d": 2}}}),
        (["a", "a.b.c"], {"a": DATA["a"]}),
        (["a.e"], {"a.e": 4}),
        (["a.zz"], {"a": {}}),
        (["a.o.zz"], {"a": {"o": {}}}),
        (["t.x"], {"t": "text"}),
        (["l.x"], {"l": [{"x": 1}]}),
    ],
)
def test_fields_are_given_with_id_and_last_modified(
    fields: list[str], expected: dict[str, Any]
) -> None:
    assert project(DATA, fields) == expected | {"id": "r", "last_modified": 5}


def test_object_itself_is_not_changed_by_overlapping_fields() -> None:
    data = {"id": "r", "a": {"b": {"c": 1}, "d": 2}}
    assert project(data, ["a.b", "a.b.c", "a.d", "a", "a.b.c"]) == data
    assert data == {"id": "r", "a": {"b": {"c": 1}, "d": 2}}
