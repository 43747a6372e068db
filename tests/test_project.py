import ast
import inspect
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from notifier.messages import BadMessage, Message, parse_message
from server.core import errors
from server.settings_fields import setting_rows
from tests.processes import ROOT

SOURCES = ("server", "handlers", "notifier")
MAX_LINES = 600


def modules() -> list[Path]:
    """Modules that need a test module: all but the empty and the trivial ones."""
    found = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if path.name not in ("__init__.py", "__main__.py"))


def text_files() -> list[Path]:
    """Files of the project that a person wrote."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    suffixes = (".py", ".js", ".mjs", ".css", ".html")
    return [ROOT / name for name in sorted(listed) if name.endswith(suffixes)]


def name_of(path: object) -> str:
    return str(path.relative_to(ROOT)) if isinstance(path, Path) else str(path)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_module_has_its_test_module(path: Path) -> None:
    relative = path.relative_to(ROOT)
    expected = ROOT / "tests" / relative.parent / f"test_{relative.name}"
    assert expected.exists(), f"{name_of(expected)} is missing"


def test_no_file_is_longer_than_a_person_reads() -> None:
    long = {name_of(p): len(p.read_bytes().splitlines()) for p in text_files() if p.exists()}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("name", [*SOURCES, "tests"])
def test_init_modules_are_empty(name: str) -> None:
    full = [path for path in (ROOT / name).rglob("__init__.py") if path.read_text().strip()]
    assert full == []


@pytest.mark.parametrize("row", setting_rows(), ids=lambda row: row[0])
def test_setting_is_documented(row: tuple[str, str, str]) -> None:
    name, default, meaning = row
    shown = f"`{default}`" if default else ""
    text = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert f"| `{name}` | {shown} | {meaning} |" in text


def failures() -> list[type[errors.SyncError]]:
    """Classes of failures that have a place in the table of errors."""
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [k for k in found if issubclass(k, errors.SyncError) and hasattr(k, "errno")]


@pytest.mark.parametrize("kind", failures(), ids=lambda kind: kind.__name__)
def test_errno_is_documented(kind: type[errors.SyncError]) -> None:
    text = (ROOT / "docs" / "reference" / "errors.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    wanted = {str(kind.errno), str(kind.status)}
    assert any(wanted <= {cell.strip(" `*") for cell in row.split("|")} for row in rows)


def documented_messages(section: str) -> list[str]:
    """The types in the first table of a section of the live protocol's reference."""
    text = (ROOT / "docs" / "reference" / "live.md").read_text()
    _, _, rest = text.partition(f"### {section}\n")
    table = rest.partition("| `type` | fields |\n")[2].partition("\n\n")[0]
    return [row.split("`")[1] for row in table.splitlines()[1:]]


def sent_messages() -> set[str]:
    """The types that the notifier's code gives to whatever spells or says a message."""
    speakers = {"say", "message", "Say", "_message", "_send", "_frame"}
    found = {"event"}
    for path in (ROOT / "notifier").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                found |= {str(node.args[0].value)} if name in speakers else set()
    return found


def test_messages_of_clients_that_are_documented_are_those_that_are_understood() -> None:
    understood = {one.__name__.lower() for one in get_args(Message)}
    assert sorted(documented_messages("What a client says")) == sorted(understood)
    for kind in understood:
        with pytest.raises(BadMessage) as caught:
            parse_message(f'{{"type": "{kind}", "id": []}}')
        assert "type" not in str(caught.value), kind


def test_messages_of_the_server_that_are_documented_are_those_that_are_sent() -> None:
    assert sorted(documented_messages("What the server says")) == sorted(sent_messages())


def test_heroku_starts_what_the_checkout_serves() -> None:
    processes = [
        "web: python -m server serve --host 0.0.0.0 --port $PORT",
        "worker: python -m server webhooks",
    ]
    assert (ROOT / "Procfile").read_text().splitlines() == processes
