from typing import Any

import pytest

from server.storage.memory import MemoryStorage
from server.transfer.checks import Check
from server.transfer.lines import LineSource
from tests.server.storage.scenes import delete, put
from tests.server.transfer.conftest import WriteLines
from tests.server.transfer.stocks import BUCKET, RECORDS, STOCK, commit, load, row, tombstone

pytestmark = pytest.mark.gen_test

OWNED = (row(BUCKET, 100, {"write": ["basicauth:alice"]}), *STOCK[1:])


async def compare(storage: MemoryStorage, source: LineSource, *, accounts: bool = False) -> Any:
    told: list[str] = []
    check = Check(storage, source, accounts, told.append)
    await check.run()
    assert check.differences == len(told)
    return check.compared, told


async def test_what_was_just_loaded_does_not_differ(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    source = LineSource(write_lines(*STOCK))
    await load(storage, source)
    assert await compare(storage, source) == (7, [])


async def test_nothing_of_what_is_not_here_is_passed_over(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    _, told = await compare(storage, LineSource(write_lines(*STOCK)))
    assert told == [
        f"{BUCKET}: is not here",
        f"{BUCKET}/groups/g: is not here",
        f"{BUCKET}/groups: there is no such list here",
        f"{BUCKET}/collections/c: is not here",
        f"{RECORDS}/r1: is not here",
        f"{RECORDS}/r3: is not here",
        f"{RECORDS}: there is no such list here",
        f"{BUCKET}/collections: there is no such list here",
    ]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (row(f"{RECORDS}/r1", 300, {"write": ["account:b"]}, n=2), "its data"),
        (row(f"{RECORDS}/r1", 300, {"write": ["account:c"]}, n=1), "its permissions"),
        (row(f"{RECORDS}/r1", 299, {"write": ["account:b"]}, n=1), "its date (300 here, 299 at"),
        (row(f"{RECORDS}/r1", 299, {}, n=2), "its data, its permissions, its date"),
        (tombstone(f"{RECORDS}/r1", 400), "exists here, and was deleted at the source"),
        (row(f"{RECORDS}/r2", 300), "is not here"),
    ],
)
async def test_difference_is_told_with_its_kind(
    storage: MemoryStorage, write_lines: WriteLines, other: Any, reason: str
) -> None:
    await load(storage, LineSource(write_lines(*STOCK)))
    _, (line,) = await compare(storage, LineSource(write_lines(other, name="other.jsonl")))
    assert line.startswith(other["uri"])
    assert reason in line


async def test_object_that_is_only_here_makes_the_counts_differ(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    source = LineSource(write_lines(*OWNED))
    await load(storage, source)
    await commit(storage, put(f"{RECORDS}/mine"))
    _, told = await compare(storage, source)
    assert told == [f"{RECORDS}: 3 objects here, 2 at the source"]


async def test_list_whose_timestamp_is_behind_is_told(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    await load(storage, LineSource(write_lines(*STOCK)))
    ahead = LineSource(write_lines(*STOCK[5:8], {"uri": RECORDS, "timestamp": 303}, name="2"))
    _, told = await compare(storage, ahead)
    assert told == [f"{RECORDS}: its timestamp is behind the source's"]


async def test_what_was_deleted_here_is_missed(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    source = LineSource(write_lines(*OWNED))
    await load(storage, source)
    await commit(storage, delete(f"{RECORDS}/r3"))
    _, told = await compare(storage, source)
    assert f"{RECORDS}/r3: is not here" in told


async def test_passwords_are_compared_where_accounts_are(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    account = {"uri": "/accounts/a", "data": {"password": "$2b$1", "last_modified": 5}}
    await load(storage, LineSource(write_lines(account)), accounts=True)
    account["data"] = {"password": "$2b$2", "last_modified": 5}
    other = LineSource(write_lines(account, name="other"))
    assert await compare(storage, other) == (0, [])
    _, (line,) = await compare(storage, other, accounts=True)
    assert "its password" in line
    assert "$2b" not in line
