"""Write what is stored as lines of JSON: all of one instant, in constant memory."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from server.core.json_text import dump_json, load_json
from server.core.objects import Clock, Listed, StoredObject
from server.core.paths import ALL_KINDS, ROOT, ListPath, ObjectPath, parse_path
from server.core.positions import timestamp_of
from server.core.sorting import SortKey
from server.storage.base import Page, Snapshot, Storage
from server.transfer.lines import spell_header, spell_object, spell_stamp, spell_tombstone

AT_ONCE = 500
_MAX_BYTES = 8 << 20
_BY_DATE = (SortKey("last_modified"), SortKey("id"))


@dataclass(frozen=True, slots=True)
class Selection:
    """What is exported.

    Attributes:
        buckets: ids of the wanted ones; empty for all.
        accounts: whether the accounts are, with the hashes of their passwords.
    """

    buckets: Collection[str] = ()
    accounts: bool = False


@dataclass(slots=True)
class Exporter:
    """One export.

    Attributes:
        storage: what is exported.
        output: gets the lines.
        selection: what of it is wanted.
        see: is told of each object that exists, in its turn: its URI and its text.
        written: objects and tombstones so far.
    """

    storage: Storage
    output: IO[bytes]
    selection: Selection
    see: Callable[[str, bytes], Awaitable[None]] | None = None
    written: int = 0

    async def run(self) -> None:
        """Write everything.

        Raises:
            Unavailable: If the database cannot be reached, or lets the instant go.
            BucketMissing: If a bucket that is wanted is not there.
            OSError: If the output cannot be written.
        """
        async with self.storage.snapshot() as snapshot:
            root = (await snapshot.objects([ROOT]))[ROOT]
            self.output.write(spell_header(root.epoch, time.time_ns() // 1_000_000))
            await self._export_buckets(snapshot, root.clocks)
            if self.selection.accounts:
                await self._export_list(snapshot, _root_list("account"), root.clocks["accounts"])
        self.output.flush()

    async def _export_buckets(self, snapshot: Snapshot, clocks: Mapping[str, Clock]) -> None:
        if not self.selection.buckets:
            await self._export_list(snapshot, _root_list("bucket"), clocks["buckets"])
            return
        for bucket_id in self.selection.buckets:
            path = _root_list("bucket").object(bucket_id)
            found = await snapshot.objects([path.uri])
            if path.uri not in found or found[path.uri].deleted:
                raise BucketMissing(f"There is no bucket {bucket_id}.")
            await self._export_object(snapshot, found[path.uri])

    async def _export_list(self, snapshot: Snapshot, path: ListPath, clock: Clock) -> None:
        """The objects of a list by their dates, each with what lies in it, then its timestamp."""
        after: Sequence[Sequence[Any]] | None = None
        while True:
            listed = await snapshot.page(_page(path, clock, after))
            stored = await self._with_permissions(snapshot, listed)
            for one in listed:
                if one.deleted:
                    self._write(spell_tombstone(one.uri, one.json))
                else:
                    await self._export_object(snapshot, stored[one.uri])
            if not listed:
                break
            after = [[listed[-1].last_modified], [listed[-1].id]]
        self.output.write(spell_stamp(path.uri, timestamp_of(clock.position)))

    async def _with_permissions(
        self, snapshot: Snapshot, listed: Sequence[Listed]
    ) -> dict[str, StoredObject]:
        return await snapshot.objects([one.uri for one in listed if not one.deleted])

    async def _export_object(self, snapshot: Snapshot, stored: StoredObject) -> None:
        path = stored.path
        self._write(spell_object(stored.uri, _text(path, stored), stored.acl))
        if self.see is not None:
            await self.see(stored.uri, stored.json)
        # Groups first: permissions of what follows may name them.
        for plural in sorted(path.kind.children, reverse=True):
            children = parse_path(f"{path.uri}/{plural}")
            assert isinstance(children, ListPath)
            await self._export_list(snapshot, children, stored.clocks[plural])

    def _write(self, line: bytes) -> None:
        self.output.write(line)
        self.written += 1


class BucketMissing(Exception):
    """A bucket that is to be exported does not exist."""


def _page(path: ListPath, clock: Clock, after: Sequence[Sequence[Any]] | None) -> Page:
    return Page(
        path, clock.floor, (), _BY_DATE, AT_ONCE, after, tombstones=True, max_bytes=_MAX_BYTES
    )


def _root_list(kind: str) -> ListPath:
    return ListPath(ALL_KINDS[kind], f"/{ALL_KINDS[kind].plural}", ())


def _text(path: ObjectPath, stored: StoredObject) -> bytes:
    """The text of an object; of an account with the hash of its password, as Kinto shows it."""
    if path.kind.name != "account":
        return stored.json
    return dump_json({**load_json(stored.json), "password": stored.secret})
