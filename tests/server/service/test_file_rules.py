import pytest

from server.core.paths import object_path
from server.service.file_rules import (
    FileRule,
    FileRules,
    clean_filename,
    extension_of,
    find_extensions,
)

RECORD = object_path("/buckets/blog/collections/Art-icles/records/r")


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        ("default", {"png", "pdf", "txt", "json"}, {"exe", "mp4", "js"}),
        ("default+video", {"png", "mp4"}, {"exe"}),
        ("images+pdf", {"png", "pdf"}, {"doc"}),
    ],
)
def test_groups_and_extensions_are_added_up(
    words: str, inside: set[str], outside: set[str]
) -> None:
    found = find_extensions(words)
    assert inside <= found
    assert not outside & found


@pytest.mark.parametrize(
    ("words", "filename", "allowed"),
    [
        ("default", "report.PDF", True),
        ("default", "virus.exe", False),
        ("default", "none", False),
        ("default", "pdf", False),
        ("default", "archive.pdf.exe", False),
        ("any", "virus.exe", True),
        ("images+any", "none", True),
    ],
)
def test_extension_decides_whether_a_file_is_taken(
    words: str, filename: str, allowed: bool
) -> None:
    assert FileRule(find_extensions(words)).allows(filename) is allowed


@pytest.mark.parametrize(
    ("filename", "sent", "expected"),
    [
        ("a.png", "image/png", "image/png"),
        ("a.png", "IMAGE/PNG; charset=x", "image/png"),
        ("a.png", None, "image/png"),
        ("a.png", "application/octet-stream", "image/png"),
        ("a.png", "text/plain\r\nSet-Cookie: a", "image/png"),
        ("a", "nonsense", "application/octet-stream"),
        ("a.pem", "text/plain", "application/x-pem-file"),
        ("a.ftl", "text/plain", "application/vnd.fluent"),
    ],
)
def test_type_is_the_operators_else_the_senders_else_that_of_the_name(
    filename: str, sent: str | None, expected: str
) -> None:
    rule = FileRule(mimetypes={".ftl": "application/vnd.fluent"})
    assert rule.type_of(filename, sent) == expected


@pytest.mark.parametrize(
    ("folder", "filename", "expected"),
    [
        ("", "report.pdf", "token.pdf"),
        ("{bucket_id}/{collection_id}", "Report.PDF", "blog/Art-icles/token.pdf"),
        ("x/{id}", "none", "x/r/token"),
        ("", "a.p d\u00e9f", "token.pdf"),
    ],
)
def test_name_is_made_up_but_for_its_folder_and_extension(
    folder: str, filename: str, expected: str
) -> None:
    assert FileRule(folder=folder).name(RECORD, filename, "token") == expected


@pytest.mark.parametrize(
    ("filename", "attempt", "expected"),
    [
        ("My Repört (1).pdf", 0, "My_Report_1.pdf"),
        ("report.pdf", 2, "report-2.pdf"),
        ("日本.txt", 0, "token.txt"),
        (".htaccess", 0, "htaccess"),
        ("x" * 251 + ".txt", 0, "x" * 200 + ".txt"),
    ],
)
def test_name_of_the_sender_is_cleaned_where_it_is_kept(
    filename: str, attempt: int, expected: str
) -> None:
    assert FileRule(randomize=False).name(RECORD, filename, "token", attempt) == expected


def test_folder_of_a_very_long_id_is_one_that_file_systems_take() -> None:
    path = object_path(f"/buckets/{'b' * 1024}/collections/c/records/r")
    name = FileRule(folder="{bucket_id}").name(path, "a.txt", "token")
    assert len(name) < 100


def test_setting_of_a_collection_counts_before_its_buckets() -> None:
    rules = FileRules(
        FileRule(max_bytes=1),
        {
            "blog": {"max_size_bytes": 2, "keep_old_files": True},
            "blog.Art-icles": {"max_size_bytes": 3, "extensions": "png"},
        },
    )
    rule = rules.of(RECORD)
    assert (rule.max_bytes, rule.keeps, rule.extensions) == (3, True, frozenset({"png"}))
    assert rules.of(object_path("/buckets/blog/collections/c/records/r")).max_bytes == 2
    assert rules.of(object_path("/buckets/b/collections/c/records/r")) == rules.general


def test_setting_of_a_collection_may_come_from_the_environment() -> None:
    rules = FileRules(FileRule(), {"blog_art_icles": {"randomize": False}})
    assert not rules.of(RECORD).randomize


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("photo.png", "photo.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\photo.png", "photo.png"),
        ("a/b\\c.txt", "c.txt"),
        ("nul\0l.txt", "null.txt"),
        ("line\r\nbreak.txt", "linebreak.txt"),
        ("e\u0301t\u00e9.txt", "\u00e9t\u00e9.txt"),
        ("\u202egnp.exe", "gnp.exe"),
        ("..", ""),
        ("", ""),
        (" ", ""),
        ("folder/", ""),
    ],
)
def test_file_is_called_what_can_be_shown_of_its_last_segment(sent: str, expected: str) -> None:
    assert clean_filename(sent) == expected


def test_very_long_name_is_cut_before_its_extension() -> None:
    cleaned = clean_filename("x" * 1000 + ".png")
    assert (len(cleaned), extension_of(cleaned)) == (255, ".png")
