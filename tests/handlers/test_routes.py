from typing import Any

import pytest

from handlers.plans import Plan
from handlers.routes import (
    Place,
    Route,
    Routes,
    list_template,
    object_template,
    parse_stored,
)
from server.core.paths import ALL_KINDS


def plan(*_: Any) -> Plan:
    return Plan()


def make(template: str) -> Route:
    return Route(template, ("GET", "OPTIONS"), plan)


RECORD = "/buckets/{bucket_id}/collections/{collection_id}/records/{record_id}"


@pytest.mark.parametrize(
    ("template", "path", "own"),
    [
        ("/buckets/{bucket_id}/history", "/buckets/b/history", "/buckets/b"),
        (
            f"{RECORD}/revisions/{{cursor}}",
            "/buckets/b/collections/c/records/r/revisions/7-1",
            "/buckets/b/collections/c/records/r",
        ),
        ("/accounts/{id}/reset-password", "/accounts/a@b.c/reset-password", "/accounts/a@b.c"),
        ("/openid/{provider}/login", "/openid/google/login", ""),
        ("/__api__", "/__api__", ""),
    ],
)
def test_route_knows_which_part_of_a_path_is_of_what_is_stored(
    template: str, path: str, own: str
) -> None:
    assert make(template).stored(path)[0] == own
    assert "".join(make(template).stored(path)) == path


def test_names_are_what_stands_in_their_place() -> None:
    routes = Routes([make("/snapshots/{collection}@{time}"), make("/plain")])
    found = routes.find("/snapshots/c@7")
    assert found is not None
    assert found[1] == {"collection": "c", "time": "7"}
    assert routes.find("/snapshots/a/b@7") is None
    assert routes.find("/plainer") is None
    plain = routes.find("/plain")
    assert plain is not None
    assert plain == (routes.fixed("/plain"), {})
    assert [route.template for route in routes.all] == ["/plain", "/snapshots/{collection}@{time}"]


def test_place_has_the_object_that_the_path_begins_with() -> None:
    path = parse_stored("/buckets/b")
    assert Place({}, path).object is path
    assert parse_stored("/nowhere") is None


def test_templates_of_a_kind_name_all_that_its_paths_have() -> None:
    assert list_template(ALL_KINDS["bucket"]) == "/buckets"
    assert object_template(ALL_KINDS["record"]) == RECORD
    assert object_template(ALL_KINDS["api_key"]) == "/api-keys/{api_key_id}"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/files/a", "a"), ("/files/a/b/c.txt", "a/b/c.txt"), ("/files/", None), ("/files", None)],
)
def test_last_name_of_a_route_may_stand_for_all_that_is_left(
    path: str, expected: str | None
) -> None:
    route = Route("/files/{path}", ("GET",), plan, has_rest=True)
    found = Routes([route]).find(path)
    assert (found[1]["path"] if found else None) == expected
