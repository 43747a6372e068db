import pytest

from server.storage.files.memory import MemoryFiles
from tests.server.storage.files.contract import FilesContract


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles()


class TestMemoryFiles(FilesContract):
    pass
