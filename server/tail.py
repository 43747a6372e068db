"""``kintoun tail``: what changes on a server, as lines of JSON."""

import asyncio
import json
import logging
import os
import select
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

import click

from notifier.follow import Change, FollowOptions, Ready, Refused, Reset, Told, follow
from server.core.targets import PREFIX

DEFAULT_URL = f"http://127.0.0.1:8888{PREFIX}/"

_REFUSED = 1
_BY_SIGNAL = 128
"""Plus its number: the exit code of what a signal has ended."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What is printed.

    Attributes:
        url: the server's root.
        path: of what is followed.
        since: as ``follow`` has it.
        authorization: user and password; None for none.
        options: further ones of ``follow``.
        snapshot: whether objects are printed that are only there.
        count: changes after which it ends; None for no end.
    """

    url: str
    path: str
    since: str | None
    authorization: tuple[str, str] | None
    options: FollowOptions
    snapshot: bool
    count: int | None


def _split_auth(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    user, colon, password = value.partition(":")
    if not colon:
        # Without its value: that may be a password.
        raise click.BadParameter("should be USER:PASSWORD")
    return user, password


def _split_filters(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> Any:
    pairs = [value.partition("=") for value in values]
    if not all(name and equals for name, equals, _ in pairs):
        raise click.BadParameter("should be NAME=VALUE")
    return [f"{quote(name)}={quote(value)}" for name, _, value in pairs]


@click.command()
@click.argument("uri")
@click.option("--since", help="Cursor to go on from; 0 is the beginning.  [default: now]")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    callback=_split_filters,
    metavar="NAME=VALUE",
    help="Only objects that match, as in a query string. May be given several times.",
)
@click.option(
    "--history",
    type=click.Choice(["latest", "all"]),
    default="latest",
    show_default=True,
    help="Of what was missed: each object once, or every revision.",
)
@click.option(
    "--include",
    multiple=True,
    type=click.Choice(["permissions", "user_id", "old"]),
    help="What else to print of a change. May be given several times.",
)
@click.option(
    "--snapshot/--no-snapshot",
    default=None,
    help="Print the objects that are there, first and after a reset.  [default: only after a reset"
    " of what --since asked for]",
)
@click.option("--wait", is_flag=True, help="Wait for access, or for the path to come to be.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many changes.")
@click.option(
    "--url",
    envvar="KINTOUN_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="Root of the server, where URI is only a path.",
)
@click.option(
    "--auth",
    envvar="KINTOUN_AUTH",
    callback=_split_auth,
    metavar="USER:PASSWORD",
    show_envvar=True,
    help="Who follows; nobody in particular without.",
)
def tail(uri: str, url: str, **given: Any) -> None:
    """Print what changes at URI, a line of JSON each, until it is stopped.

    URI is a list, an object, or /buckets/ID/changes: a path, or a whole address.
    """
    sys.exit(_run(_read_tail(uri, url, **given)))


def _read_tail(uri: str, url: str, *, filters: list[str], **given: Any) -> Tail:
    """What the command line asks for.

    Raises:
        click.UsageError: If it makes no sense.
    """
    root, path = _split_uri(uri, url)
    since, snapshot = given["since"], given["snapshot"]
    if since is None and not snapshot:
        since = "now"
    elif since is not None and snapshot is None:
        snapshot = True
    options: FollowOptions = {
        "history": given["history"],
        "include": given["include"],
        "wait": given["wait"],
    }
    if filters:
        path += ("&" if "?" in path else "?") + "&".join(filters)
    return Tail(root, path, since, given["auth"], options, bool(snapshot), given["count"])


def _split_uri(uri: str, url: str) -> tuple[str, str]:
    """The server's root and the path of ``uri``.

    Raises:
        click.BadParameter: If it is neither an address of the API nor a path.
    """
    if uri.startswith("/"):
        return url, uri
    parts = urlsplit(uri)
    prefix, found, _ = parts.path.partition(f"{PREFIX}/")
    if parts.scheme not in ("http", "https") or not found:
        raise click.BadParameter(
            f"should be a path, or an address with {PREFIX}/ in it", param_hint="URI"
        )
    root = f"{parts.scheme}://{parts.netloc}{prefix}{PREFIX}"
    return root, uri[len(root) :]


def _run(wanted: Tail) -> int:
    """Print until it is over; the exit code."""
    # The loop of the process, if there is one, stays as it is.
    with _notes_on_trouble(), asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        try:
            return runner.run(_until_stopped(wanted))
        except Refused as error:
            number = f", errno {error.errno}" if error.errno else ""
            _note(f"{error.message} ({error.code}{number})")
            return _REFUSED
        except ValueError as error:
            raise click.UsageError(str(error)) from None


def _note(line: str) -> None:
    click.echo(f"kintoun: {line}", err=True)


class _Notes(logging.Handler):
    """What happens to the connection, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        _note(record.getMessage())


@contextmanager
def _notes_on_trouble() -> Iterator[None]:
    log = logging.getLogger(follow.__module__)
    notes, level = _Notes(), log.level
    log.addHandler(notes)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(notes)
        log.setLevel(level)


async def _until_stopped(wanted: Tail) -> int:
    """Print until it is over, or somebody stops it; the exit code."""
    output = Output(sys.stdout)
    task = asyncio.ensure_future(_print(wanted, output))
    loop = asyncio.get_running_loop()
    codes: list[int] = []

    def stop(code: int) -> None:
        if not codes:
            codes.append(code)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, _BY_SIGNAL + number)
    output.when_abandoned(stop, 0)
    await asyncio.wait({task})
    if task.cancelled():
        return codes[0]
    # Nobody reads on.
    with suppress(BrokenPipeError):
        task.result()
    return 0


async def _print(wanted: Tail, output: "Output") -> None:
    """Print until there were enough changes."""
    left = wanted.count
    told = follow(
        wanted.url,
        wanted.path,
        since=wanted.since,
        authorization=wanted.authorization,
        **wanted.options,
    )
    async with aclosing(told):
        async for one in told:
            if isinstance(one, Ready):
                _note(f"following {wanted.path} from {one.cursor}")
            line = _spell(one, snapshot=wanted.snapshot)
            if line is None:
                continue
            await output.write(line)
            if left is not None and isinstance(one, Change):
                left -= 1
                if not left:
                    return


def _spell(told: Told, *, snapshot: bool) -> str | None:
    """The line for what was told; None if there is none."""
    if isinstance(told, Reset):
        return json.dumps({"action": "reset", "reason": told.reason})
    if not isinstance(told, Change) or (told.action == "snapshot" and not snapshot):
        return None
    names = ("action", "cursor", "uri", "resource_name", "reason", "data")
    extra = ("permissions", "user_id", "old")
    members = {name: getattr(told, name) for name in names + extra}
    kept = {name: value for name, value in members.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False)


class Output:
    """Standard output, which never makes the event loop stand still.

    A pipe that nobody empties would: neither would a signal be heard then, nor the server
    be answered.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._descriptor: int | None = None
        with suppress(OSError, ValueError):
            self._descriptor = stream.fileno()

    def when_abandoned(self, tell: Callable[[int], None], code: int) -> None:
        """Have it told when nobody reads on, also while nothing is written."""
        fd = self._descriptor
        if fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode):
            loop = asyncio.get_running_loop()

            def abandoned() -> None:
                loop.remove_reader(fd)
                tell(code)

            # All that can happen to this end of a pipe is the end of the other.
            loop.add_reader(fd, abandoned)

    async def write(self, line: str) -> None:
        """Print a line.

        Raises:
            BrokenPipeError: If nobody reads on.
        """
        if self._descriptor is None:
            self._stream.write(line + "\n")
            self._stream.flush()
            return
        left = f"{line}\n".encode("utf-8", "backslashreplace")
        while left:
            await self._wait_for_room(self._descriptor)
            # What has room for anything has room for so much.
            left = left[os.write(self._descriptor, left[: select.PIPE_BUF]) :]

    async def _wait_for_room(self, descriptor: int) -> None:
        if select.select((), (descriptor,), (), 0)[1]:
            return
        loop = asyncio.get_running_loop()
        room = asyncio.Event()
        loop.add_writer(descriptor, room.set)
        try:
            await room.wait()
        finally:
            loop.remove_writer(descriptor)
