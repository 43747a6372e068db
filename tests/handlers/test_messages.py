from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from handlers.batch import PartHeaders
from handlers.messages import (
    NO_VALUE,
    ApiRequest,
    caching_headers,
    list_body,
    not_modified_response,
    object_body,
    object_response,
    written_headers,
    written_response,
)
from server.core.errors import InvalidParameters, NotAcceptable, UnsupportedMediaType
from server.core.objects import StoredObject
from server.core.permissions import ANONYMOUS
from server.core.positions import make_position


def request(body: bytes = b"", value: Any = NO_VALUE, **headers: str) -> ApiRequest:
    fields = PartHeaders({name.replace("_", "-"): text for name, text in headers.items()})
    arguments = [("a", "1"), ("_token", "old"), ("a", "ü&")]
    root = "https://api.example/v1"
    return ApiRequest("GET", "/buckets", arguments, fields, body, ANONYMOUS, root, 0, value)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/html;q=1, */*;q=0.1"])
def test_client_that_takes_json_passes(accept: str) -> None:
    request(Accept=accept).check_acceptable()


@pytest.mark.parametrize("accept", ["text/html", "application/jsonp", ","])
def test_client_that_takes_no_json_does_not(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        request(Accept=accept).check_acceptable()


def test_type_of_a_body_is_json_unless_said_otherwise() -> None:
    assert request(b"{}").content_type() == "application/json"
    assert request(b"{}", Content_Type="Application/JSON; charset=x").content_type() == (
        "application/json"
    )


def test_type_of_a_body_that_is_not_read_is_refused_only_with_a_body() -> None:
    assert request(Content_Type="text/plain").content_type() == "application/json"
    for given in (request(b"x", Content_Type="text/plain"), request(value=1, Content_Type="x/y")):
        with pytest.raises(UnsupportedMediaType):
            given.content_type()


def test_body_that_was_parsed_before_is_not_parsed_again() -> None:
    parsed: dict[str, Any] = {"data": {}}
    assert request(b"", parsed).json() is parsed
    assert request().json() == {}
    with pytest.raises(InvalidParameters, match=r"^body: "):
        request(b"{").json()


def test_link_keeps_other_arguments_and_replaces_those_it_is_given() -> None:
    link = request().link(_token="new=")
    assert link == "https://api.example/v1/buckets?a=1&a=%C3%BC%26&_token=new%3D"


def test_what_may_be_kept_expires_then() -> None:
    headers = caching_headers(60)
    assert headers["Cache-Control"] == "max-age=60"
    assert parsedate_to_datetime(headers["Expires"]).tzinfo is not None


@pytest.mark.parametrize("seconds", [0, -1, -(10**30)])
def test_what_may_be_kept_for_no_time_is_not_to_be_kept(seconds: int) -> None:
    assert caching_headers(seconds) == {"Cache-Control": "no-cache, no-store, must-revalidate"}


def test_what_may_be_kept_for_ever_is_kept_as_long_as_dates_go() -> None:
    assert caching_headers(10**300)["Cache-Control"] == "max-age=1000000000"


def test_envelopes_hold_the_texts_as_they_are() -> None:
    assert object_body(b'{"a":1e2}', None) == b'{"data":{"a":1e2}}'
    assert object_body(b"{}", {}) == b'{"data":{},"permissions":{}}'
    assert object_body(b"{}", {"read": ["x"]}) == b'{"data":{},"permissions":{"read":["x"]}}'
    assert list_body([b"1", b"2"]) == b'{"data":[1,2]}'


def test_answer_that_one_has_it_has_no_body_but_the_etag() -> None:
    response = not_modified_response(1_500)
    assert (response.status, response.body) == (304, b"")
    assert response.headers["ETag"] == '"1500"'


def test_answer_to_a_write_tells_where_in_its_list_it_stands() -> None:
    headers = written_headers(1000, make_position(2000, 3))
    assert (headers["ETag"], headers["Cursor"]) == ('"1000"', "2000-3")
    assert written_headers(1000, make_position(1000))["Cursor"] == "1000"
    stored = StoredObject("/buckets/b", 1000, make_position(1000), b"{}")
    answer = written_response(stored, 201, b"x")
    assert (answer.status, answer.body) == (201, b"x")
    assert answer.headers == written_headers(1000, make_position(1000))


def test_answer_to_a_read_of_an_object_tells_no_cursor() -> None:
    stored = StoredObject("/buckets/b", 1000, make_position(1000), b"{}", acl={"read": ("x",)})
    answer = object_response(stored, writable=True)
    assert "Cursor" not in answer.headers
    assert answer.body == b'{"data":{},"permissions":{"read":["x"]}}'
    assert object_response(stored, writable=False).body == b'{"data":{},"permissions":{}}'
