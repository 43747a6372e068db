import pytest

from server.storage.base import StorageError
from server.storage.loader import load_backend
from server.storage.memory import open_memory


def test_backend_is_loaded_by_its_name() -> None:
    assert load_backend("memory") is open_memory


def test_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(StorageError, match=r"no storage backend 'redis'.*memory, mongo"):
        load_backend("redis")
