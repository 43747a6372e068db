import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from server.cli import commands
from server.core.json_text import dump_json
from tests.server.transfer.stocks import STOCK


@pytest.fixture
def environ(mongo_uri: str, mongo_database: str) -> dict[str, str]:
    return {"MONGODB_URI": mongo_uri, "KINTO_MONGODB_DATABASE": mongo_database}


def run(environ: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments, env=environ)


@pytest.fixture
def loaded(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A database with something in it."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join(map(dump_json, STOCK)))
    assert run(environ, "import", str(path)).exit_code == 0
    return environ


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_everything_is_written_a_line_each(
    loaded: dict[str, str], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    result = run(loaded, "export", str(path))
    assert result.exit_code == 0, result.output
    assert "7 objects written." in result.stderr
    content = path.read_bytes()
    text = gzip.decompress(content) if name.endswith(".gz") else content
    header, *lines = [json.loads(line) for line in text.splitlines()]
    assert header["kintoun"]["format"] == 1
    assert [line["uri"] for line in lines[:-1]] == [one["uri"] for one in STOCK]


def test_export_can_be_imported(
    loaded: dict[str, str], tmp_path: Path, mongo_database: str
) -> None:
    path = str(tmp_path / "out.jsonl")
    assert run(loaded, "export", path).exit_code == 0
    result = run(loaded, "import", path)
    assert result.exit_code == 0, result.output
    assert "7 the same already" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bucket", "nothing", "{}/x"], "There is no bucket nothing."),
        (["{}/no/such/folder"], "No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    environ: dict[str, str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = run(environ, "export", *(one.format(tmp_path) for one in arguments))
    assert result.exit_code == 1
    assert words in result.stderr


def test_storage_in_memory_is_refused(environ: dict[str, str]) -> None:
    result = run({**environ, "KINTO_STORAGE_BACKEND": "memory"}, "export", "x")
    assert result.exit_code == 1
    assert "What is in memory ends with its process" in str(result.exception)
