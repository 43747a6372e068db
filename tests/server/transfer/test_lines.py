import gzip
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from server.transfer.entries import Entry, Problem, Stamp
from server.transfer.lines import (
    LINE_MAX_BYTES,
    LineSource,
    open_output,
    spell_header,
    spell_object,
    spell_stamp,
    spell_tombstone,
)
from server.transfer.sources import SourceError
from tests.server.transfer.conftest import WriteLines
from tests.server.transfer.stocks import BUCKET, STOCK, row

pytestmark = pytest.mark.gen_test


async def read(source: LineSource, marks: Mapping[str, int] | None = None) -> list[Any]:
    return [item async for item in source.read(marks or {})]


async def test_lines_that_are_spelled_are_read_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with open_output(path) as output:
        output.write(spell_header("e1", 5))
        output.write(spell_object(BUCKET, b'{"id":"b","last_modified":5}', {"read": ("x", "y")}))
        output.write(spell_tombstone(f"{BUCKET}/groups/g", b'{"id":"g","last_modified":6}'))
        output.write(spell_stamp(f"{BUCKET}/groups", 7))
    first, second, third = await read(LineSource(path))
    assert isinstance(first, Entry)
    assert (first.content.date, first.content.permissions) == (5, {"read": ("x", "y")})
    assert first.place == "line 2"
    assert second.deleted
    assert isinstance(third, Stamp)


async def test_compressed_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    with open_output(tmp_path / "x.gz") as output:
        output.write(spell_stamp(f"{BUCKET}/groups", 7))
    renamed = (tmp_path / "x.gz").rename(tmp_path / "plain")
    assert gzip.decompress(renamed.read_bytes()).startswith(b'{"uri"')
    (stamp,) = await read(LineSource(renamed))
    assert stamp.timestamp == 7


async def test_bad_line_is_told_with_its_number_and_the_rest_is_read(
    write_lines: WriteLines,
) -> None:
    path = write_lines(row(BUCKET), "{oops", "", row(f"{BUCKET}/groups/g"))
    first, second, third = await read(LineSource(path))
    assert isinstance(first, Entry)
    assert isinstance(second, Problem)
    assert (second.place, "Invalid JSON" in second.reason) == ("line 2", True)
    assert third.place == "line 4"


async def test_line_that_is_too_long_is_passed_over(write_lines: WriteLines) -> None:
    path = write_lines('"' + "x" * (LINE_MAX_BYTES + 5) + '"', row(BUCKET))
    first, second = await read(LineSource(path))
    assert isinstance(first, Problem)
    assert "longer than" in first.reason
    assert isinstance(second, Entry)


async def test_reading_goes_on_after_a_mark(write_lines: WriteLines) -> None:
    path = write_lines(*STOCK)
    everything = await read(LineSource(path))
    rest = await read(LineSource(path), {"line": 4})
    assert rest == everything[4:]


@pytest.mark.parametrize("header", [{"format": 2}, {}, 7])
async def test_file_of_another_format_is_refused(write_lines: WriteLines, header: Any) -> None:
    with pytest.raises(SourceError, match="upgrade first"):
        await read(LineSource(write_lines({"kintoun": header})))


async def test_file_that_is_cut_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(os.urandom(5000))[:-100])
    with pytest.raises(SourceError, match="cannot be read any further"):
        await read(LineSource(path))


async def test_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        LineSource(tmp_path / "nothing")


async def test_key_changes_with_the_file(write_lines: WriteLines) -> None:
    first = LineSource(write_lines(*STOCK)).key
    assert LineSource(write_lines(*STOCK)).key != "" != first
    other = LineSource(write_lines(*STOCK[:-1])).key
    assert other != first


async def test_progress_is_in_bytes_of_the_file(write_lines: WriteLines) -> None:
    source = LineSource(write_lines(*STOCK))
    assert source.progress()[0] == 0
    await read(source)
    done, total = source.progress()
    assert done == total > 0
