import inspect

import pytest

from server.storage.base import Snapshot, Storage, StorageOptions
from server.storage.memory import MemorySnapshot, MemoryStorage
from server.storage.mongo.reads import MongoSnapshot
from server.storage.mongo.storage import MongoStorage


def methods(protocol: type) -> dict[str, list[str]]:
    """The parameters of each method that a protocol names."""
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in vars(protocol).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("backend", "protocol"),
    [
        (MemoryStorage, Storage),
        (MongoStorage, Storage),
        (MemorySnapshot, Snapshot),
        (MongoSnapshot, Snapshot),
    ],
)
def test_backend_takes_what_the_protocol_names(backend: type, protocol: type) -> None:
    assert methods(protocol)
    for name, parameters in methods(protocol).items():
        assert list(inspect.signature(getattr(backend, name)).parameters) == parameters


def test_waiting_write_is_given_longer_than_an_election_takes() -> None:
    assert StorageOptions().write_timeout_seconds > 12
