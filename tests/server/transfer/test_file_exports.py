import hashlib
import io
from pathlib import Path

import pytest

from server.storage.files.base import StoredFile
from server.storage.memory import MemoryStorage
from server.transfer.exporter import Exporter, Selection
from server.transfer.file_exports import FileExporter
from server.transfer.lines import LineSource
from tests.server.transfer.conftest import WriteLines
from tests.server.transfer.stocks import PARENTS, RECORDS, load, row

pytestmark = pytest.mark.gen_test

HASH = hashlib.sha256(b"hello").hexdigest()


async def test_files_are_copied_under_their_names_and_missing_ones_told(
    storage: MemoryStorage, write_lines: WriteLines, tmp_path: Path
) -> None:
    store = await storage.files()
    for name in ("b/c/mine.txt", "b/c/former.txt"):
        writer = await store.create()
        await writer.write(b"hello")
        await writer.finish(StoredFile(name, 5, HASH, "text/plain", "x", f"{RECORDS}/r1", 5))
    records = [
        row(f"{RECORDS}/r1", 5, {}, attachment={"location": "https://x/y/b/c/mine.txt"}),
        row(f"{RECORDS}/r2", 6, {}, attachment={"location": "https://x/y/b/c/gone.txt"}),
        row(f"{RECORDS}/r3", 7, {}, attachment="no file"),
    ]
    await load(storage, LineSource(write_lines(*PARENTS, *records)))
    files = FileExporter(store, tmp_path / "out")
    await Exporter(storage, io.BytesIO(), Selection(), files.see).run()
    assert (files.copied, files.missing) == (1, [f"{RECORDS}/r2"])
    found = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert found == [tmp_path / "out" / "b" / "c" / "mine.txt"]
    assert found[0].read_text() == "hello"
