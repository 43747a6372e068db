import dataclasses

import pytest

from server.core.revisions import Revision

ENTRY = Revision(
    uri="/buckets/b/collections/c/records/r",
    list="/buckets/b/collections/c/records",
    bucket="b",
    seq=4,
    position=3,
    action="delete",
    by="",
    date=2,
    last_modified=1,
    before=b'{"id":"r","last_modified":0}',
    json=b'{"id":"r","last_modified":1,"deleted":true}',
    acl={},
    acl_before={"read": ("alice",)},
    readers=(),
    readers_before=("alice",),
)


def test_an_entry_of_the_log_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ENTRY.seq = 5  # type: ignore[misc]


def test_entries_that_say_the_same_are_equal() -> None:
    assert dataclasses.replace(ENTRY) == ENTRY
    assert dataclasses.replace(ENTRY, seq=5) != ENTRY
