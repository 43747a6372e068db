import pytest

from server.core.errors import InvalidParameters
from server.core.targets import decode_path, parse_arguments, read_utf8, strip_authority


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/buckets/a", "/buckets/a"),
        ("/buckets/%61%2Db", "/buckets/a-b"),
        ("/buckets/%c3%a9", "/buckets/é"),
        ("/a+b", "/a+b"),
        ("/%zz%", "/%zz%"),
    ],
)
def test_path_is_decoded_by_segment(raw: str, path: str) -> None:
    assert decode_path(raw) == path


@pytest.mark.parametrize("raw", ["/a%2Fb", "/%2f", "/%FF", "/%C3%28"])
def test_path_that_would_be_another_or_is_no_utf_8_is_refused(raw: str) -> None:
    with pytest.raises(InvalidParameters):
        decode_path(raw)


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("a=1&a=2&b", [("a", "1"), ("a", "2"), ("b", "")]),
        ("a=%C3%A9+x&%26=%3D", [("a", "é x"), ("&", "=")]),
        ("a=%zz&&", [("a", "%zz")]),
    ],
)
def test_query_is_pairs_in_order(query: str, pairs: list[tuple[str, str]]) -> None:
    assert parse_arguments(query) == pairs


def test_query_that_is_no_utf_8_is_refused() -> None:
    with pytest.raises(InvalidParameters):
        parse_arguments("a=%FF")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/", "/v1/"),
        ("http://a.example:80/v1/x", "/v1/x"),
        ("HTTPS://a.example", "/"),
        ("*", "*"),
        ("ftp://a/v1", "ftp://a/v1"),
        ("//a/v1", "//a/v1"),
    ],
)
def test_whole_url_is_its_path(target: str, path: str) -> None:
    assert strip_authority(target) == path


def test_bytes_beyond_ascii_are_utf_8() -> None:
    assert read_utf8("/a") == "/a"
    assert read_utf8("/Ã©") == "/é"
    with pytest.raises(InvalidParameters):
        read_utf8("/\xff")
