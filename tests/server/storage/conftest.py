"""Fixtures of the storage tests; a module that tries a backend gives two of them itself."""

import pytest

from server.storage.base import Storage
from tests.server.storage.scenes import ReadLog, Scene

for part in ("reads", "writes", "parents", "content"):
    pytest.register_assert_rewrite(f"tests.server.storage.contract_{part}")


@pytest.fixture
def scene(storage: Storage, read_log: ReadLog) -> Scene:
    """The storage of the module that asks, to be tried."""
    return Scene(storage, read_log)
