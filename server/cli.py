"""The command line: from its options to a running server, and to one sentence if it cannot run."""

import asyncio
import dataclasses
import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import click

from server.app import open_server
from server.config import Settings, StartupError, load_settings
from server.creating import create_user
from server.exporting import export_command
from server.importing import import_command
from server.logs import set_up_log
from server.purging import purge_command
from server.reloading import run_reloading
from server.storage.base import StorageError
from server.storage.mongo.embedded import EmbeddedError, EmbeddedMongo, start_mongod
from server.tail import tail
from server.webhooks.command import webhooks


def main() -> None:
    """Run the command; whatever stops it at its start is one line on standard error."""
    try:
        commands(prog_name="kintoun")
    except (StartupError, StorageError) as error:
        click.echo(f"kintoun: {error}", err=True)
        sys.exit(1)


@click.group()
def commands() -> None:
    """A JSON storage and sync server that Kinto's clients can use unchanged."""


commands.add_command(tail)
commands.add_command(create_user)
commands.add_command(import_command)
commands.add_command(export_command)
commands.add_command(purge_command)
commands.add_command(webhooks)


@commands.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="TCP port; 0 takes a free one.  [default: 8888]")
@click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the private MongoDB's data.  [default: ./data]",
)
@click.option(
    "--ini",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="KINTO_INI",
    help="Ini file of a Kinto; its section [app:main] is read.",
)
@click.option("--storage", "storage_backend", help="Backend: mongo or memory.  [default: mongo]")
@click.option("--reload", is_flag=True, help="Start again whenever a source file changes.")
def serve(ini: Path | None, *, reload: bool, **options: str | int | Path | None) -> None:
    """Serve the API until Ctrl-C or SIGTERM.

    MONGODB_URI names the MongoDB; without it, a private one is started.
    """
    if reload:
        sys.exit(run_reloading([word for word in sys.argv[1:] if word != "--reload"]))
    settings = load_settings(os.environ, ini, warn=_warn, **options)
    set_up_log(settings.log_format)
    with asyncio.Runner(loop_factory=_find_loop_factory()) as runner:
        runner.run(_serve(settings))


def _warn(line: str) -> None:
    click.echo(f"kintoun: {line}", err=True)


def _find_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where that is installed; else asyncio's own."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(settings: Settings) -> None:
    serving = asyncio.ensure_future(_serve_until_cancelled(settings))
    stop = _cancel_once(serving)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    # Returns normally when a signal cancelled it, wherever it was: also while starting.
    await asyncio.wait({serving})
    if not serving.cancelled():
        serving.result()


def _cancel_once(task: asyncio.Future[None]) -> Callable[[], None]:
    """A second Ctrl-C must not interrupt the clean end that the first one began."""
    asked = False

    def cancel() -> None:
        nonlocal asked
        if not asked:
            asked = True
            task.cancel()

    return cancel


async def _serve_until_cancelled(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        mongo: EmbeddedMongo | None = None
        if settings.storage_backend == "mongo" and settings.mongodb_uri is None:
            mongo = await start_mongod(settings.data_dir, binary=settings.mongod_path)
            stack.push_async_callback(mongo.stop)
            settings = dataclasses.replace(settings, mongodb_uri=mongo.uri)
        if mongo or settings.storage_backend == "memory":
            settings = _serve_webhooks(settings)
        server = await open_server(settings)
        stack.push_async_callback(server.stop)
        if mongo:
            mongo.folder.announce(server.url)
        _greet(settings, server.url, mongo)
        relax_collector()
        await _wait_for_ever(mongo)


def relax_collector() -> None:
    """Let the garbage collector look less often, and never at what was made at the start.

    A batch makes thousands of objects, nearly all of which are gone with it, without a
    cycle: looking for cycles each 700 of them took a fifth of the time of a write.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _serve_webhooks(settings: Settings) -> Settings:
    """The settings of a server whose database no other process can reach."""
    webhooks = dataclasses.replace(settings.webhooks, in_server=True)
    return dataclasses.replace(settings, webhooks=webhooks)


def _greet(settings: Settings, url: str, mongo: EmbeddedMongo | None) -> None:
    """Say where it listens, where the data lie, and how to try it."""
    click.echo(f"Kintoun listens on {url}")
    click.echo(f"Data: {_describe_data(settings, mongo)}")
    click.echo(f"Try:  {_example(settings, url)}")
    # A reader of the pipe waits for these lines.
    sys.stdout.flush()


def _describe_data(settings: Settings, mongo: EmbeddedMongo | None) -> str:
    if mongo:
        return f"{mongo.folder.path} (private MongoDB)"
    if settings.storage_backend == "memory":
        return "in memory, gone when the server ends"
    if settings.mongodb_uri is None or settings.storage_backend != "mongo":
        return f"storage {settings.storage_backend}"
    # Without user and password.
    place = settings.mongodb_uri.split("://", 1)[1].rsplit("@", 1)[-1]
    hosts = place.split("/", 1)[0].split("?", 1)[0]
    return f"database {settings.mongodb_database} of MongoDB at {hosts}"


def _example(settings: Settings, url: str) -> str:
    """A curl line that works with these settings."""
    anybody = {"system.Authenticated", "system.Everyone"}
    may_create = settings.principals.get("bucket:create", frozenset()) & anybody
    if settings.readonly or not may_create or "basicauth" not in settings.policies.values():
        return f"curl {url}"
    return f"curl -X PUT -u alice:secret {url}buckets/first"


async def _wait_for_ever(mongo: EmbeddedMongo | None) -> None:
    if mongo is None:
        await asyncio.Event().wait()
        return
    code = await mongo.wait()
    raise EmbeddedError(f"mongod ended (exit code {code}): see {mongo.folder.log}.")
