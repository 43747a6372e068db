"""Files of records: taken in, named by the record in one commit, and let go of."""

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any
from urllib.parse import quote

from server.core.commands import Change, Command, Ensure, Inquiry, Outcome, Replace, Target
from server.core.contents import check_same_id, parse_content
from server.core.errors import (
    AttachmentFixed,
    Forbidden,
    ModifiedMeanwhile,
    ObjectMissing,
    SyncError,
    Unavailable,
    invalid,
)
from server.core.judge import Judge
from server.core.objects import StoredObject
from server.core.patches import SHALLOW, Patch, apply_patch, parse_patch
from server.core.paths import ObjectPath, invalid_id, object_path
from server.core.permissions import GRANTABLE, Actor, Rules
from server.core.positions import spell_etag
from server.core.preconditions import is_refused
from server.service.file_rules import FileRule, FileRules, clean_filename
from server.service.orphans import FIELD, Orphans, Trace, find_live, is_named, location_of
from server.storage.base import Snapshot, Storage
from server.storage.files.base import FileStore, FileWriter, NameTaken, StoredFile
from server.storage.reader import Reader

logger = logging.getLogger(__name__)


class Upload:
    """A file on its way into the store."""

    def __init__(self, files: FileStore, rule: FileRule, path: ObjectPath) -> None:
        self._files = files
        self._rule = rule
        self._path = path
        self._writer: FileWriter | None = None
        self._filename = self._mimetype = ""
        self._hash = hashlib.sha256()
        self._size = 0
        self._lock = asyncio.Lock()
        self._over = False

    @property
    def has_begun(self) -> bool:
        """Whether there is a file."""
        return self._writer is not None

    def max_bytes(self) -> int:
        """That it may have; 0 for any number."""
        return self._rule.max_bytes

    async def begin(self, filename: str, mimetype: str | None) -> None:
        """Begin the file.

        Args:
            filename: as sent.
            mimetype: as sent, if it was.

        Raises:
            InvalidParameters: If it may not be called so.
            Unavailable: If nothing can be stored.
        """
        self._filename = clean_filename(filename)
        if not self._filename:
            raise invalid("body", "", "Filename is required.")
        if not self._rule.allows(self._filename):
            raise invalid("body", "", "File extension is not allowed.")
        self._mimetype = self._rule.type_of(self._filename, mimetype)
        async with self._lock:
            if not self._over:
                self._writer = await self._files.create()

    async def write(self, data: bytes) -> None:
        """Add bytes to the file.

        Raises:
            InvalidParameters: If it gets too large.
            Unavailable: If they cannot be stored.
        """
        self._size += len(data)
        limit = self._rule.max_bytes
        if limit and self._size > limit:
            raise invalid("body", "", f"File size exceeds the limit ({limit} bytes).")
        self._hash.update(data)
        async with self._lock:
            if self._writer is not None and not self._over:
                await self._writer.write(data)

    async def publish(self, busy: set[str]) -> StoredFile:
        """Store the file under a name, which is added to the busy ones.

        Raises:
            Unavailable: If it cannot be stored.
        """
        assert self._writer is not None
        token, attempt = str(uuid.uuid4()), 0
        async with self._lock:
            self._over = True
            while True:
                file = self._describe(self._rule.name(self._path, self._filename, token, attempt))
                busy.add(file.name)
                try:
                    await self._writer.finish(file)
                except BaseException as error:
                    busy.discard(file.name)
                    if not isinstance(error, NameTaken):
                        await self._writer.discard()
                        raise
                    attempt += 1
                else:
                    return file

    def _describe(self, name: str) -> StoredFile:
        return StoredFile(
            name,
            self._size,
            self._hash.hexdigest(),
            self._mimetype,
            self._filename,
            self._path.uri,
            time.time_ns() // 1_000_000,
        )

    async def discard(self) -> None:
        """Forget it, unless it was published."""
        async with self._lock:
            if self._over:
                return
            self._over = True
            if self._writer is not None:
                await self._writer.discard()


