"""Changes that are kept while somebody reads beside them. Pure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from server.storage.base import Change

MAX_CHANGES = 10_000
MAX_BYTES = 16 << 20
"""Of all that is kept; past that, who reads has to read again."""

_LOST = -1


@dataclass(eq=False, slots=True)
class Hold:
    """Somebody who is reading.

    Attributes:
        start: number of the first change that is kept for them.
        at: instant of the last change that was told before.
    """

    start: int
    at: int


class Backlog:
    """The changes since the first of those began who are reading; none if nobody is."""

    def __init__(self) -> None:
        self._holds: dict[Hold, None] = {}
        self._changes: deque[Change] = deque()
        self._bytes = 0
        self._first = 0

    def __len__(self) -> int:
        """How many changes are kept."""
        return len(self._changes)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody is reading."""
        return bool(self._holds)

    def hold(self, at: int) -> Hold:
        """Keep the changes from now on, until ``release``.

        Args:
            at: instant of the last change that was told.
        """
        hold = Hold(self._first + len(self._changes), at)
        self._holds[hold] = None
        return hold

    def release(self, hold: Hold) -> None:
        """Keep them no more."""
        self._holds.pop(hold, None)
        # The first that came needs the most.
        oldest = next(iter(self._holds), None)
        while self._changes and (oldest is None or self._first < oldest.start):
            self._drop_oldest()

    def keep(self, change: Change) -> None:
        """Keep a change, if anybody is reading."""
        if not self._holds:
            return
        self._changes.append(change)
        self._bytes += _weight(change)
        while len(self._changes) > MAX_CHANGES or self._bytes > MAX_BYTES:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._bytes -= _weight(self._changes.popleft())
        self._first += 1

    def forget(self) -> None:
        """Changes were missed: nobody can go on from what is kept."""
        self._first += len(self._changes)
        self._changes.clear()
        self._bytes = 0
        for hold in self._holds:
            hold.start = _LOST

    def is_current(self, hold: Hold, at: int) -> bool:
        """Whether what was read at an instant, while holding, and what is kept have no gap."""
        return hold.start >= self._first and at >= hold.at

    def since(self, hold: Hold, at: int) -> Iterator[Change]:
        """The changes after an instant; ``is_current``."""
        for index in range(hold.start - self._first, len(self._changes)):
            if self._changes[index].at > at:
                yield self._changes[index]


def _weight(change: Change) -> int:
    revision = change.revision
    return 512 + len(revision.json) + len(revision.before or b"")
