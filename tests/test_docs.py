"""Pages are run as they stand, and what they show is compared with what is printed."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from handlers.base import HEADERS_MAX_BYTES
from server.core.conditions import DATE_OPERATORS
from server.core.contents import OBJECT_MAX_BYTES
from server.core.filters import Operator
from server.core.json_text import MAX_DEPTH
from server.core.patches import PATCH_TYPES, Behavior
from server.core.paths import ID_MAX_LENGTH, KINDS
from server.core.permissions import GRANTABLE
from server.core.queries import MAX_FIELDS, MAX_PARAMETERS, MAX_SORT_KEYS
from server.service.lists import DELETE_AT_ONCE
from tests.clients.node import FOLDER, find_node
from tests.processes import ROOT
from tests.readers import Reader, Step, read_steps
from tests.servers import ThreadServer

DOCS = ROOT / "docs"

_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")

# Nothing is said for want of anything else, however slowly the pages are read.
_SETTINGS = {
    "storage_backend": "memory",
    "live_ping_seconds": 3600,
    "live_heartbeat_seconds": 3600,
}

_MORE_SETTINGS: dict[str, dict[str, Any]] = {
    "how-to/schemas": {"experimental_collection_schema_validation": True},
    "how-to/quotas": {"includes": "quotas", "quotas.collection_guest_book_max_items": 2},
    "how-to/history": {"includes": "history"},
    "how-to/attachments": {"includes": "attachments"},
    "how-to/api-keys": {"includes": "api_keys default_bucket"},
    "how-to/accounts": {
        "includes": "accounts",
        "multiauth.policies": "account",
        "account_create_principals": "system.Everyone",
        "account_password_rounds": 4,
    },
}

PAGES = (
    "tutorial",
    "live",
    "how-to/revisions",
    "how-to/accounts",
    "how-to/api-keys",
    "how-to/history",
    "how-to/schemas",
    "how-to/quotas",
    "how-to/attachments",
)
STEPS = {name: read_steps((DOCS / f"{name}.md").read_text()) for name in PAGES}
Outputs = dict[Step, tuple[str, bool]]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outputs]:
    """What each step of a page comes to, and whether the page shows that; run once, in order."""

    @cache
    def read(name: str) -> Outputs:
        find_node()
        folder = tmp_path_factory.mktemp(name.replace("/", "-"))
        (folder / "node_modules").symlink_to(FOLDER / "node_modules")
        (folder / "static").symlink_to(ROOT / "static")
        server = ThreadServer({**_SETTINGS, **_MORE_SETTINGS.get(name, {})}, {})
        reader = Reader(server.url, folder)
        try:
            return {step: reader.do(step) for step in STEPS[name]}
        finally:
            reader.close()
            server.stop()

    return read


@pytest.mark.parametrize(
    ("name", "step"),
    [(name, step) for name, steps in STEPS.items() for step in steps],
    ids=lambda value: value.title if isinstance(value, Step) else value,
)
def test_step_of_a_page_prints_what_the_page_shows(
    name: str, step: Step, outputs: Callable[[str], Outputs]
) -> None:
    printed, is_shown = outputs(name)[step]
    assert is_shown, f"the page shows\n{step.shown}\nand this was printed\n{printed}"


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("tutorial", {"sh", "python", "js"}),
        ("live", {"sh", "python", "js", "html", "text"}),
        ("how-to/revisions", {"sh"}),
        ("how-to/schemas", {"sh"}),
        ("how-to/quotas", {"sh"}),
        ("how-to/history", {"sh"}),
        ("how-to/attachments", {"sh"}),
        ("how-to/accounts", {"sh"}),
        ("how-to/api-keys", {"sh"}),
    ],
)
def test_page_has_steps_in_each_of_its_languages(name: str, languages: set[str]) -> None:
    assert {step.language for step in STEPS[name]} == languages


def vocabulary() -> list[str]:
    """What a client can write in a request, as the reference of the API has to spell it."""
    return [
        *(f"/{kind.plural}" for kind in KINDS.values()),
        *(f"{operator}_" for operator in Operator if operator is not Operator.EQ),
        *(f"`{name}" for name in (*DATE_OPERATORS, "_at", "_sort", "_limit", "_token", "_fields")),
        *(f"`{content_type}`" for content_type in PATCH_TYPES),
        *(f"`{behavior.value}`" for behavior in Behavior),
        *sorted({f"`{permission}`" for names in GRANTABLE.values() for permission in names}),
    ]


@pytest.mark.parametrize("word", vocabulary())
def test_word_of_a_request_is_in_the_reference(word: str) -> None:
    assert word in (DOCS / "reference" / "api.md").read_text()


@pytest.mark.parametrize(
    "limit",
    [
        f"| {OBJECT_MAX_BYTES >> 20} MiB of JSON",
        f"| {MAX_DEPTH} levels",
        f"| {HEADERS_MAX_BYTES >> 10} KiB in all",
        f"| {ID_MAX_LENGTH:,} characters",
        f"| {MAX_PARAMETERS:,} parameters, {MAX_SORT_KEYS} fields of `_sort`, {MAX_FIELDS:,} of",
        f"portions of {DELETE_AT_ONCE}",
    ],
)
def test_limit_in_the_reference_is_the_one_in_the_code(limit: str) -> None:
    assert limit in (DOCS / "reference" / "api.md").read_text()


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files_that_are_there(page: Path) -> None:
    targets = [match[1] for match in _LINK.finditer(page.read_text())]
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_page_is_reached_from_the_index(page: Path) -> None:
    index = DOCS / "README.md"
    targets = {(DOCS / match[1]).resolve() for match in _LINK.finditer(index.read_text())}
    assert page in {index, *targets}


def test_output_that_changes_a_value_midway_is_not_recognised() -> None:
    reader = Reader("http://there/v1", Path())
    shown = 'at "1700000000001"\n...\nagain "1700000000001"\n'
    assert reader.recognises(shown, 'at "1800000000001"\nmore\nagain "1800000000001"\n')
    assert reader.known["1700000000001"] == "1800000000001"
    assert not reader.recognises(shown, 'at "1800000000001"\nagain "1800000000002"\n')


def test_blocks_of_a_page_become_steps_with_their_marks_and_what_is_shown_right_after() -> None:
    page = (
        "```sh setup\na\n```\n```sh second\nb\n```\n```text\nc\n```\n"
        "```sh\nd\n```\n```text second\ne\n```\n```html f.html\ng\n```\n```json\nh\n```\n"
    )
    assert [(s.language, s.mark, s.code, s.shown) for s in read_steps(page)] == [
        ("sh", "second", "b\n", "c\n"),
        ("sh", "", "d\n", None),
        ("text", "second", "", "e\n"),
        ("html", "f.html", "g\n", None),
    ]
