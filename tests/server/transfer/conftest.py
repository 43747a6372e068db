"""Fixtures of what moves: storages in memory, and a file that a test writes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from server.core.json_text import dump_json
from server.storage.base import StorageOptions
from server.storage.memory import MemoryStorage, open_memory

WriteLines = Callable[..., Path]
"""``write_lines(object, …)``: a file with a line of JSON for each; text is written as it is."""


@pytest.fixture
def storage(io_loop: IOLoop) -> Iterator[MemoryStorage]:
    opened: MemoryStorage = io_loop.run_sync(lambda: open_memory(StorageOptions()))
    yield opened
    io_loop.run_sync(opened.close)


@pytest.fixture
def write_lines(tmp_path: Path) -> WriteLines:
    def write(*lines: Any, name: str = "in.jsonl") -> Path:
        path = tmp_path / name
        texts = [one.encode() if isinstance(one, str) else dump_json(one) for one in lines]
        path.write_bytes(b"".join(text + b"\n" for text in texts))
        return path

    return write
