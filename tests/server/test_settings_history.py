import pytest

from server.settings_history import HistorySettings, parse_uris


def test_nothing_is_left_out_or_trimmed_unless_somebody_says_so() -> None:
    settings = HistorySettings()
    assert (settings.exclude_resources, settings.exclude_user_ids) == ((), ())
    assert (settings.max_age_seconds, settings.max_count) == (None, None)
    assert (settings.auto_trim_max_count, settings.auto_trim_threshold) == (-1, 100)


def test_uris_are_those_of_objects() -> None:
    assert parse_uris("/buckets/a\n /buckets/a/collections/c") == (
        "/buckets/a",
        "/buckets/a/collections/c",
    )
    assert parse_uris("") == ()


@pytest.mark.parametrize("text", ["blog", "/buckets", "/buckets/a/collections", "/buckets/a x"])
def test_what_is_no_uri_of_an_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="URIs such as /buckets/blog"):
        parse_uris(text)
