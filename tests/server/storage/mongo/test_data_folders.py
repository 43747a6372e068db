import os
from pathlib import Path

import pytest

from server.storage.mongo.data_folders import DataFolder, EmbeddedError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def test_second_server_is_told_who_has_the_folder(folder: DataFolder) -> None:
    folder.lock()
    folder.announce("http://127.0.0.1:9999/v1/")
    with pytest.raises(EmbeddedError, match=rf"pid {os.getpid()} at http://127\.0\.0\.1:9999/v1/"):
        DataFolder(folder.path).lock()
    folder.unlock()


def test_owner_that_does_not_listen_yet_is_told_by_its_pid(folder: DataFolder) -> None:
    folder.lock()
    with pytest.raises(EmbeddedError, match=rf"\(pid {os.getpid()}\)"):
        DataFolder(folder.path).lock()
    folder.unlock()


def test_folder_is_free_after_unlock(folder: DataFolder) -> None:
    folder.lock()
    folder.announce("http://127.0.0.1:9999/a/long/address/")
    folder.unlock()
    folder.unlock()
    folder.lock()
    assert (folder.path / "kintoun.lock").read_text() == f"pid {os.getpid()}"
    folder.unlock()


def test_announcing_without_the_lock_writes_nothing(folder: DataFolder) -> None:
    folder.announce("http://127.0.0.1:1/")
    assert not folder.path.exists()


def test_path_that_is_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(EmbeddedError, match="cannot be written .*: name another one with --data"):
        DataFolder(tmp_path / "data").lock()


@pytest.mark.parametrize("content", ["", "no number", "0", str(os.getpid())])
def test_pid_of_something_else_is_no_leftover(folder: DataFolder, content: str) -> None:
    folder.lock()
    (folder.database / "mongod.lock").write_text(content)
    assert folder.find_leftover() is None
    folder.unlock()


@pytest.mark.gen_test
async def test_without_a_leftover_there_is_nothing_to_end(folder: DataFolder) -> None:
    await folder.end_leftover()
    assert folder.find_leftover() is None
