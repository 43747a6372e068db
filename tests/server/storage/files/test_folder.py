from pathlib import Path

import pytest

from server.core.errors import Unavailable
from server.storage.files.base import FileGone, FileStore, NameTaken
from server.storage.files.folder import FolderFiles
from tests.conftest import ExpectedLogs
from tests.server.storage.files.contract import FilesContract, described, put, read


@pytest.fixture
def files(tmp_path: Path) -> FolderFiles:
    return FolderFiles(tmp_path / "files")


class TestFolderFiles(FilesContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self._folder = tmp_path / "files" / ".kintoun" / "new"

    async def leftovers(self, files: FileStore) -> int:
        return len(list(self._folder.iterdir()))


@pytest.mark.gen_test
async def test_file_lies_under_its_name_for_another_server_to_serve(
    files: FolderFiles, tmp_path: Path
) -> None:
    await put(files, b"content", "blog/one.txt")
    assert (tmp_path / "files" / "blog" / "one.txt").read_bytes() == b"content"


@pytest.mark.gen_test
async def test_file_of_somebody_else_is_neither_served_nor_overwritten_nor_removed(
    files: FolderFiles, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    foreign = tmp_path / "files" / "theirs.txt"
    foreign.write_bytes(b"theirs")
    assert await files.find("theirs.txt") is None
    writer = await files.create()
    with pytest.raises(NameTaken):
        await writer.finish(described(b"", "theirs.txt"))
    assert await files.page("", 10) == []
    await files.remove("theirs.txt")
    assert foreign.read_bytes() == b"theirs"


@pytest.mark.gen_test
async def test_entry_that_was_cut_short_is_no_file(files: FolderFiles, tmp_path: Path) -> None:
    await put(files, b"x")
    (entry,) = (tmp_path / "files" / ".kintoun" / "files").rglob("*.json")
    entry.write_text(entry.read_text()[:20])
    assert await files.find("b/one.txt") is None
    assert await files.page("", 10) == []


@pytest.mark.gen_test
async def test_reader_that_has_begun_reads_on_when_the_file_is_removed(files: FolderFiles) -> None:
    content = bytes(2_000_000)
    file = await put(files, content)
    pieces = files.read(file, 0, file.size)
    first = await anext(pieces)
    await files.remove(file.name)
    assert first + b"".join([piece async for piece in pieces]) == content


@pytest.mark.gen_test
async def test_disk_that_fails_makes_the_service_unavailable(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs("files in .*Not a directory")
    (tmp_path / "taken").write_text("a file, where a folder should be")
    files = FolderFiles(tmp_path / "taken")
    with pytest.raises(Unavailable):
        await files.create()
    assert not await files.check()


@pytest.mark.gen_test
async def test_file_that_is_shorter_than_it_was_is_not_read_to_its_end(
    files: FolderFiles, tmp_path: Path
) -> None:
    file = await put(files, b"content", "one.txt")
    (tmp_path / "files" / "one.txt").write_bytes(b"con")
    with pytest.raises(FileGone):
        await read(files, file)
