"""``kintoun import``: what a Kinto or a file holds, into the storage."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console

from server.config import Settings, load_settings
from server.core.errors import Unavailable
from server.stopping import run_stoppable
from server.storage.base import Storage
from server.transfer.checks import Check
from server.transfer.files import Files, Origin, find_base, open_files
from server.transfer.kinto import KintoSource, Wanted
from server.transfer.kinto_client import Credentials, KintoClient
from server.transfer.lines import LineSource
from server.transfer.progress import show_progress
from server.transfer.sources import Source, SourceError
from server.transfer.targets import open_target
from server.transfer.writer import Loading, Writer


@dataclass(frozen=True, slots=True)
class Import:
    """What the command line asks for.

    Attributes:
        source: what is read.
        settings: of the server whose storage it goes to.
        loading: how.
        restart: whether it begins anew though it was broken off.
        check: whether both sides are compared afterwards.
        attachments: where files lie; None for where the source says.
        headers: for requests to the source.
        console: standard error.
    """

    source: Source
    settings: Settings
    loading: Loading
    restart: bool
    check: bool
    attachments: str | None
    headers: Mapping[str, str]
    console: Console


def _split_auth(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, str] | None:
    if value is None:
        return None
    user, colon, password = value.partition(":")
    if not colon:
        # Without its value: that may be a password.
        raise click.BadParameter("should be USER:PASSWORD")
    return user, password


@click.command("import")
@click.argument("source")
@click.option(
    "--auth",
    envvar="KINTOUN_AUTH",
    callback=_split_auth,
    metavar="USER:PASSWORD",
    show_envvar=True,
    help="Who reads the Kinto.",
)
@click.option(
    "--bearer",
    envvar="KINTOUN_BEARER",
    metavar="TOKEN",
    show_envvar=True,
    help="The same by a token.",
)
@click.option("--bucket", "buckets", multiple=True, metavar="ID", help="Only this; repeatable.")
@click.option("--accounts", is_flag=True, help="Accounts too, with the hashes of their passwords.")
@click.option(
    "--attachments",
    metavar="PLACE",
    help="Where the files of records lie: an address, a folder, or none to leave them there."
    "  [default: where a Kinto says]",
)
@click.option("--overwrite", is_flag=True, help="Also replace what was changed later here.")
@click.option("--dry-run", is_flag=True, help="Write nothing; only tell what would be done.")
@click.option("--restart", is_flag=True, help="Begin anew even if it was broken off before.")
@click.option("--check/--no-check", default=True, help="Compare both sides at the end.")
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
def import_command(**given: Any) -> None:
    """Load all that SOURCE holds: the address of a Kinto, or a file of kintoun export.

    Buckets, groups, collections, records and tombstones, with their permissions and dates.
    Broken off, it goes on where it was; done again, it changes only what has changed.
    MONGODB_URI names the MongoDB; without it, it is the private one.
    """
    sys.exit(run_stoppable(_import(_read_import(**given))))


def _read_import(
    *, ini: Path | None, data_dir: Path | None, check: bool, restart: bool, **given: Any
) -> Import:
    console = Console(stderr=True)

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    try:
        source = _open_source(**given)
    except SourceError as error:
        raise click.UsageError(str(error)) from None
    loading = Loading(given["overwrite"], given["dry_run"], given["accounts"], tell)
    settings = load_settings(os.environ, ini, data_dir=data_dir)
    is_checked = check and not loading.dry_run
    headers = _credentials(given["auth"], given["bearer"]).header()
    place = given["attachments"]
    return Import(source, settings, loading, restart, is_checked, place, headers, console)


def _open_source(
    source: str,
    auth: tuple[str, str] | None,
    bearer: str | None,
    buckets: tuple[str, ...],
    accounts: bool,
    **_: Any,
) -> Source:
    if not source.startswith(("http://", "https://")):
        if buckets:
            raise click.UsageError("--bucket is for a Kinto; a file is loaded whole.")
        return LineSource(Path(source))
    client = KintoClient(source, _credentials(auth, bearer))
    return KintoSource(client, Wanted(buckets, accounts))


def _credentials(auth: tuple[str, str] | None, bearer: str | None) -> Credentials:
    user, password = auth or ("", "")
    return Credentials(user, password, bearer or "")


async def _import(wanted: Import) -> int:
    async with open_target(wanted.settings) as storage:
        try:
            wanted = await _with_files(wanted, storage)
            writer = Writer(storage, wanted.source, wanted.loading)
            is_good = await _load(wanted, writer)
            if wanted.check:
                is_good = await _check(wanted, storage) and is_good
        except SourceError as error:
            raise click.ClickException(str(error)) from None
        except Unavailable as error:
            raise click.ClickException(f"{error.message} Run it again to go on.") from None
    return 0 if is_good else 1


async def _with_files(wanted: Import, storage: Storage) -> Import:
    """The same with the files of its records, where it is known where they lie."""
    place, headers = wanted.attachments, {}
    if place is None and isinstance(wanted.source, KintoSource):
        place = await wanted.source.say_hello()
        # To nobody but the source.
        if place and urlsplit(place).netloc == urlsplit(wanted.source.name).netloc:
            headers = dict(wanted.headers)
    if place is None or place == "none":
        return wanted
    store = await open_files(wanted.settings, storage)
    if store is None:
        raise SourceError("There is no place for files here: set attachment.base_path.")
    base = find_base(wanted.settings)
    if base is None:
        wanted.loading.tell(
            "Locations of files stay as they are: set attachment.base_url, or http_host and"
            " http_scheme, to have them changed to where this server will serve them."
        )
    is_address = place.startswith(("http://", "https://"))
    slashed = f"{place.rstrip('/')}/" if is_address else place
    files = Files(store, Origin(slashed, headers), base)
    return replace(wanted, loading=replace(wanted.loading, files=files))


async def _load(wanted: Import, writer: Writer) -> bool:
    """Load everything; whether nothing was refused."""
    tell = wanted.loading.tell
    if wanted.restart:
        await writer.forget()
    elif await writer.resume():
        tell("Going on where the last import of this source was broken off.")
    async with show_progress(
        wanted.console, "Import", lambda: (*wanted.source.progress(), writer.tally.total)
    ):
        await writer.run()
    tally = writer.tally
    tell(("Would be: " if wanted.loading.dry_run else "Loaded: ") + tally.spell() + ".")
    if tally.hidden:
        tell(
            f"The permissions of {tally.hidden:,} objects were not shown to this user, and are"
            " what they were here."
        )
    return not tally.failed


async def _check(wanted: Import, storage: Storage) -> bool:
    """Compare both sides; whether nothing differs."""
    tell = wanted.loading.tell
    if not wanted.source.is_repeatable:
        tell("Not compared: what was piped in cannot be read again.")
        return True
    loading = wanted.loading
    check = Check(storage, wanted.source, loading.accounts, tell, loading.files)
    async with show_progress(
        wanted.console, "Compare", lambda: (*wanted.source.progress(), check.compared)
    ):
        await check.run()
    found = f"{check.differences:,} differences" if check.differences else "no difference"
    tell(f"Compared: {check.compared:,} objects, {found}.")
    return not check.differences
