"""What a store of files is: the protocol that every backend keeps.

The files of records lie here; what a record says of its file is in the record.
The contract suite in ``tests/server/storage/files/contract.py`` says in code
what is promised here.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

PIECE_BYTES = 512 << 10
"""How much of a file is in memory at a time, for each who reads or writes one."""


class NameTaken(Exception):
    """There is a file of this name."""


class FileGone(Exception):
    """The file was removed, or a part of it is missing."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file, and what is known of it.

    Attributes:
        name: under which it is found: a relative path with ``/`` between its segments.
        size: in bytes.
        hash: SHA-256 of its bytes, in hexadecimal digits.
        mimetype: without parameters.
        filename: what its sender called it.
        uri: of the record that it belongs to.
        date: when it was stored, in ms since 1970.
    """

    name: str
    size: int
    hash: str
    mimetype: str
    filename: str
    uri: str
    date: int


class FileWriter(Protocol):
    """A file that is being written; nobody sees it before it is finished."""

    async def write(self, data: bytes) -> None:
        """Add bytes to its end.

        Raises:
            Unavailable: If they cannot be stored.
        """

    async def finish(self, file: StoredFile) -> None:
        """Store it for good, under its name.

        Raises:
            NameTaken: If there is another; to be tried again with another name.
            Unavailable: If it cannot be stored.
        """

    async def discard(self) -> None:
        """Forget what was written, if it was not finished. What fails is left to ``tidy``."""


class FileStore(Protocol):
    """Remembers files. All its methods may be called by many at once, and in many processes."""

    async def create(self) -> FileWriter:
        """Begin a file.

        Raises:
            Unavailable: If nothing can be stored.
        """

    async def find(self, name: str) -> StoredFile | None:
        """The file of a name.

        Raises:
            Unavailable: If that cannot be known now.
        """

    def read(self, file: StoredFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` to before ``stop``, in pieces of at most ``PIECE_BYTES``.

        Raises:
            FileGone: If it is removed meanwhile; some pieces may have come by then.
            Unavailable: If it cannot be read.
        """

    async def remove(self, name: str) -> None:
        """Remove a file, if there is one.

        Raises:
            Unavailable: If that cannot be done now.
        """

    async def page(self, after: str, limit: int, uri: str | None = None) -> list[StoredFile]:
        """Files in an order of its own, which is always the same.

        Args:
            after: name of the file after which they begin, which may be gone; empty
                for the first.
            limit: the greatest number wanted.
            uri: of a record, collection or bucket: only the files of what lies there.

        Raises:
            Unavailable: If they cannot be read.
        """

    async def tidy(self, before: int) -> None:
        """Remove what was begun before a date, in ms, and never finished.

        Raises:
            Unavailable: If that cannot be done now.
        """

    async def check(self) -> bool:
        """Whether files can be stored."""


@runtime_checkable
class KeepsFiles(Protocol):
    """A storage that keeps files beside the objects."""

    async def files(self) -> FileStore:
        """Its store of files.

        Raises:
            Unavailable: If the database fails.
        """


def lies_in(file_uri: str, uri: str) -> bool:
    """Whether a record is, or lies in, an object."""
    return file_uri == uri or file_uri.startswith(uri + "/")
