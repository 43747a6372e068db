from typing import Any

import pytest

from server.core.commands import (
    Advance,
    Change,
    Command,
    Create,
    Ensure,
    Flush,
    Inquiry,
    Load,
    Part,
    Remove,
    RemoveMany,
    Replace,
    Target,
)
from server.core.contents import NOTHING
from server.core.patches import SHALLOW, parse_patch
from server.core.paths import ListPath, object_path, parse_path
from server.core.permissions import make_actor

ALICE = make_actor("alice")
BUCKET = "/buckets/b"
COLLECTION = "/buckets/b/collections/c"
RECORD = "/buckets/b/collections/c/records/r"
PATCH = parse_patch(SHALLOW, {"data": {}}, ())


def target(uri: str) -> Target:
    return Target(ALICE, object_path(uri))


def list_path(uri: str) -> ListPath:
    path = parse_path(uri)
    assert isinstance(path, ListPath)
    return path


async def ask(snapshot: Any) -> Any:
    return snapshot


@pytest.mark.parametrize(
    ("part", "uris"),
    [
        (Create(target(RECORD), NOTHING), {BUCKET, COLLECTION, RECORD}),
        (Replace(target(RECORD), NOTHING), {BUCKET, COLLECTION, RECORD}),
        (Change(target(RECORD), PATCH), {BUCKET, COLLECTION, RECORD}),
        (Remove(target(RECORD)), {BUCKET, COLLECTION, RECORD}),
        (Remove(target(COLLECTION)), {BUCKET, COLLECTION}),
        (Remove(target(BUCKET)), {"/", BUCKET}),
        (Create(target(BUCKET), NOTHING), {"/", BUCKET}),
        (Ensure(ALICE, object_path(COLLECTION)), {BUCKET, COLLECTION}),
        (Ensure(ALICE, object_path(BUCKET)), {"/", BUCKET}),
        (
            RemoveMany(ALICE, list_path(f"{COLLECTION}/records"), ("r", "s")),
            {BUCKET, COLLECTION, RECORD, f"{COLLECTION}/records/s"},
        ),
        (RemoveMany(ALICE, list_path("/buckets"), ("b",)), {"/", BUCKET}),
        (RemoveMany(ALICE, list_path("/buckets"), ()), {"/"}),
        (Flush((BUCKET,), "e"), {"/", BUCKET}),
        (Load(object_path(RECORD), NOTHING), {BUCKET, COLLECTION, RECORD}),
        (Load(object_path(BUCKET), NOTHING), {"/", BUCKET}),
        (Advance(list_path(f"{COLLECTION}/records"), 5), {BUCKET, COLLECTION}),
        (Advance(list_path("/buckets"), 5), {"/"}),
        (Inquiry(ask), set()),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Part) else "",
)
def test_a_part_is_read_ahead_with_its_parents(part: Part, uris: set[str]) -> None:
    assert Command((part,)).uris() == uris


def test_a_command_is_read_ahead_as_all_of_its_parts() -> None:
    parts = (Remove(target("/buckets/a")), Inquiry(ask), Remove(target(f"{BUCKET}/groups/g")))
    assert Command(parts).uris() == {"/", "/buckets/a", BUCKET, f"{BUCKET}/groups/g"}
