import asyncio
from typing import Any

import pytest

from server.core.commands import Command
from server.core.errors import Forbidden, InvalidParameters, ObjectMissing, ParentMissing
from server.core.paths import object_path
from server.core.schemas import Schema
from server.service import schema_checks
from server.service.schema_checks import Report, check_records
from server.storage.base import Storage
from tests.server.storage.scenes import ALICE, BOB, RULES, delete, patch, put

pytestmark = pytest.mark.gen_test(timeout=60)

BUCKET = "/buckets/b"
COLLECTION = f"{BUCKET}/collections/c"
SCHEMA = Schema({"properties": {"n": {"maximum": 2}}}, "record")


async def fill(storage: Storage, count: int) -> None:
    """Records that hold 0, 1, 2 and so on."""
    await storage.commit(Command((put(BUCKET), put(COLLECTION))))
    parts = tuple(put(f"{COLLECTION}/records/r{n}", {"n": n}) for n in range(count))
    await storage.commit(Command(parts))


async def check(storage: Storage, uri: str = COLLECTION, by: Any = ALICE) -> Report:
    async with storage.snapshot() as snapshot:
        return await check_records(snapshot, RULES, by, object_path(uri), SCHEMA)


async def test_every_record_is_checked_whatever_the_size_of_the_parts(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_checks, "_AT_ONCE", 3)
    monkeypatch.setattr(schema_checks, "EXAMPLES_MAX", 4)
    await fill(storage, 10)
    report = await check(storage)
    assert (report.total, report.failing) == (10, 7)
    assert [name for name, _ in report.examples] == ["r9", "r8", "r7", "r6"]
    assert report.body()["examples"][0]["details"][0]["name"] == "n"


async def test_check_is_of_one_instant(storage: Storage) -> None:
    await fill(storage, 4)
    async with storage.snapshot() as snapshot:
        await snapshot.objects([COLLECTION])
        await storage.commit(
            Command(
                (patch(f"{COLLECTION}/records/r0", {"n": 9}), delete(f"{COLLECTION}/records/r3"))
            )
        )
        report = await check_records(snapshot, RULES, ALICE, object_path(COLLECTION), SCHEMA)
    assert (report.total, report.failing) == (4, 1)
    report = await check(storage)
    assert (report.total, report.failing) == (3, 1)


async def test_check_is_refused_to_who_may_not_write_the_collection(storage: Storage) -> None:
    await fill(storage, 1)
    with pytest.raises(Forbidden):
        await check(storage, by=BOB)
    with pytest.raises(ObjectMissing):
        await check(storage, f"{BUCKET}/collections/none")
    with pytest.raises((Forbidden, ParentMissing)):
        await check(storage, "/buckets/none/collections/c")


async def test_others_have_their_turn_and_a_check_without_end_has_one(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_checks, "_TURN_SECONDS", 0)
    await fill(storage, 50)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    await check(storage)
    counting.cancel()
    assert turns >= 50
    monkeypatch.setattr(schema_checks, "CHECK_SECONDS_MAX", 0)
    with pytest.raises(InvalidParameters, match="would take more than"):
        await check(storage)
