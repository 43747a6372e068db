"""live.js, run by Node, told what to do line by line; and what becomes of what it tells."""

import json
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from tests.clients.node import FOLDER, find_node
from tests.processes import die_with_parent

T = TypeVar("T")

DEADLINE_SECONDS = 60.0

ALICE = "Basic YWxpY2U6c2VjcmV0"
BOB = "Basic Ym9iOnNlY3JldA=="


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that live.js told.

    Attributes:
        what: the handler without its "on", or "state".
        of: the name that the test gave to the subscription or connection.
        value: what the handler got.
        cursor: of the subscription at that time.
    """

    what: str
    of: str
    value: dict[str, Any]
    cursor: str | None = None


class Copy:
    """What an app holds that does what live.js tells.

    Attributes:
        records: by id.
        events: cursors of the events since it last began anew.
        resets: why it had to begin anew, each time.
    """

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[int, int]] = []
        self.resets: list[str] = []

    def take(self, what: str, value: dict[str, Any]) -> None:
        """Do what was told.

        Raises:
            AssertionError: If it was told twice, or out of order.
        """
        if what == "reset":
            self.resets.append(value["reason"])
            self.records, self.events = {}, []
        elif what == "snapshot":
            for record in value["data"]:
                assert record["id"] not in self.records, f"told twice: {record}"
                self.records[record["id"]] = record
        elif what == "event":
            position = parse(value["cursor"])
            assert not self.events or position > self.events[-1], f"out of order: {value}"
            self.events.append(position)
            if value["action"] in ("delete", "leave"):
                self.records.pop(value["data"]["id"], None)
            else:
                self.records[value["data"]["id"]] = value["data"]


def parse(cursor: str) -> tuple[int, int]:
    """A cursor as numbers, to be compared."""
    t, _, n = cursor.partition("-")
    return int(t), int(n or 0)


class Follower:
    """A Node process with live.js.

    Attributes:
        reports: all that was told, in order.
    """

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [find_node(), "follower.mjs"],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            preexec_fn=die_with_parent,
        )
        self._heard: dict[str, int] = {}
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.reports.append(Report(**json.loads(line)))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _tell(self, act: str, **members: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"act": act, **members}) + "\n")
        self._process.stdin.flush()

    def connect(self, url: str, of: str = "live", **options: Any) -> None:
        """Call ``connect``; as alice, unless ``authorization`` or ``credentials`` are given."""
        if "credentials" not in options:
            options.setdefault("authorization", ALICE)
        self._tell("connect", of=of, url=url, options=options)

    def subscribe(self, path: str, of: str = "list", on: str = "live", **options: Any) -> None:
        """Call ``subscribe``."""
        self._tell("subscribe", of=of, on=on, path=path, options=options)

    def iterate(self, path: str, of: str = "list", leave_after: str = "", **options: Any) -> None:
        """Subscribe, and read in a loop, which is left after a message of a type."""
        members = {"of": of, "on": "live", "path": path, "options": options}
        self._tell("iterate", **members, leaveAfter=leave_after)

    def end(self, of: str) -> None:
        """Close a subscription or a connection, and wait until that is done."""
        self._tell("close", of=of)
        self.wait_for("closed", of)

    def wait_for(self, what: str, of: str = "list", **members: Any) -> Report:
        """The next such report, after the one of this name that was waited for last.

        Args:
            what: its kind.
            of: its name.
            members: of its value, that it has to have.

        Raises:
            AssertionError: If it does not come within a minute.
        """

        def find() -> Report | None:
            for index in range(self._heard.get(of, 0), len(self.reports)):
                report = self.reports[index]
                has = report.value.get
                if (report.what, report.of) == (what, of) and all(
                    has(name) == value for name, value in members.items()
                ):
                    self._heard[of] = index + 1
                    return report
            return None

        return self.wait_until(find, f"{what} of {of} with {members}")

    def wait_until(self, find: Callable[[], T | None], wanted: str = "what was wanted") -> T:
        """What ``find`` gives, asked after each report, once it is something.

        Raises:
            AssertionError: If that takes more than a minute, or the process ends.
        """
        with self._changed:
            found: list[T] = []

            def look() -> bool:
                value = find()
                if value:
                    found.append(value)
                return bool(value) or self._ended

            self._changed.wait_for(look, DEADLINE_SECONDS)
        if not found:
            self._errors.seek(0)
            told = "\n".join(map(str, self.reports[-40:]))
            pytest.fail(f"no {wanted}:\n{told}\n{self._errors.read().decode()}")
        return found[0]

    def copy(self, of: str = "list") -> Copy:
        """What an app would hold by now."""
        copy = Copy()
        for report in list(self.reports):
            if report.of == of:
                copy.take(report.what, report.value)
        return copy

    def count(self, what: str, of: str = "list") -> int:
        """How many such reports there were."""
        return sum((one.what, one.of) == (what, of) for one in list(self.reports))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._thread.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()
