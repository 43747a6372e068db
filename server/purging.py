"""``kintoun purge``: take out of the log what is not to be kept, now."""

import os
import sys
from pathlib import Path

import click

from server.config import Settings, load_settings
from server.core.errors import SyncError
from server.features.history import make_limits
from server.service.retention import Report, Retention
from server.stopping import run_stoppable
from server.storage.base import Storage
from server.transfer.targets import open_target


@click.command("purge")
@click.option("--dry-run", is_flag=True, help="Say what would go; take nothing.")
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
def purge_command(ini: Path | None, data_dir: Path | None, *, dry_run: bool) -> None:
    """Trim the log to what the settings history.* keep, and remove what deletions left.

    Servers do both by themselves, now and then. MONGODB_URI names the MongoDB; without
    it, it is the private one.
    """
    settings = load_settings(os.environ, ini, data_dir=data_dir)
    sys.exit(run_stoppable(_purge(settings, dry_run=dry_run)))


async def _purge(settings: Settings, *, dry_run: bool) -> int:
    async with open_target(settings) as storage:
        try:
            await purge(storage, settings, dry_run=dry_run)
        except SyncError as error:
            raise click.ClickException(f"{error.message} Run it again to go on.") from None
    return 0


async def purge(storage: Storage, settings: Settings, *, dry_run: bool) -> None:
    """Do it, and say what was done.

    Raises:
        SyncError: If the database fails.
    """
    limits = make_limits(settings.history)
    if not limits.is_set:
        click.echo("The log is kept for ever: no history.* setting limits it.")
    else:
        _tell(await Retention(storage, limits, dry_run=dry_run).apply(), dry_run=dry_run)
    if not dry_run:
        click.echo(f"{await storage.purge():,} leftovers of deleted parents removed.")


def _tell(report: Report, *, dry_run: bool) -> None:
    for bucket, count in sorted(report.buckets.items()):
        click.echo(f"{bucket}: {count:,}")
    done = "would be trimmed" if dry_run else "trimmed"
    click.echo(f"{report.entries:,} entries of the log {done}.")
