import pytest

from server.core import errors
from server.core.errors import Detail, InvalidParameters, SyncError, invalid


@pytest.mark.parametrize(
    ("detail", "sentence"),
    [
        (Detail("body", "", "it is bad"), "body: it is bad"),
        (Detail("body", "data", "data is bad"), "data is bad"),
        (Detail("querystring", "_limit", "it is bad"), "_limit in querystring: it is bad"),
    ],
    ids=["no name", "named in the description", "named beside it"],
)
def test_the_sentence_of_a_detail_names_the_parameter_once(detail: Detail, sentence: str) -> None:
    assert detail.sentence == sentence


def test_several_problems_are_sorted_by_name_and_the_first_is_the_message() -> None:
    error = InvalidParameters([Detail("body", "b", "second"), Detail("header", "a", "first")])
    assert error.body() == {
        "code": 400,
        "errno": 107,
        "error": "Invalid parameters",
        "message": "a in header: first",
        "details": [
            {"location": "header", "name": "a", "description": "first"},
            {"location": "body", "name": "b", "description": "second"},
        ],
    }


def test_one_problem_is_one_row_of_details() -> None:
    error = invalid("path", "", "Invalid object id")
    assert error.problems == [Detail("path", "", "Invalid object id")]
    assert error.message == str(error) == "path: Invalid object id"


def test_an_error_without_message_and_details_has_three_members() -> None:
    assert errors.TooLarge().body() == {
        "code": 413,
        "errno": 113,
        "error": "Request Entity Too Large",
    }


NOT_FOUND = "The resource you are looking for could not be found."


@pytest.mark.parametrize(
    ("error", "status", "errno", "title", "message"),
    [
        (
            errors.MissingAuth(),
            401,
            104,
            "Unauthorized",
            "Please authenticate yourself to use this endpoint.",
        ),
        (errors.InvalidForm("why"), 400, 109, "Bad Request", "why"),
        (
            errors.AttachmentFixed(),
            400,
            999,
            "Bad Request",
            "Attachment metadata cannot be modified.",
        ),
        (errors.RangeUnsatisfiable(7), 416, 107, "Range Not Satisfiable", "The file has 7 bytes."),
        (errors.InvalidAuth("why"), 401, 105, "Unauthorized", "why"),
        (errors.Forbidden(), 403, 121, "Forbidden", "This user cannot access this resource."),
        (errors.ObjectMissing("r", "record"), 404, 110, "Not Found", NOT_FOUND),
        (errors.ParentMissing("c", "collection"), 404, 111, "Not Found", NOT_FOUND),
        (errors.EndpointMissing(), 404, 111, "Not Found", NOT_FOUND),
        (
            errors.VersionMissing(),
            404,
            116,
            "Not Found",
            "The requested API version is not available on this server.",
        ),
        (
            errors.MethodNotAllowed("GET"),
            405,
            115,
            "Method Not Allowed",
            "Method not allowed on this endpoint.",
        ),
        (
            errors.NotAcceptable(["application/json"]),
            406,
            107,
            "Invalid parameters",
            "Accept header should be one of ['application/json']",
        ),
        (
            errors.UnsupportedMediaType(("application/json", "text/x")),
            415,
            107,
            "Invalid parameters",
            "Content-Type header should be one of ['application/json', 'text/x']",
        ),
        (
            errors.ModifiedMeanwhile(None),
            412,
            114,
            "Precondition Failed",
            "Resource was modified meanwhile",
        ),
        (errors.TooLarge("big"), 413, 113, "Request Entity Too Large", "big"),
        (errors.HeadersTooLarge("long"), 431, 107, "Request Header Fields Too Large", "long"),
        (errors.ServiceDeprecated("gone"), 410, 202, "Gone", "gone"),
        (errors.Unavailable("later", 3), 503, 201, "Service Unavailable", "later"),
        (
            errors.Unforeseen(),
            500,
            999,
            "Internal Server Error",
            "A programmatic error occurred, developers have been informed.",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SyncError) else "",
)
def test_an_error_has_its_row_in_the_table(
    error: SyncError, status: int, errno: int, title: str, message: str
) -> None:
    body = error.body()
    assert (body["code"], body["errno"]) == (status, errno)
    assert (body["error"], body["message"]) == (title, message)


def test_a_missing_object_or_parent_is_named() -> None:
    expected = {"id": "x", "resource_name": "record"}
    assert errors.ObjectMissing("x", "record").body()["details"] == expected
    assert errors.ParentMissing("x", "record").body()["details"] == expected


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (errors.NotAcceptable(["a/b"]), "Accept"),
        (errors.UnsupportedMediaType(["a/b"]), "Content-Type"),
    ],
)
def test_a_refused_media_type_is_a_detail_of_its_header(error: SyncError, header: str) -> None:
    sentence = f"{header} header should be one of ['a/b']"
    assert error.body()["details"] == [
        {"location": "header", "name": header, "description": sentence}
    ]


def test_a_failed_precondition_tells_the_state_that_is_there() -> None:
    error = errors.ModifiedMeanwhile('"5"', {"id": "x"})
    assert error.headers == {"ETag": '"5"'}
    assert error.body()["details"] == {"existing": {"id": "x"}}


def test_a_failed_precondition_on_nothing_has_neither_details_nor_etag() -> None:
    error = errors.ModifiedMeanwhile(None)
    assert error.headers == {}
    assert "details" not in error.body()


def test_headers_that_belong_to_an_answer_come_with_the_error() -> None:
    assert errors.MethodNotAllowed("GET, HEAD").headers == {"Allow": "GET, HEAD"}
    assert errors.Unavailable("later", 3).headers == {"Retry-After": "3"}
