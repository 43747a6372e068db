import io
import json
from typing import Any

import pytest

from server.core.commands import Ensure
from server.core.paths import object_path
from server.storage.base import StorageOptions
from server.storage.memory import MemoryStorage, open_memory
from server.transfer import exporter as exporters
from server.transfer.exporter import BucketMissing, Exporter, Selection
from server.transfer.lines import LineSource
from tests.server.storage.scenes import ALICE, delete, put
from tests.server.transfer.conftest import WriteLines
from tests.server.transfer.stocks import BUCKET, COLLECTION, RECORDS, STOCK, commit, load, row

pytestmark = pytest.mark.gen_test

ACCOUNT = {
    "uri": "/accounts/a",
    "data": {"id": "a", "last_modified": 5, "password": "$2b$04$hash"},
    "permissions": {"write": ["account:a"]},
}


async def export(storage: MemoryStorage, *buckets: str, accounts: bool = False) -> list[Any]:
    """The lines but for the header."""
    output = io.BytesIO()
    await Exporter(storage, output, Selection(buckets, accounts)).run()
    header, *rest = [json.loads(line) for line in output.getvalue().splitlines()]
    assert header["kintoun"]["format"] == 1
    return rest


async def test_what_was_loaded_is_exported_in_an_order_in_which_it_can_be_loaded(
    storage: MemoryStorage, write_lines: WriteLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than a page of everything.
    monkeypatch.setattr(exporters, "AT_ONCE", 2)
    many = [row(f"{RECORDS}/m{n}", 400 + n // 3, {}) for n in range(9)]
    await load(storage, LineSource(write_lines(*STOCK[:8], *many)))
    lines = await export(storage)
    uris = [line["uri"] for line in lines]
    assert uris[:5] == [BUCKET, f"{BUCKET}/groups/g", f"{BUCKET}/groups/h", f"{BUCKET}/groups"] + [
        COLLECTION
    ]
    assert uris[5:17] == [f"{RECORDS}/r{n}" for n in (1, 2, 3)] + [
        f"{RECORDS}/m{n}" for n in range(9)
    ]
    assert uris[17:] == [RECORDS, f"{BUCKET}/collections", "/buckets"]


async def test_export_that_is_loaded_is_exported_as_the_same(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    await load(storage, LineSource(write_lines(*STOCK, ACCOUNT)), accounts=True)
    lines = await export(storage, accounts=True)
    other = await open_memory(StorageOptions())
    await load(other, LineSource(write_lines(*lines, name="2")), accounts=True)
    again = await export(other, accounts=True)
    # The clocks of the root are as old as the database.
    strip = ("/buckets", "/accounts")
    assert [one for one in again if one["uri"] not in strip] == [
        one for one in lines if one["uri"] not in strip
    ]
    assert ACCOUNT in again


async def test_accounts_are_exported_only_where_they_are_asked_for(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    await load(storage, LineSource(write_lines(ACCOUNT)), accounts=True)
    assert [one["uri"] for one in await export(storage)] == ["/buckets"]


async def test_only_the_buckets_that_are_wanted_are_exported(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    await load(storage, LineSource(write_lines(row(BUCKET, 1, {}), row("/buckets/x", 2, {}))))
    uris = [one["uri"] for one in await export(storage, "x")]
    assert uris == ["/buckets/x", "/buckets/x/groups", "/buckets/x/collections"]
    with pytest.raises(BucketMissing, match="no bucket nothing"):
        await export(storage, "nothing")


async def test_what_lay_in_a_former_collection_is_not_exported(storage: MemoryStorage) -> None:
    loaded = [put(COLLECTION), put(f"{RECORDS}/r"), delete(COLLECTION), put(COLLECTION)]
    await commit(storage, Ensure(ALICE, object_path(BUCKET)), *loaded)
    uris = [one["uri"] for one in await export(storage)]
    assert RECORDS in uris
    assert f"{RECORDS}/r" not in uris


async def test_each_object_is_seen_with_its_text(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    await load(storage, LineSource(write_lines(*STOCK)))
    seen = {}

    async def see(uri: str, text: bytes) -> None:
        seen[uri] = json.loads(text)

    await Exporter(storage, io.BytesIO(), Selection(), see).run()
    assert seen[f"{RECORDS}/r1"]["n"] == 1
    assert f"{RECORDS}/r2" not in seen
