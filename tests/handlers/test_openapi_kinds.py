import pytest

from handlers.objects import LIST_METHODS, OBJECT_METHODS
from handlers.openapi_kinds import (
    failing,
    feed_operations,
    list_operations,
    object_operations,
    socket_operation,
)
from server.core.paths import ALL_KINDS


@pytest.mark.parametrize("name", list(ALL_KINDS))
def test_every_method_of_lists_and_objects_is_described(name: str) -> None:
    kind = ALL_KINDS[name]
    assert {*list_operations(kind), "OPTIONS"} == set(LIST_METHODS)
    assert {*object_operations(kind), "OPTIONS"} == set(OBJECT_METHODS)


def test_operations_have_the_names_and_tags_that_kinto_has() -> None:
    record = ALL_KINDS["record"]
    assert {m: one["operationId"] for m, one in list_operations(record).items()} == {
        "GET": "get_records",
        "HEAD": "head_records",
        "POST": "create_record",
        "DELETE": "delete_records",
    }
    assert object_operations(record)["PUT"]["operationId"] == "update_record"
    assert object_operations(record)["PUT"]["tags"] == ["Records"]
    assert list_operations(ALL_KINDS["api_key"])["GET"]["tags"] == ["API keys"]


def test_what_is_read_may_be_known_already_and_may_be_streamed() -> None:
    reading = object_operations(ALL_KINDS["bucket"])["GET"]["responses"]
    assert "304" in reading
    assert set(reading["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "304" not in object_operations(ALL_KINDS["bucket"])["PUT"]["responses"]
    assert set(feed_operations()) == {"GET", "HEAD"}
    assert "101" in socket_operation()["responses"]


def test_refusals_depend_on_what_is_asked() -> None:
    assert {"401", "403", "304"} <= set(failing("GET"))
    assert "304" not in failing("GET", is_stored=False)
    assert not {"401", "403"} & set(failing("GET", is_stored=False, is_open=True))
    assert {"413", "415"} <= set(failing("PUT"))
