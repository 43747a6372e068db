"""How far it is: a bar on a terminal, a line now and then elsewhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 5.0
BAR_SECONDS = 0.2

Measure = Callable[[], tuple[int, int, int]]
"""Says what was done and how much there is, of any unit, and how many objects that was."""


@asynccontextmanager
async def show_progress(
    console: Console, title: str, measure: Measure, *, seconds: float = LINE_SECONDS
) -> AsyncIterator[None]:
    """Show how far something is while it runs.

    Args:
        console: standard error; lines that are printed through it do not disturb the bar.
        title: what is done.
        measure: asked again and again.
        seconds: between lines, where there is no terminal.
    """
    work = _draw(console, title, measure) if console.is_terminal else None
    task = asyncio.ensure_future(work or _print(console, title, measure, seconds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _draw(console: Console, title: str, measure: Measure) -> None:
    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[objects]:,} objects, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, objects=0, rate=0.0)
        while True:
            done, total, objects = measure()
            rate = objects / max(time.monotonic() - began, 0.001)
            bar.update(task, completed=done, total=total or None, objects=objects, rate=rate)
            await asyncio.sleep(BAR_SECONDS)


async def _print(console: Console, title: str, measure: Measure, seconds: float) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(seconds)
        done, total, objects = measure()
        share = f"{100 * done // total} %, " if total else ""
        rate = objects / (time.monotonic() - began)
        line = f"{title}: {share}{objects:,} objects, {rate:,.0f}/s"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
