"""``kintoun webhooks``: the process that tells webhooks of changes."""

import asyncio
import os
import signal
from pathlib import Path

import click

from server.app import open_storage
from server.config import Settings, StartupError, load_settings
from server.logs import set_up_log
from server.tasks import end_tasks
from server.webhooks.hooks import Hook, parse_hooks
from server.webhooks.workers import LEASE_SECONDS, Worker


def load_hooks(settings: Settings) -> list[Hook]:
    """The webhooks of the settings.

    Raises:
        StartupError: If one is not understood.
    """
    try:
        return parse_hooks(settings.webhooks.names, settings.webhooks.options)
    except ValueError as error:
        raise StartupError(str(error)) from None


@click.command()
@click.option(
    "--ini",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="KINTO_INI",
    help="Ini file of a Kinto; its section [app:main] is read.",
)
@click.option(
    "--lease-seconds",
    type=click.FloatRange(min=0.5),
    default=LEASE_SECONDS,
    show_default=True,
    help="After which another process takes over from one that was killed.",
)
def webhooks(ini: Path | None, lease_seconds: float) -> None:
    """Tell the webhooks of `event_listeners` of every change, until SIGTERM.

    MONGODB_URI names the MongoDB. Of several such processes one works, and another
    takes over when it ends.
    """
    settings = load_settings(os.environ, ini)
    hooks = load_hooks(settings)
    if not hooks:
        raise StartupError("There is no webhook: name one in event_listeners.")
    if settings.mongodb_uri is None:
        raise StartupError(
            "MONGODB_URI is not set: a server with a database of its own serves its webhooks"
            " itself."
        )
    set_up_log(settings.log_format)
    asyncio.run(_serve(settings, hooks, lease_seconds))


async def _serve(settings: Settings, hooks: list[Hook], lease_seconds: float) -> None:
    storage = await open_storage(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    working = asyncio.ensure_future(Worker(storage, hooks, lease_seconds=lease_seconds).run())
    asked = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        await end_tasks([working, asked])
        await storage.close()
