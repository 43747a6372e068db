from typing import Any

import pytest

from notifier.topics import STEERING, is_feed, parse_topic, split_target
from server.core.errors import EndpointMissing, InvalidParameters
from tests.notifier.scenes import topic_of

IN_BUCKET = ["/buckets/b"]
IN_COLLECTION = ["/buckets/b", "/buckets/b/collections/c"]


@pytest.mark.parametrize(
    ("path", "bucket", "parents", "clock"),
    [
        ("/buckets", "/", [], ("/", "buckets")),
        ("/buckets/b/collections", "b", IN_BUCKET, ("/buckets/b", "collections")),
        ("/buckets/b/groups", "b", IN_BUCKET, ("/buckets/b", "groups")),
        (
            "/buckets/b/collections/c/records",
            "b",
            IN_COLLECTION,
            ("/buckets/b/collections/c", "records"),
        ),
    ],
)
def test_list_is_a_topic_with_its_own_clock_as_cursor(
    path: str, bucket: str, parents: list[str], clock: tuple[str, str]
) -> None:
    topic = topic_of(path)
    assert topic.uri == topic.list.uri == path
    assert (topic.feed, topic.object) == (False, None)
    assert topic.bucket == bucket
    assert [step.uri for step in topic.parents] == parents
    assert topic.clock == clock
    assert topic.scope == topic.list


@pytest.mark.parametrize(
    ("path", "bucket", "parents", "clock"),
    [
        ("/buckets/b", "b", [], ("/", "buckets")),
        ("/buckets/b/collections/c", "b", IN_BUCKET, ("/buckets/b", "collections")),
        ("/buckets/b/groups/g", "b", IN_BUCKET, ("/buckets/b", "groups")),
        (
            "/buckets/b/collections/c/records/r",
            "b",
            IN_COLLECTION,
            ("/buckets/b/collections/c", "records"),
        ),
    ],
)
def test_object_is_a_topic_with_its_lists_clock_as_cursor(
    path: str, bucket: str, parents: list[str], clock: tuple[str, str]
) -> None:
    topic = topic_of(path)
    assert topic.object is not None
    assert topic.uri == topic.object.uri == path
    assert not topic.feed
    assert topic.bucket == bucket
    assert [step.uri for step in topic.parents] == parents
    assert topic.clock == clock
    assert topic.scope == topic.list == topic.object.list


def test_feed_is_a_topic_with_the_clock_of_everything_in_its_bucket() -> None:
    topic = topic_of("/buckets/b/changes")
    assert topic.feed
    assert topic.object is None
    assert (topic.uri, topic.path.uri) == ("/buckets/b/changes", "/buckets/b")
    assert [step.uri for step in topic.parents] == IN_BUCKET
    assert topic.clock == ("/buckets/b", "changes")
    assert topic.scope == topic.bucket == "b"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/buckets/b/changes", True),
        ("/buckets/default/changes", True),
        ("/buckets/b", False),
        ("/buckets/b/changes/x", False),
        ("/buckets/b/collections/changes", False),
        ("/buckets//changes", False),
    ],
)
def test_feed_is_told_by_its_path(path: str, expected: bool) -> None:
    assert is_feed(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1",
        "/v1/",
        "buckets/b",
        "/buckets/",
        "/buckets/b/",
        "/buckets/b/records",
        "/buckets/b/changes/",
        "/buckets/b/changes/x",
        "/buckets/b/collections/c/changes",
        "/changes",
        "/batch",
        "/v1/v1/buckets",
        "/v2/buckets",
        "http://localhost/v1/buckets",
    ],
)
def test_path_of_no_list_object_or_feed_is_refused(path: str) -> None:
    with pytest.raises(EndpointMissing):
        topic_of(path)


@pytest.mark.parametrize(
    "path",
    [
        "/buckets/-b",
        "/buckets/b d/collections",
        "/buckets/b!/changes",
        "/buckets/b/groups/g.h",
        "/buckets/b/collections/%C3%A4/records",
        f"/buckets/b/groups/{'g' * 1025}",
        "/buckets/a%2Fb",
    ],
)
def test_malformed_id_is_refused(path: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        topic_of(path)
    assert caught.value.details == [
        {"location": "path", "name": "", "description": "Invalid object id"}
    ]


@pytest.mark.parametrize("name", STEERING)
@pytest.mark.parametrize(
    "path", ["/buckets/b/collections/c/records", "/buckets/b", "/buckets/b/changes"]
)
@pytest.mark.parametrize("spelling", ["{}=1", "{}", "a=1&{}=", "%20{}+=1"])
def test_parameter_that_steers_a_list_is_refused(path: str, name: str, spelling: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        topic_of(f"{path}?{spelling.format(name)}")
    (problem,) = caught.value.problems
    assert (problem.location, problem.name.strip()) == ("querystring", name)
    assert problem.description == "has no meaning for a subscription"


@pytest.mark.parametrize("path", ["/buckets/b/collections/c/records", "/buckets/b/changes"])
def test_query_filters_and_projects_what_is_told_of_many(path: str) -> None:
    topic = topic_of(f"{path}?status=open&gt_size=3&_fields=title,a.b")
    found = [(one.field, str(one.operator), one.value) for one in topic.conditions]
    assert found == [("status", "eq", "open"), ("size", "gt", 3)]
    assert topic.fields == ("title", "a.b")
    assert topic.uri == f"{path}?status=open&gt_size=3&_fields=title,a.b"


def test_query_of_an_object_projects_only() -> None:
    topic = topic_of("/buckets/b/collections/c?status=open&_fields=title")
    assert topic.conditions == ()
    assert topic.fields == ("title",)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/buckets/b/collections", "_fields=a&_fields=b"),
        ("/buckets/b/collections/c", "_fields=a&_fields=b"),
        ("/buckets/b/changes", "last_modified=soon"),
        ("/buckets/b/groups", "_fields=a&_fields=b"),
    ],
)
def test_query_that_cannot_be_understood_is_refused(path: str, query: str) -> None:
    with pytest.raises(InvalidParameters):
        topic_of(f"{path}?{query}")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/buckets/b", ("/buckets/b", [], "")),
        ("/v1/buckets/b", ("/buckets/b", [], "")),
        ("/v1x/buckets", ("/v1x/buckets", [], "")),
        ("/buckets?", ("/buckets", [], "")),
        ("/buckets/%62?a=%C3%A4&b", ("/buckets/b", [("a", "ä"), ("b", "")], "a=%C3%A4&b")),
        ("/buckets?a=1?b=2&a=+", ("/buckets", [("a", "1?b=2"), ("a", " ")], "a=1?b=2&a=+")),
    ],
)
def test_target_is_split_into_path_arguments_and_query(target: str, expected: Any) -> None:
    assert split_target(target) == expected


@pytest.mark.parametrize("target", ["/buckets/%FF", "/buckets?a=%FF"])
def test_target_that_is_no_utf8_is_refused(target: str) -> None:
    with pytest.raises(InvalidParameters):
        split_target(target)


def test_topics_of_the_same_path_and_query_are_equal() -> None:
    arguments = [("v", "1")]
    assert parse_topic("/buckets", arguments) == parse_topic("/buckets", arguments)
    assert hash(topic_of("/buckets?v=1")) == hash(topic_of("/v1/buckets?v=1"))
    assert topic_of("/buckets?v=1") != topic_of('/buckets?v="1"')
