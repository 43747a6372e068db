import base64

import pytest

from server.core.errors import InvalidParameters
from server.core.json_text import HugeInteger
from server.core.pagination import PageToken, make_token, parse_token

SECRET = b"key"
SCOPE = "/buckets/b/collections/c/records -last_modified id"
TOKEN = PageToken([[5], ["é\u0000"], [], [None], [HugeInteger("9" * 5000)]], 7 << 20, "n", 1000)


def test_token_comes_back_as_it_was() -> None:
    text = make_token(SECRET, SCOPE, TOKEN)
    assert parse_token(SECRET, SCOPE, text) == TOKEN
    assert set(text) <= set(base64.urlsafe_b64encode(bytes(range(256))).decode())


@pytest.mark.parametrize("size", range(6))
def test_token_of_any_length_with_any_one_character_changed_is_refused(size: int) -> None:
    text = make_token(SECRET, SCOPE, PageToken([["x" * size]], 1, "n", 1))
    assert parse_token(SECRET, SCOPE, text).last == [["x" * size]]
    for i, old in enumerate(text):
        for new in "AB" if old not in "AB" else "CD":
            with pytest.raises(InvalidParameters):
                parse_token(SECRET, SCOPE, text[:i] + new + text[i + 1 :])


@pytest.mark.parametrize(
    "text", ["", "abc", "abcde", "!!!", "\x00", "é", "e30=", "e30", "W10", "1", "A" * 4000]
)
def test_token_of_junk_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_token(SECRET, SCOPE, text)
    [problem] = caught.value.problems
    assert (problem.location, problem.name) == ("querystring", "_token")
    assert problem.description == "_token has invalid content"


def test_token_of_another_list_or_of_another_server_is_refused() -> None:
    text = make_token(SECRET, SCOPE, TOKEN)
    with pytest.raises(InvalidParameters):
        parse_token(SECRET, SCOPE + "2", text)
    with pytest.raises(InvalidParameters):
        parse_token(b"other", SCOPE, text)


def test_token_lives_as_long_as_it_is_valid_and_no_longer() -> None:
    text = make_token(SECRET, SCOPE, TOKEN)
    assert parse_token(SECRET, SCOPE, text, now=601_000, validity_seconds=600) == TOKEN
    assert parse_token(SECRET, SCOPE, text, now=9_999_999) == TOKEN
    with pytest.raises(InvalidParameters):
        parse_token(SECRET, SCOPE, text, now=601_001, validity_seconds=600)


def test_sort_keys_too_long_for_a_url_are_refused_when_the_token_is_made() -> None:
    with pytest.raises(InvalidParameters) as caught:
        make_token(SECRET, SCOPE, PageToken([["x" * 9000]], 1, "n", 1))
    assert caught.value.problems[0].name == "_sort"
