import pytest

from server.config import StartupError, load_settings
from server.settings_attachments import (
    AttachmentSettings,
    parse_extensions,
    parse_folder,
    parse_mimetypes,
    parse_url,
)


@pytest.mark.parametrize(
    ("text", "expected"), [("default+video", "default+video"), ("PNG", "png"), ('"any"', "any")]
)
def test_extensions_are_words_with_plus_between_them(text: str, expected: str) -> None:
    assert parse_extensions(text) == expected


@pytest.mark.parametrize("text", ["default+", ".png", "a,b", ""])
def test_what_is_no_list_of_extensions_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="extensions"):
        parse_extensions(text)


def test_types_are_told_by_extension() -> None:
    given = ".ftl:application/vnd.fluent;.db:application/vnd.sqlite3;"
    expected = {".ftl": "application/vnd.fluent", ".db": "application/vnd.sqlite3"}
    assert parse_mimetypes(given) == expected


@pytest.mark.parametrize("text", ["ftl:text/plain", ".ftl", ".ftl:text", ".a:b/c\r\nX: y"])
def test_what_is_no_pair_of_extension_and_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="pairs"):
        parse_mimetypes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("/{bucket_id}/{collection_id}/", "{bucket_id}/{collection_id}"), ("a/b", "a/b"), ("", "")],
)
def test_folder_is_a_relative_path_with_names_in_it(text: str, expected: str) -> None:
    assert parse_folder(text) == expected


@pytest.mark.parametrize(
    "text", ["..", "a/../b", "a//b", "{nothing}", "{}", "{bucket_id.x}", "{", ".kintoun"]
)
def test_folder_that_leads_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="relative path"):
        parse_folder(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("https://cdn.example/files", "https://cdn.example/files/"), ("/files/", "/files/")],
)
def test_address_of_a_folder_ends_in_a_slash(text: str, expected: str) -> None:
    assert parse_url(text) == expected


def test_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="address"):
        parse_url("cdn.example/files")


def test_options_of_buckets_and_collections_are_parsed() -> None:
    settings = AttachmentSettings(
        resources={
            "blog.randomize": "false",
            "blog.articles.max_size_bytes": "7",
            "blog.articles.keep_old_files": "true",
        }
    )
    assert settings.particular() == {
        "blog": {"randomize": False},
        "blog.articles": {"max_size_bytes": 7, "keep_old_files": True},
    }


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("blog.private", "true", "is no setting"),
        ("randomize", "true", "is no setting"),
        ("a.b.c.randomize", "true", "is no setting"),
        ("blog.max_size_bytes", "many", "must be a whole number"),
    ],
)
def test_option_that_is_none_is_told_by_its_name(name: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        AttachmentSettings(resources={name: text}).particular()
    assert f"attachment.resources.{name}" in str(caught.value)


def test_settings_of_kinto_attachment_are_read_from_the_environment() -> None:
    settings = load_settings(
        {
            "KINTO_ATTACHMENT_BASE_URL": "https://cdn.example/",
            "KINTO_ATTACHMENT_FOLDER": "{bucket_id}",
            "KINTO_ATTACHMENT_RESOURCES_BLOG_KEEP_OLD_FILES": "true",
        }
    ).attachments
    assert settings.base_url == "https://cdn.example/"
    assert settings.folder == "{bucket_id}"
    assert settings.particular() == {"blog": {"keep_old_files": True}}


def test_value_that_does_not_parse_stops_the_start() -> None:
    with pytest.raises(StartupError, match="relative path"):
        load_settings({"KINTO_ATTACHMENT_FOLDER": "../../etc"})
