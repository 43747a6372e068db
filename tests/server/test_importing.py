import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from server.cli import commands
from server.core.json_text import dump_json
from tests.processes import ROOT
from tests.server.transfer.stocks import BUCKET, RECORDS, STOCK, row
from tests.servers import ThreadServer
from tests.system.clients import Client


@pytest.fixture(scope="module")
def kinto() -> Iterator[ThreadServer]:
    """What is imported from: a server in memory, which speaks as a Kinto does."""
    server = ThreadServer({"storage_backend": "memory"}, {})
    client = Client(server.url)
    client.put(BUCKET)
    client.put(f"{BUCKET}/collections/c")
    client.put(f"{RECORDS}/r", {"n": 1})
    client.close()
    yield server
    server.stop()


@pytest.fixture
def environ(mongo_uri: str, mongo_database: str) -> dict[str, str | None]:
    return {
        "MONGODB_URI": mongo_uri,
        "KINTO_MONGODB_DATABASE": mongo_database,
        "KINTOUN_AUTH": "alice:secret",
        "KINTOUN_BEARER": None,
    }


def run(environ: dict[str, str | None], *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["import", *arguments], env=environ)


def write_stock(folder: Path, *more: object) -> str:
    path = folder / "in.jsonl"
    texts = [one.encode() if isinstance(one, str) else dump_json(one) for one in (*STOCK, *more)]
    path.write_bytes(b"\n".join(texts))
    return str(path)


def test_kinto_is_imported_and_compared(
    environ: dict[str, str | None], kinto: ThreadServer
) -> None:
    result = run(environ, kinto.url)
    assert result.exit_code == 0, result.output
    assert "Loaded: 3 new, 0 replaced, 0 deleted" in result.stderr
    assert "Compared: 3 objects, no difference." in result.stderr
    again = run(environ, kinto.url)
    assert "Loaded: 0 new, 0 replaced, 0 deleted, 3 the same already" in again.stderr


def test_file_is_imported_and_compared(environ: dict[str, str | None], tmp_path: Path) -> None:
    result = run(environ, write_stock(tmp_path))
    assert result.exit_code == 0, result.output
    assert "Loaded: 5 new, 0 replaced, 2 deleted" in result.stderr
    assert "Compared: 7 objects, no difference." in result.stderr


def test_bad_line_is_told_and_the_exit_code_is_one(
    environ: dict[str, str | None], tmp_path: Path
) -> None:
    path = write_stock(tmp_path, "{oops", row(f"{RECORDS}/last", 400, {}))
    result = run(environ, path)
    assert result.exit_code == 1
    assert f"line {len(STOCK) + 1}: Invalid JSON" in result.stderr
    assert "6 new" in result.stderr


def test_difference_makes_the_exit_code_one(environ: dict[str, str | None], tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text(json.dumps(row(BUCKET, 500, {}, title="newer")))
    assert run(environ, str(path)).exit_code == 0
    result = run(environ, write_stock(tmp_path))
    assert result.exit_code == 1
    assert "1 newer here and left as they are" in result.stderr
    assert f"{BUCKET}: other than at the source: its data, its permissions, its" in result.stderr
    assert run(environ, write_stock(tmp_path), "--overwrite").exit_code == 0


def test_dry_run_writes_nothing(environ: dict[str, str | None], tmp_path: Path) -> None:
    path = write_stock(tmp_path)
    for _ in range(2):
        result = run(environ, path, "--dry-run")
        assert result.exit_code == 0, result.output
        assert "Would be: 5 new" in result.stderr
        assert "Compared" not in result.stderr


def test_what_is_piped_in_is_loaded_and_not_compared(environ: dict[str, str | None]) -> None:
    read, write = os.pipe()
    os.write(write, b"\n".join(dump_json(one) for one in STOCK))
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        result = run(environ, f"/dev/fd/{stream.fileno()}")
    assert result.exit_code == 0, result.output
    assert "5 new" in result.stderr
    assert "Not compared" in result.stderr


def test_user_that_the_kinto_does_not_know_is_one_sentence(
    environ: dict[str, str | None],
) -> None:
    server = ThreadServer({"storage_backend": "memory"}, {})
    try:
        result = run({**environ, "KINTOUN_AUTH": None}, server.url, "--bearer", "x")
    finally:
        server.stop()
    assert result.exit_code == 1
    assert "The source does not know this user" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such/file"], "No such file"),
        (["http://"], "no address"),
        (["http://x", "--auth", "nobody"], "should be USER:PASSWORD"),
        ([__file__, "--bucket", "b"], "a file is loaded whole"),
    ],
)
def test_command_line_that_makes_no_sense_is_told(
    environ: dict[str, str | None], arguments: list[str], words: str
) -> None:
    result = run(environ, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize("name", ["import", "export"])
def test_options_are_documented(name: str) -> None:
    page = (ROOT / "docs" / "how-to" / "import-export.md").read_text()
    for parameter in commands.commands[name].params:
        for option in parameter.opts + parameter.secondary_opts:
            if option.startswith("--"):
                assert f"`{option}" in page, option
