"""Files that no record names any more: removed at once where the log tells, else by a sweep.

Whether a file is an orphan is always asked of the records as they are, so that
many processes may collect at once, and what was begun may be done again.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from server.core.errors import Unavailable
from server.core.json_text import load_json
from server.core.judge import Judge
from server.core.objects import StoredObject
from server.core.paths import ObjectPath, object_path
from server.core.permissions import Rules
from server.core.revisions import Revision
from server.service.file_rules import FileRules
from server.storage.base import Storage
from server.storage.files.base import FileStore, StoredFile
from server.storage.reader import Reader

logger = logging.getLogger(__name__)

FIELD = "attachment"
"""Of a record: what it says of its file."""

SWEEP_SECONDS = 3600
"""Between two sweeps; also the age that a file has before a sweep takes it."""

UNFINISHED_SECONDS = 24 * 3600
"""After which nobody will finish what was begun."""

PAGE = 200
"""Files that are looked at in one snapshot."""

_MENTION = b'"attachment"'
_PARENTS = ("/buckets", "/collections")


@dataclass(frozen=True, slots=True)
class Trace:
    """Where orphans may be.

    Attributes:
        uri: of the object that was changed or deleted.
        date: of that, in ms.
        location: of the file that a record named; None for all files of what lies in
            the object, but for those that came later.
    """

    uri: str
    date: int
    location: str | None

    def leads_to(self, file: StoredFile) -> bool:
        """Whether a file that lies there may be an orphan."""
        if self.location is None:
            return file.date <= self.date
        return is_named(self.location, file.name)


def location_of(data: Any) -> str | None:
    """The location that a record's data names."""
    found = data.get(FIELD) if isinstance(data, dict) else None
    location = found.get("location") if isinstance(found, dict) else None
    return location if isinstance(location, str) else None


def is_named(location: str | None, name: str) -> bool:
    """Whether a location is that of a file, whatever the address it begins with."""
    spelled = quote(name)
    return location is not None and (location == spelled or location.endswith(f"/{spelled}"))


def find_live(judge: Judge, path: ObjectPath) -> StoredObject | None:
    """An object that exists, with all its parents.

    Raises:
        Unread: If one of them was not read.
    """
    stored = None
    for step in path.chain:
        stored = judge.state.live(step)
        if stored is None:
            return None
    return stored


class Orphans:
    """Collects them; a watcher of everything that is committed.

    Attributes:
        bucket: None: of all of them.
        busy: names of files that are stored, and that a record is about to name.
    """

    bucket: str | None = None

    def __init__(
        self, storage: Storage, files: FileStore, rules: Rules, file_rules: FileRules
    ) -> None:
        self._storage = storage
        self._files = files
        self._rules = rules
        self._file_rules = file_rules
        self._traces: dict[Trace, None] = {}
        self._runner: asyncio.Task[None] | None = None
        self.busy: set[str] = set()

    def tell(self, revision: Revision) -> None:
        """Something was done; see ``Watcher``."""
        if revision.action == "create":
            return
        if revision.list.endswith("/records"):
            before = _location_in(revision.before)
            if before is not None and before != _location_in(revision.json):
                self.look(Trace(revision.uri, revision.date, before))
        elif revision.action == "delete" and revision.list.endswith(_PARENTS):
            self.look(Trace(revision.uri, revision.date, None))

    def lose(self) -> None:
        """Some changes will never be told: the next sweep finds what they left."""

    def look(self, trace: Trace) -> None:
        """Collect, soon, what a trace leads to."""
        self._traces[trace] = None
        if self._runner is None or self._runner.done():
            self._runner = asyncio.ensure_future(self._follow_all())

    async def settle(self) -> None:
        """Wait until every trace has been followed."""
        while self._runner is not None and not self._runner.done():
            await asyncio.wait([self._runner])

    async def _follow_all(self) -> None:
        while self._traces:
            trace = next(iter(self._traces))
            del self._traces[trace]
            try:
                await self._follow(trace)
            except Unavailable as error:
                logger.info("files of %s are left to the next sweep: %s", trace.uri, error)

    async def _follow(self, trace: Trace) -> None:
        after = ""
        while files := await self._files.page(after, PAGE, trace.uri):
            after = files[-1].name
            await self._remove_orphans([one for one in files if trace.leads_to(one)])

    async def _remove_orphans(self, files: Sequence[StoredFile]) -> None:
        """Remove those of some files that no record names and nobody wants to keep."""
        files = [one for one in files if one.name not in self.busy and not self._is_kept(one)]
        locations = await self._locations({one.uri for one in files})
        for file in files:
            if not is_named(locations[file.uri], file.name):
                await self._files.remove(file.name)

    def _is_kept(self, file: StoredFile) -> bool:
        return self._file_rules.of(object_path(file.uri)).keeps

    async def _locations(self, uris: Iterable[str]) -> dict[str, str | None]:
        """What records name now."""
        paths = [object_path(uri) for uri in uris]
        if not paths:
            return {}

        def ask(judge: Judge) -> dict[str, str | None]:
            living = {path.uri: find_live(judge, path) for path in paths}
            return {uri: location_of(one.data) if one else None for uri, one in living.items()}

        async with self._storage.snapshot() as snapshot:
            chain = {step.uri for path in paths for step in path.chain}
            return await Reader(snapshot, self._rules).ask(chain, ask)

    async def sweep(self, now: int) -> None:
        """Look at all files, and remove the orphans among those that are old enough.

        Args:
            now: in ms.

        Raises:
            Unavailable: If the database fails; the next sweep begins anew.
        """
        limit, after = now - SWEEP_SECONDS * 1000, ""
        while files := await self._files.page(after, PAGE):
            after = files[-1].name
            await self._remove_orphans([one for one in files if one.date <= limit])
        await self._files.tidy(now - UNFINISHED_SECONDS * 1000)

    async def run(self) -> None:
        """Sweep from time to time, until it is cancelled; of all processes one does it."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS / 10 * (1 + random.random()))
            await self._sweep_in_turn()

    async def _sweep_in_turn(self) -> None:
        try:
            if await self._storage.claim("attachments:sweep", SWEEP_SECONDS):
                await self.sweep(time.time_ns() // 1_000_000)
        except Unavailable as error:
            logger.info("the files are swept later: %s", error)


def _location_in(text: bytes | None) -> str | None:
    return location_of(load_json(text)) if text and _MENTION in text else None
