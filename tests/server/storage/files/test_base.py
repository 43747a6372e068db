import pytest

from server.storage.files.base import KeepsFiles, lies_in
from server.storage.memory import MemoryStorage
from server.storage.mongo.storage import MongoStorage


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("/buckets/b", True), ("/buckets/b/collections/c", True), ("/buckets", True), ("/b", False)],
)
def test_record_lies_in_its_parents(uri: str, expected: bool) -> None:
    assert lies_in("/buckets/b/collections/c/records/r", uri) is expected


def test_record_does_not_lie_in_what_begins_alike() -> None:
    assert not lies_in("/buckets/b/collections/cc/records/r", "/buckets/b/collections/c")


@pytest.mark.parametrize("storage", [MemoryStorage, MongoStorage])
def test_storages_of_ours_keep_files(storage: type) -> None:
    assert issubclass(storage, KeepsFiles)
