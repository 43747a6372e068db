"""Files of records that are exported: copied into a folder under their names."""

import asyncio
from pathlib import Path

from server.core.json_text import load_json
from server.service.orphans import FIELD, is_named, location_of
from server.storage.files.base import FileStore, StoredFile

_MENTION = b'"%s"' % FIELD.encode()
_PAGE = 100


class FileExporter:
    """Copies the files of what is exported.

    Attributes:
        copied: how many there were so far.
        missing: URIs of records whose file is not here.
    """

    def __init__(self, store: FileStore, folder: Path) -> None:
        """Begin.

        Args:
            store: where the files lie.
            folder: where they go; made if it is missing.
        """
        self.copied = 0
        self.missing: list[str] = []
        self._store = store
        self._folder = folder

    async def see(self, uri: str, text: bytes) -> None:
        """Copy the file of an object, if it is a record that has one.

        Args:
            uri: of the object.
            text: its JSON.

        Raises:
            OSError: If it cannot be written.
            Unavailable: If it cannot be read.
            FileGone: If it is removed meanwhile.
        """
        if _MENTION not in text:
            return
        location = location_of(load_json(text))
        if location is None:
            return
        file = await self._find(uri, location)
        if file is None:
            self.missing.append(uri)
            return
        target = self._folder.joinpath(*file.name.split("/"))
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
        with target.open("wb") as output:
            async for piece in self._store.read(file, 0, file.size):
                await asyncio.to_thread(output.write, piece)
        self.copied += 1

    async def _find(self, uri: str, location: str) -> StoredFile | None:
        after = ""
        while page := await self._store.page(after, _PAGE, uri):
            for file in page:
                if file.uri == uri and is_named(location, file.name):
                    return file
            after = page[-1].name
        return None
