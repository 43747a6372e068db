"""Files in this process's memory: for tests, demonstrations, and trying things out."""

from collections.abc import AsyncGenerator

from server.storage.files.base import PIECE_BYTES, FileGone, NameTaken, StoredFile, lies_in


class MemoryFiles:
    """Everything in a dictionary; see ``FileStore``."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[StoredFile, bytes]] = {}

    async def create(self) -> "MemoryWriter":
        """Begin a file; see ``FileStore``."""
        return MemoryWriter(self._files)

    async def find(self, name: str) -> StoredFile | None:
        """The file of a name; see ``FileStore``."""
        return self._files[name][0] if name in self._files else None

    async def read(self, file: StoredFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a part; see ``FileStore``."""
        for at in range(start, stop, PIECE_BYTES):
            if file.name not in self._files:
                raise FileGone
            yield self._files[file.name][1][at : min(at + PIECE_BYTES, stop)]

    async def remove(self, name: str) -> None:
        """Remove a file; see ``FileStore``."""
        self._files.pop(name, None)

    async def page(self, after: str, limit: int, uri: str | None = None) -> list[StoredFile]:
        """Files by name; see ``FileStore``."""
        names = sorted(name for name in self._files if name > after)
        files = (self._files[name][0] for name in names)
        return [one for one in files if uri is None or lies_in(one.uri, uri)][:limit]

    async def tidy(self, before: int) -> None:
        """Nothing: what is not finished is forgotten by itself."""

    async def check(self) -> bool:
        """Always true: it is this process."""
        return True


class MemoryWriter:
    """See ``FileWriter``."""

    def __init__(self, files: dict[str, tuple[StoredFile, bytes]]) -> None:
        self._files = files
        self._pieces: list[bytes] = []

    async def write(self, data: bytes) -> None:
        """Add bytes; see ``FileWriter``."""
        self._pieces.append(data)

    async def finish(self, file: StoredFile) -> None:
        """Store it; see ``FileWriter``."""
        if file.name in self._files:
            raise NameTaken
        self._files[file.name] = file, b"".join(self._pieces)

    async def discard(self) -> None:
        """Forget it; see ``FileWriter``."""
        self._pieces.clear()
