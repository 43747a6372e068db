"""``kintoun export``: what is stored, as lines of JSON."""

import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from server.config import Settings, load_settings
from server.core.errors import Unavailable
from server.stopping import run_stoppable
from server.storage.base import Storage
from server.storage.files.base import FileGone
from server.transfer.exporter import BucketMissing, Exporter, Selection
from server.transfer.file_exports import FileExporter
from server.transfer.files import open_files
from server.transfer.lines import STANDARD, open_output
from server.transfer.progress import show_progress
from server.transfer.targets import open_target


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=STANDARD)
@click.option("--bucket", "buckets", multiple=True, metavar="ID", help="Only this; repeatable.")
@click.option(
    "--attachments",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy the files of records to this folder.",
)
@click.option("--accounts", is_flag=True, help="Accounts too, with the hashes of their passwords.")
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
    help="Ini file with the server's settings.",
)
def export_command(file: Path, **given: Any) -> None:
    """Write all buckets to FILE, or to standard output without one.

    A line of JSON an object, all of one instant; compressed if FILE ends in .gz.
    MONGODB_URI names the MongoDB; without it, it is the private one.
    """
    sys.exit(run_stoppable(_export(file, **given)))


async def _export(
    file: Path,
    *,
    folder: Path | None,
    ini: Path | None,
    data_dir: Path | None,
    **selected: Any,
) -> int:
    console = Console(stderr=True)
    settings = load_settings(os.environ, ini, data_dir=data_dir)
    selection = Selection(selected["buckets"], selected["accounts"])
    async with open_target(settings) as storage:
        try:
            files = None if folder is None else await _open_files(settings, storage, folder)
            with open_output(file) as output:
                exporter = Exporter(storage, output, selection, files.see if files else None)
                async with show_progress(console, "Export", lambda: (0, 0, exporter.written)):
                    await exporter.run()
        except (BucketMissing, FileGone, OSError) as error:
            raise click.ClickException(str(error)) from None
        except Unavailable as error:
            raise click.ClickException(f"{error.message} The file is not complete.") from None
    click.echo(f"{exporter.written:,} objects written.", err=True)
    return _tell_of_files(files) if files else 0


async def _open_files(settings: Settings, storage: Storage, folder: Path) -> FileExporter:
    store = await open_files(settings, storage)
    if store is None:
        raise click.ClickException("This storage keeps no files: leave --attachments out.")
    return FileExporter(store, folder)


def _tell_of_files(files: FileExporter) -> int:
    click.echo(f"{files.copied:,} files copied.", err=True)
    for uri in files.missing:
        click.echo(f"{uri}: the file that it names is not here.", err=True)
    return 1 if files.missing else 0
