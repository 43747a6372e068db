"""What an import reads from."""

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from server.transfer.entries import Item


class SourceError(Exception):
    """The source cannot be read (any further); the message is one sentence that says what to do."""


class Source(Protocol):
    """Objects in an order in which they can be loaded.

    Parents come before what lies in them, the objects of a list by their dates, and the
    list's timestamp after all of them.

    Attributes:
        name: for a person.
        key: the same for the same source, another for another.
        is_repeatable: whether it can be read again.
    """

    name: str
    key: str
    is_repeatable: bool

    def read(self, marks: Mapping[str, int]) -> AsyncGenerator[Item, None]:
        """The items of the source.

        Args:
            marks: of items that need not be given again; they may be.

        Raises:
            SourceError: If it cannot be read.
        """

    def progress(self) -> tuple[int, int]:
        """How much of it was given, and how much there is as far as is known; of any unit."""
