import pytest

from server.core.errors import EndpointMissing
from server.core.paths import (
    KINDS,
    ROOT,
    ListPath,
    ObjectPath,
    bucket_of,
    invalid_id,
    is_valid_id,
    object_path,
    parse_path,
)


@pytest.mark.parametrize(
    ("uri", "kind", "parent", "bucket", "ancestors"),
    [
        ("/buckets", "bucket", ROOT, ROOT, []),
        ("/buckets/b/groups", "group", "/buckets/b", "b", ["/buckets/b"]),
        ("/buckets/b/collections", "collection", "/buckets/b", "b", ["/buckets/b"]),
        (
            "/buckets/b/collections/c/records",
            "record",
            "/buckets/b/collections/c",
            "b",
            ["/buckets/b", "/buckets/b/collections/c"],
        ),
    ],
)
def test_a_lists_uri_tells_its_kind_and_what_it_lies_in(
    uri: str, kind: str, parent: str, bucket: str, ancestors: list[str]
) -> None:
    path = parse_path(uri)
    assert isinstance(path, ListPath)
    assert (path.uri, path.kind, path.parent_uri, path.bucket) == (uri, KINDS[kind], parent, bucket)
    assert [step.uri for step in path.ancestors] == ancestors
    assert path.valid


@pytest.mark.parametrize(
    ("uri", "kind", "list_uri", "chain"),
    [
        ("/buckets/b", "bucket", "/buckets", ["/buckets/b"]),
        (
            "/buckets/b/groups/o",
            "group",
            "/buckets/b/groups",
            ["/buckets/b", "/buckets/b/groups/o"],
        ),
        (
            "/buckets/b/collections/o",
            "collection",
            "/buckets/b/collections",
            ["/buckets/b", "/buckets/b/collections/o"],
        ),
        (
            "/buckets/b/collections/c/records/o",
            "record",
            "/buckets/b/collections/c/records",
            ["/buckets/b", "/buckets/b/collections/c", "/buckets/b/collections/c/records/o"],
        ),
    ],
)
def test_an_objects_uri_tells_its_kind_and_what_it_lies_in(
    uri: str, kind: str, list_uri: str, chain: list[str]
) -> None:
    path = object_path(uri)
    assert (path.uri, path.id, path.kind) == (uri, uri.rsplit("/", 1)[1], KINDS[kind])
    assert (path.list.uri, path.bucket) == (list_uri, "b")
    assert [step.uri for step in path.chain] == chain
    assert path.ancestors == path.chain[:-1]
    assert path.valid


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/",
        "//",
        "buckets",
        "buckets/b",
        "/records",
        "/buckets/",
        "/buckets//collections",
        "/buckets/b/",
        "/buckets/b/records",
        "/buckets/b/buckets",
        "/buckets/b/history",
        "/buckets/b/groups/g/records",
        "/buckets/b/collections/c/records/r/records",
        "/buckets/b/collections/c/records/r/attachment",
    ],
)
def test_a_uri_of_another_shape_names_nothing(uri: str) -> None:
    with pytest.raises(EndpointMissing):
        parse_path(uri)


def test_an_object_of_a_list_is_the_one_that_its_uri_names() -> None:
    records = parse_path("/buckets/b/collections/c/records")
    assert isinstance(records, ListPath)
    assert records.object("r") == parse_path("/buckets/b/collections/c/records/r")


@pytest.mark.parametrize("good", ["a", "7", "aA-_9", "a" * 1024, "a-"])
def test_letters_digits_dashes_and_underscores_are_an_id(good: str) -> None:
    assert is_valid_id(good)


@pytest.mark.parametrize(
    "bad", ["", "-a", "_a", "a.b", "a b", "a\n", "\n", "é", "٣", "a/b", "a\0", "a" * 1025]
)
def test_other_texts_are_no_id(bad: str) -> None:
    assert not is_valid_id(bad)


@pytest.mark.parametrize(
    ("uri", "valid"),
    [
        ("/buckets/a.b", False),
        ("/buckets/a.b/collections", False),
        ("/buckets/a.b/collections/c/records/r", False),
        ("/buckets/b/collections/c.d/records/r", False),
        ("/buckets/b/collections/c.d/records", False),
        ("/buckets/b/collections/c/records/r.s", False),
        ("/buckets/b/collections/c.d", False),
        ("/buckets/b/collections/c/records/r", True),
    ],
)
def test_a_path_is_valid_if_all_of_its_ids_are(uri: str, *, valid: bool) -> None:
    assert parse_path(uri).valid is valid


def test_a_bad_id_is_told_as_a_problem_of_the_path() -> None:
    error = invalid_id()
    assert error.message == "path: Invalid object id"
    assert error.body()["details"] == [
        {"location": "path", "name": "", "description": "Invalid object id"}
    ]


@pytest.mark.parametrize(
    ("uri", "bucket"),
    [
        (ROOT, ROOT),
        ("/buckets/b", "b"),
        ("/buckets/b/groups/g", "b"),
        ("/buckets/b/collections/c/records/r", "b"),
    ],
)
def test_every_object_is_of_the_bucket_that_it_lies_in(uri: str, bucket: str) -> None:
    assert bucket_of(uri) == bucket


def test_every_child_list_is_of_a_kind_whose_parent_contains_it() -> None:
    contained = {plural: kind.name for kind in KINDS.values() for plural in kind.children}
    assert contained == {kind.plural: kind.parent for kind in KINDS.values() if kind.parent}


def test_paths_of_one_uri_are_equal() -> None:
    path = object_path("/buckets/b/groups/g")
    assert path == ObjectPath(path.list, "g", "/buckets/b/groups/g")
