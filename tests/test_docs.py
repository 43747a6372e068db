"""The tutorial is run as it stands, and what it shows is compared with what is printed."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
from tests.processes import ROOT
from tests.servers import ThreadServer

DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
SHOWN_URL = "http://127.0.0.1:8888/v1"
DEADLINE_SECONDS = 60
NODE_PACKAGES = ROOT / "tests" / "clients" / "kintojs"

_BLOCK = re.compile(r"^```([a-z]+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
_VOLATILE = re.compile(
    r"\b(?:(?P<timestamp>[0-9]{13})"
    r"|(?P<user>[0-9a-f]{64})"
    r"|(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))\b"
)
"""What is another one in each run; the same text stays the same within one."""

_PATTERNS = {
    "timestamp": "[0-9]{13}",
    "user": "[0-9a-f]{64}",
    "uuid": "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
_ELISION = "...\n"
"""A line that stands for any number of lines."""


@dataclass(frozen=True, slots=True)
class Step:
    """A block that the reader runs, and the output that the page shows for it.

    Attributes:
        language: ``sh``, ``python`` or ``js``.
        code: as it stands in the page.
        shown: as it stands in the page; None if it shows none.
    """

    language: str
    code: str
    shown: str | None

    @property
    def title(self) -> str:
        return f"{self.language}: {self.code.splitlines()[0][:60]}"


def read_steps(page: str) -> list[Step]:
    """The blocks to run, in order; those marked ``setup`` are the fixtures' business."""
    blocks = [match.groups() for match in _BLOCK.finditer(page)]
    following: list[tuple[str, ...]] = [*blocks[1:], ("", "", "")]
    return [
        Step(language, code, text if kind == "text" else None)
        for (language, mark, code), (kind, _, text) in zip(blocks, following, strict=True)
        if language in ("sh", "python", "js") and not mark.strip()
    ]


class Reader:
    """Does what the tutorial says, and puts in its own values where the page shows others.

    Attributes:
        known: text of the page to that of this run.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.known = {SHOWN_URL: url}
        self._folder = folder

    def run(self, step: Step) -> str:
        """What a step prints."""
        code = step.code
        for shown, own in self.known.items():
            code = code.replace(shown, own)
        ended = subprocess.run(
            self._command(step.language, code),
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        assert ended.returncode == 0, f"{step.title}\n{ended.stdout}{ended.stderr}"
        printed = ended.stdout.replace("\r\n", "\n")
        return printed if printed.endswith("\n") or not printed else printed + "\n"

    def _command(self, language: str, code: str) -> list[str]:
        if language == "sh":
            return ["sh", "-eu", "-c", code]
        script = self._folder / ("sync.py" if language == "python" else "sync.mjs")
        script.write_text(code)
        return [sys.executable if language == "python" else "node", str(script)]

    def recognises(self, shown: str, printed: str) -> bool:
        """Whether the page shows this output; remembers the values that it has here."""
        names: dict[str, str] = {}
        match = re.fullmatch(self._pattern(shown, names), printed)
        if match is None:
            return False
        self.known.update({text: match[name] for text, name in names.items()})
        return True

    def _pattern(self, shown: str, names: dict[str, str]) -> str:
        parts: list[str] = []
        for line in shown.splitlines(keepends=True):
            if line == _ELISION:
                parts.append(r"(?:.*\n)*?")
                continue
            end = 0
            for found in _VOLATILE.finditer(line):
                parts += [self._literal(line[end : found.start()]), self._value(found, names)]
                end = found.end()
            parts.append(self._literal(line[end:]))
        return "".join(parts)

    def _literal(self, text: str) -> str:
        return re.escape(text.replace(SHOWN_URL, self.known[SHOWN_URL]))

    def _value(self, found: re.Match[str], names: dict[str, str]) -> str:
        text = found[0]
        if text in self.known:
            return re.escape(self.known[text])
        if text in names:
            return f"(?P={names[text]})"
        names[text] = f"value{len(names)}"
        assert found.lastgroup is not None
        return f"(?P<{names[text]}>{_PATTERNS[found.lastgroup]})"


STEPS = read_steps(TUTORIAL.read_text())
Outputs = dict[Step, tuple[str, bool]]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outputs]:
    """What each step prints, and whether the page shows just that; all run once, in order."""
    folder = tmp_path_factory.mktemp("tutorial")
    has_node = shutil.which("node") is not None
    if has_node:
        _link_packages(folder)
    server = ThreadServer({"storage_backend": "memory"}, {})
    try:
        reader = Reader(server.url, folder)
        found: Outputs = {}
        for step in STEPS:
            if step.language != "js" or has_node:
                printed = reader.run(step)
                found[step] = (
                    printed,
                    step.shown is None or reader.recognises(step.shown, printed),
                )
        yield found
    finally:
        server.stop()


def _link_packages(folder: Path) -> None:
    # npm writes this file last, so a broken installation is made again.
    if not (NODE_PACKAGES / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci"], cwd=NODE_PACKAGES, check=True, timeout=300)
    (folder / "node_modules").symlink_to(NODE_PACKAGES / "node_modules")


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_step_of_the_tutorial_prints_what_the_page_shows(step: Step, outputs: Outputs) -> None:
    if step not in outputs:
        pytest.skip("install Node.js 18 or newer: kinto.js runs on it")
    printed, is_shown = outputs[step]
    assert is_shown, f"the page shows\n{step.shown}\nand this was printed\n{printed}"


def test_tutorial_has_steps_in_each_of_its_languages() -> None:
    assert {step.language for step in STEPS} == {"sh", "python", "js"}


def vocabulary() -> list[str]:
    """What a client can write in a request, as the reference of the API has to spell it."""
    return [
        *(f"/{kind.plural}" for kind in KINDS.values()),
        *(f"{operator}_" for operator in Operator if operator is not Operator.EQ),
        *(f"`{name}" for name in (*DATE_OPERATORS, "_sort", "_limit", "_token", "_fields")),
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
