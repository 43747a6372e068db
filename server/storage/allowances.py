"""How much a page may hold: a number of entries, and of bytes of their texts."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from server.core.objects import Listed
from server.core.revisions import Revision
from server.storage.base import LogPage, Page

T = TypeVar("T")


class Allowance(Generic[T]):
    """What a page has room for yet.

    The entry that goes beyond the bytes is in the page, and none after it: so
    a page is never empty because its first entry is large.
    """

    def __init__(self, limit: int, max_bytes: int | None, weigh: Callable[[T], int]) -> None:
        """Begin with an empty page.

        Args:
            limit: the greatest number of entries.
            max_bytes: of texts; None for no such bound.
            weigh: bytes of one entry's texts.
        """
        self._limit = limit
        self._bytes = max_bytes
        self._weigh = weigh

    @property
    def is_spent(self) -> bool:
        """Whether the page is full."""
        return self._limit <= 0 or (self._bytes is not None and self._bytes < 0)

    def take(self, found: Sequence[T]) -> list[T]:
        """As many of these as fit, from the first on."""
        fitting = list(found[: max(self._limit, 0)])
        if self._bytes is not None:
            fitting = fitting[: self._count(fitting, self._bytes)]
        self._limit -= len(fitting)
        return fitting

    def _count(self, found: Sequence[T], room: int) -> int:
        count = 0
        for one in found:
            if room < 0:
                break
            room -= self._weigh(one)
            count += 1
        self._bytes = room
        return count


def of_page(page: Page) -> Allowance[Listed]:
    """The room of a page of objects."""
    return Allowance(page.limit, page.max_bytes, weigh_listed)


def of_log(page: LogPage) -> Allowance[Revision]:
    """The room of a page of the log."""
    return Allowance(page.limit, page.max_bytes, _weigh_revision)


def weigh_listed(listed: Listed) -> int:
    """Bytes of an object's text."""
    return len(listed.json)


def _weigh_revision(revision: Revision) -> int:
    return len(revision.json) + len(revision.before or b"")
