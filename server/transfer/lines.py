"""JSON lines: the file that an export writes, and an import reads."""

import asyncio
import gzip
import hashlib
import io
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, aclosing, suppress
from pathlib import Path
from typing import IO, Any

from server.core.json_text import BadJSON, dump_json, parse_json
from server.core.objects import Permissions
from server.transfer.entries import Item, Problem, parse_item
from server.transfer.sources import SourceError

FORMAT = 1
"""Version of the lines; a later one may add members."""

STANDARD = Path("-")
"""Stands for standard input and output."""

LINE_MAX_BYTES = 32 << 20
"""Of one line: a text of the largest object may be escaped, and its permissions come on top."""

_CHUNK_BYTES = 1 << 20
_LINE = "line"


def spell_header(epoch: str, date: int) -> bytes:
    """The first line of a file.

    Args:
        epoch: of the database.
        date: when it was read, in ms.
    """
    return dump_json({"kintoun": {"format": FORMAT, "epoch": epoch, "date": date}}) + b"\n"


def spell_object(uri: str, text: bytes, permissions: Permissions) -> bytes:
    """The line of an object: its own text as it is stored."""
    parts = (
        dump_json(uri),
        text,
        dump_json({name: list(who) for name, who in permissions.items()}),
    )
    return b'{"uri":%b,"data":%b,"permissions":%b}\n' % parts


def spell_tombstone(uri: str, text: bytes) -> bytes:
    """The line of an object that was deleted."""
    return b'{"uri":%b,"data":%b,"deleted":true}\n' % (dump_json(uri), text)


def spell_stamp(uri: str, timestamp: int) -> bytes:
    """The line after the last object of a list.

    Args:
        uri: of the list.
        timestamp: its ETag, in ms.
    """
    return b'{"uri":%b,"timestamp":%d}\n' % (dump_json(uri), timestamp)


def open_output(path: Path) -> IO[bytes]:
    """A new file, compressed if its name ends in ``.gz``; or standard output.

    Raises:
        OSError: If it cannot be written.
    """
    if path == STANDARD:
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    if path.suffix == ".gz":
        # Dates in it would make equal exports unequal.
        return io.BufferedWriter(gzip.GzipFile(path, "wb", compresslevel=6, mtime=0), _CHUNK_BYTES)
    return path.open("wb", buffering=_CHUNK_BYTES)


class LineSource:
    """A file of JSON lines; see ``Source``."""

    def __init__(self, path: Path) -> None:
        """Name the file, which is opened when it is read.

        Args:
            path: gzip is recognised; ``-`` is standard input, which is read once.
        """
        self.name = "standard input" if path == STANDARD else str(path)
        self.is_repeatable = path != STANDARD and not path.is_fifo()
        self.key = _identify(path) if self.is_repeatable else ""
        self._path = path
        self._raw: io.FileIO | None = None
        self._size = path.stat().st_size if self.key else 0
        self._at = 0

    def progress(self) -> tuple[int, int]:
        """Bytes; see ``Source``."""
        return self._at, max(self._size, self._at)

    async def read(self, marks: Mapping[str, int]) -> AsyncGenerator[Item, None]:
        """Objects and timestamps, line by line; see ``Source``."""
        done = marks.get(_LINE, 0)
        number = 0
        async with aclosing(self._chunks()) as chunks:
            async for lines in chunks:
                for line in lines:
                    number += 1
                    if number > done and line.strip():
                        item = _parse_line(line, number)
                        if item is not None:
                            yield item

    async def _chunks(self) -> AsyncGenerator[list[bytes], None]:
        with ExitStack() as stack:
            try:
                stream = self._open(stack)
            except OSError as error:
                raise SourceError(f"{self.name} cannot be read ({error.strerror}).") from None
            async with aclosing(self._read(stream)) as chunks:
                async for lines in chunks:
                    yield lines

    async def _read(self, stream: IO[bytes]) -> AsyncGenerator[list[bytes], None]:
        try:
            # A pipe may let wait; the database must not wait with it.
            while lines := await asyncio.to_thread(_read_lines, stream):
                if self._raw is not None:
                    with suppress(OSError):
                        self._at = self._raw.tell()
                yield lines
        except (OSError, EOFError) as error:
            raise SourceError(f"{self.name} cannot be read any further ({error}).") from None

    def _open(self, stack: ExitStack) -> IO[bytes]:
        """The lines, decompressed; the stack closes them."""
        if self._path == STANDARD:
            raw = io.FileIO(os.dup(sys.stdin.fileno()))
        else:
            raw = self._raw = io.FileIO(self._path)
        buffered = stack.enter_context(io.BufferedReader(raw, _CHUNK_BYTES))
        if buffered.peek(2)[:2] == b"\x1f\x8b":
            unpacked = gzip.GzipFile(fileobj=buffered)
            return stack.enter_context(io.BufferedReader(unpacked, _CHUNK_BYTES))
        return buffered


def _identify(path: Path) -> str:
    """What tells a file from another, and from itself once it was changed."""
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}).") from None
    facts = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(facts.encode()).hexdigest()


def _read_lines(stream: IO[bytes]) -> list[bytes]:
    """The next lines, about a mebibyte; of one that is too long, only its beginning."""
    lines: list[bytes] = []
    size = 0
    while size < _CHUNK_BYTES and (line := stream.readline(LINE_MAX_BYTES)):
        if len(line) == LINE_MAX_BYTES and not line.endswith(b"\n"):
            _skip_line(stream)
        size += len(line)
        lines.append(line)
    return lines


def _skip_line(stream: IO[bytes]) -> None:
    while (piece := stream.readline(_CHUNK_BYTES)) and not piece.endswith(b"\n"):
        pass


def _parse_line(line: bytes, number: int) -> Item | None:
    """What a line holds; None for the header."""
    place, mark = f"line {number}", (_LINE, number)
    if len(line) >= LINE_MAX_BYTES:
        return Problem(place, f"it is longer than {LINE_MAX_BYTES} bytes", mark)
    try:
        value = parse_json(line.strip())
    except BadJSON as error:
        return Problem(place, str(error), mark)
    if number == 1 and isinstance(value, dict) and "kintoun" in value:
        _check_header(value["kintoun"])
        return None
    return parse_item(value, place, mark)


def _check_header(header: Any) -> None:
    version = header.get("format") if isinstance(header, dict) else None
    if version != FORMAT:
        raise SourceError(
            f"The file is of format {version!r}, and this version reads {FORMAT}: upgrade first."
        )