class Attachments:
    """What can be done with the files of records.

    Attributes:
        orphans: collects what no record names.
    """

    def __init__(
        self,
        storage: Storage,
        files: FileStore,
        rules: Rules,
        file_rules: FileRules,
        base_url: str | None = None,
    ) -> None:
        """Begin.

        Args:
            storage: of the records.
            files: where the files lie.
            rules: about permissions.
            file_rules: about files.
            base_url: what locations begin with, ending in a slash; None for the address
                of the server that is asked.
        """
        self.orphans = Orphans(storage, files, rules, file_rules)
        self._storage = storage
        self._files = files
        self._rules = rules
        self._file_rules = file_rules
        self._base_url = base_url
        self._tasks: set[asyncio.Task[None]] = set()

    async def check_writable(self, target: Target) -> None:
        """Check what can be known before a file is sent; the transaction asks again.

        Raises:
            SyncError: If the target may not be written, or its precondition does not hold.
        """
        path = target.path

        def ask(judge: Judge) -> None:
            judge.check_access(target.actor, path, writes=True)
            current = find_live(judge, path)
            if is_refused(target.precondition, current.last_modified if current else None):
                etag = spell_etag(current.last_modified) if current else None
                raise ModifiedMeanwhile(etag, current.data if current else None)

        async with self._storage.snapshot() as snapshot:
            await Reader(snapshot, self._rules).ask([step.uri for step in path.chain], ask)
        if not path.valid:
            raise invalid_id()

    def begin(self, path: ObjectPath) -> Upload:
        """Take in a file for a record."""
        return Upload(self._files, self._file_rules.of(path), path)

    def abandon(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what somebody who has left would have done."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Collect orphans, until it is cancelled; then finish what was begun."""
        try:
            await self.orphans.run()
        finally:
            await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is left to be done."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.orphans.settle()

    async def attach(
        self,
        target: Target,
        upload: Upload,
        body: Mapping[str, Any],
        before: Ensure | None,
        root: str,
    ) -> tuple[Outcome, dict[str, Any]]:
        """Let a record name a file, in one commit; the record is made if there is none.

        Args:
            target: the record.
            upload: with its file taken in.
            body: ``data`` and ``permissions`` for the record.
            before: what is made first.
            root: address of the API.

        Returns:
            What became of the record, and what it says of the file.

        Raises:
            SyncError: If it is refused or fails. Then nothing is left of the file, unless
                it is not known whether the record was written.
        """
        # Before it is stored: what is wrong with the body is known without it.
        _Attaching(target, body, self._rules)
        file = await upload.publish(self.orphans.busy)
        try:
            described = self.describe(file, root)
            outcome = await self._commit(target, body, described, before)
        except (Unavailable, asyncio.CancelledError):
            # Perhaps it was written, or will be: the sweep will know.
            raise
        except BaseException:
            self.abandon(self._remove(file.name))
            raise
        finally:
            self.orphans.busy.discard(file.name)
        self.let_go(outcome)
        return outcome, described

    async def _remove(self, name: str) -> None:
        try:
            await self._files.remove(name)
        except Unavailable as error:
            logger.info("%s is left to the next sweep: %s", name, error)

    async def _commit(
        self,
        target: Target,
        body: Mapping[str, Any],
        described: Mapping[str, Any],
        before: Ensure | None,
    ) -> Outcome:
        data = {**(body.get("data") or {}), FIELD: dict(described)}
        write = _Attaching(target, {**body, "data": data}, self._rules)
        parts = (Inquiry(write.ask),) if before is None else (before, Inquiry(write.ask))
        verdict = (await self._storage.commit(Command(parts, write.size)))[-1]
        if isinstance(verdict, SyncError):
            raise verdict
        assert isinstance(verdict, Outcome)
        return verdict

    def describe(self, file: StoredFile, root: str) -> dict[str, Any]:
        """What a record says of its file."""
        base = self._base_url or f"{root}/attachments/"
        return {
            "filename": file.filename,
            "location": base + quote(file.name),
            "hash": file.hash,
            "mimetype": file.mimetype,
            "size": file.size,
        }

    def let_go(self, outcome: Outcome) -> None:
        """Remove, soon, the file that a record named before, unless it names it still."""
        before = outcome.before
        location = location_of(before.data) if before else None
        if before is not None and location is not None:
            self.orphans.look(Trace(before.uri, time.time_ns() // 1_000_000, location))

    async def find(self, name: str) -> StoredFile | None:
        """The file of a name.

        Raises:
            Unavailable: If that cannot be known now.
        """
        return await self._files.find(name)

    async def check_readable(self, actor: Actor, file: StoredFile) -> None:
        """Check that a file is that of a record which the actor may read.

        Raises:
            SyncError: If it is not.
        """
        path = object_path(file.uri)
        if not actor.may_ask(path.uri, writes=False):
            raise Forbidden
        uris = [step.uri for step in path.chain]
        async with self._storage.snapshot() as snapshot:
            reader = Reader(snapshot, self._rules)
            reading = await reader.ask(uris, lambda judge: judge.read_object(actor, path))
        if not is_named(location_of(reading.object.data), file.name):
            raise ObjectMissing(file.name, FIELD)

    def read(self, file: StoredFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a part of a file; see ``FileStore.read``."""
        return self._files.read(file, start, stop)

    async def check_unchanged(self, actor: Actor, path: ObjectPath, sent: Patch | Any) -> None:
        """Check that a write by the client leaves alone what a record says of its file.

        It may take it away altogether. Who may not write the record is not told.

        Args:
            actor: who writes.
            path: the record.
            sent: a patch, or the data that replace the record's.

        Raises:
            AttachmentFixed: If it would change it.
        """

        def ask(judge: Judge) -> StoredObject | None:
            judge.check_access(actor, path, writes=True)
            return find_live(judge, path)

        try:
            async with self._storage.snapshot() as snapshot:
                uris = [step.uri for step in path.chain]
                current = await Reader(snapshot, self._rules).ask(uris, ask)
            if current is None or not current.data.get(FIELD):
                return
            if isinstance(sent, Patch):
                sent = apply_patch(sent, dict(current.data), current.acl).data
        except SyncError:
            # The write itself is refused for it.
            return
        after = sent.get(FIELD) if isinstance(sent, dict) else None
        if after and after != current.data[FIELD]:
            raise AttachmentFixed


class _Attaching:
    """Decides, in the transaction, whether a record is changed or made."""

    def __init__(self, target: Target, body: Mapping[str, Any], rules: Rules) -> None:
        """Read the body.

        Raises:
            InvalidParameters: If it is none of a record.
        """
        self._target = target
        self._rules = rules
        self._content = parse_content("record", body)
        check_same_id(self._content.id, target.path.id)
        self._patch = parse_patch(SHALLOW, {"data": {}, **body}, GRANTABLE["record"])

    @property
    def size(self) -> int:
        """About how many bytes are stored."""
        return len(self._content.text)

    async def ask(self, snapshot: Snapshot) -> Change | Replace:
        """The write that is to be decided; see ``Inquiry``."""
        path = self._target.path
        reader = Reader(snapshot, self._rules)
        uris = [step.uri for step in path.chain]
        current = await reader.ask(uris, lambda judge: find_live(judge, path))
        if current is None:
            return Replace(self._target, self._content)
        return Change(self._target, self._patch)
