import asyncio
import io

import pytest
from rich.console import Console

from server.transfer.progress import show_progress

pytestmark = pytest.mark.gen_test


class Asked:
    """How much was done; tells that it was asked."""

    def __init__(self) -> None:
        self.twice = asyncio.Event()
        self.times = 0

    def __call__(self) -> tuple[int, int, int]:
        self.times += 1
        if self.times == 2:
            self.twice.set()
        return 50, 200, 1234


async def test_lines_are_printed_where_there_is_no_terminal() -> None:
    asked, text = Asked(), io.StringIO()
    async with show_progress(Console(file=text), "Import", asked, seconds=0.01):
        await asked.twice.wait()
    assert text.getvalue().startswith("Import: 25 %, 1,234 objects, ")


async def test_bar_is_drawn_on_a_terminal_and_goes_away() -> None:
    asked, text = Asked(), io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    async with show_progress(console, "Import", asked):
        await asked.twice.wait()
    assert "1,234 objects" in text.getvalue()
    assert text.getvalue().endswith("\x1b[2K")


async def test_nothing_is_printed_of_what_is_over_at_once() -> None:
    text = io.StringIO()
    async with show_progress(Console(file=text), "Import", Asked()):
        pass
    assert text.getvalue() == ""
