"""A running Kinto as a source: its lists by their dates, and each object for its permissions."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from server.core.contents import Content
from server.core.errors import SyncError
from server.core.paths import ALL_KINDS, ListPath, ObjectPath, parse_path
from server.transfer.entries import BadEntry, Entry, Item, Problem, Stamp, make_entry, spell_error
from server.transfer.kinto_client import KintoClient, refuse
from server.transfer.sources import SourceError

PAGE = 200
"""Objects of a list that are asked for at once."""

_TOMBSTONE = frozenset({"id", "last_modified", "deleted"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a server is wanted.

    Attributes:
        buckets: ids; empty for all that the user may read.
        accounts: whether the accounts are.
    """

    buckets: Collection[str] = ()
    accounts: bool = False


class KintoSource:
    """See ``Source``.

    The permissions of an object are shown only to whom its own ``write`` names: others get
    None for them.
    """

    is_repeatable = True

    def __init__(self, client: KintoClient, wanted: Wanted) -> None:
        self.name = client.root
        chosen = f"{client.root} {sorted(wanted.buckets)} {wanted.accounts}"
        self.key = hashlib.sha256(chosen.encode()).hexdigest()
        self._client = client
        self._wanted = wanted
        self._at_once = 25
        self._given = 0
        self._known = 0

    def progress(self) -> tuple[int, int]:
        """Objects; see ``Source``."""
        return self._given, max(self._known, self._given)

    async def read(self, marks: Mapping[str, int]) -> AsyncGenerator[Item, None]:
        """What the server shows; see ``Source``."""
        self._given = self._known = 0
        await self.say_hello()
        async with AsyncExitStack() as stack:
            walks = []
            if self._wanted.accounts:
                walks.append(self._read_list(_root_list("account"), marks))
            buckets = _root_list("bucket")
            walks += [self._read_bucket(buckets.object(one), marks) for one in self._wanted.buckets]
            if not self._wanted.buckets:
                walks.append(self._read_parents(buckets, marks))
            for walk in walks:
                await stack.enter_async_context(aclosing(walk))
            for walk in walks:
                async for item in walk:
                    yield item

    async def say_hello(self) -> str | None:
        """Where the server's files lie, empty where it does not say; None if it has none.

        Raises:
            SourceError: If it is no Kinto, or does not know the user.
        """
        answer = await self._client.get("/")
        if answer.status != 200:
            raise refuse(answer, "its root")
        hello = answer.json()
        settings = hello.get("settings") if isinstance(hello, dict) else None
        if not isinstance(settings, dict):
            raise SourceError(f"{self.name} is no Kinto.")
        if self._client.is_somebody and "user" not in hello:
            raise SourceError("The source does not know this user: see --auth and --bearer.")
        self._at_once = max(1, int(settings.get("batch_max_requests") or 25))
        told = (hello.get("capabilities") or {}).get("attachments")
        return str(told.get("base_url") or "") if isinstance(told, dict) else None

    async def _read_bucket(
        self, path: ObjectPath, marks: Mapping[str, int]
    ) -> AsyncGenerator[Item, None]:
        answer = await self._client.get(_spell(path.uri))
        if answer.status != 200:
            raise refuse(answer, f"the bucket {path.id}")
        item = _make_item(path, answer.json(), (path.list.uri, 0))
        yield item
        if isinstance(item, Entry):
            async with aclosing(self._read_children(path, marks)) as children:
                async for inner in children:
                    yield inner

    async def _read_parents(
        self, path: ListPath, marks: Mapping[str, int]
    ) -> AsyncGenerator[Item, None]:
        """The objects of a list, each with what lies in it."""
        # From the beginning also when it is gone on with: what lies in them may not be done.
        async with aclosing(self._read_list(path, {})) as items:
            async for item in items:
                yield item
                if isinstance(item, Entry) and not item.deleted:
                    async with aclosing(self._read_children(item.path, marks)) as children:
                        async for inner in children:
                            yield inner

    async def _read_children(
        self, path: ObjectPath, marks: Mapping[str, int]
    ) -> AsyncGenerator[Item, None]:
        """What lies in an object; groups first, since permissions may name them."""
        for plural in sorted(path.kind.children, reverse=True):
            children = parse_path(f"{path.uri}/{plural}")
            assert isinstance(children, ListPath)
            read = self._read_parents if children.kind.children else self._read_list
            async with aclosing(read(children, marks)) as items:
                async for item in items:
                    yield item

    async def _read_list(
        self, path: ListPath, marks: Mapping[str, int]
    ) -> AsyncGenerator[Item, None]:
        """The objects of a list and their tombstones, by their dates; then its timestamp."""
        since = marks.get(path.uri, 0)
        # Any condition on the date shows tombstones too; this one leaves nothing out.
        query = f"_sort=last_modified&min_last_modified={since}&_limit={PAGE}"
        stamp = await self._look_ahead(path)
        while query:
            answer = await self._client.get(f"{_spell(path.uri)}?{query}")
            if answer.status in (401, 403):
                yield Problem(path.uri, str(refuse(answer, "it")), (path.uri, since))
                return
            if answer.status != 200:
                raise refuse(answer, path.uri)
            for item in await self._complete(path, answer.json()["data"]):
                self._given += 1
                yield item
            # The address may be one from behind a proxy; the path is the same.
            query = urlsplit(answer.headers.get("Next-Page", "")).query
        if stamp is not None:
            yield Stamp(path, stamp, (path.uri, stamp))

    async def _look_ahead(self, path: ListPath) -> int | None:
        """A list's timestamp before it is read: all up to it will be seen; and its length."""
        answer = await self._client.ask("HEAD", _spell(path.uri))
        total = answer.headers.get("Total-Objects") or answer.headers.get("Total-Records") or ""
        self._known += int(total) if total.isdecimal() else 0
        etag = answer.headers.get("ETag", "").strip('"')
        return int(etag) if answer.status == 200 and etag.isdecimal() else None

    async def _complete(self, path: ListPath, listed: Sequence[dict[str, Any]]) -> list[Item]:
        """The objects of a page with their permissions, which a list does not show."""
        paths = [path.object(str(one["id"])) for one in listed]
        uris = [_spell(one.uri) for one in paths]
        chunks = [uris[at : at + self._at_once] for at in range(0, len(uris), self._at_once)]
        answers = await asyncio.gather(*(self._client.batch(chunk) for chunk in chunks))
        responses = [response for chunk in answers for response in chunk]
        rows = zip(paths, listed, responses, strict=True)
        items = (_read_one(one, data, response) for one, data, response in rows)
        return [item for item in items if item is not None]


def _read_one(path: ObjectPath, listed: dict[str, Any], response: dict[str, Any]) -> Item | None:
    """An object as a list and its own address show it; None if it was deleted meanwhile."""
    date = listed.get("last_modified")
    mark = (path.list.uri, date if type(date) is int else 0)
    body = response.get("body")
    if response.get("status") == 200 and isinstance(body, dict):
        return _make_item(path, body, mark)
    if listed.keys() == _TOMBSTONE and listed["deleted"] is True:
        return Entry(path, Content(date=mark[1]), path.uri, mark, deleted=True)
    if response.get("status") == 404:
        # Its tombstone comes later in the list.
        return None
    # Shown in the list and not by itself: then its permissions are not to be had.
    return _make_item(path, {"data": listed}, mark)


def _make_item(path: ObjectPath, body: dict[str, Any], mark: tuple[str, int]) -> Item:
    given = {name: one for name, one in body.items() if name in ("data", "permissions")}
    if not given.get("permissions"):
        # Not shown; or there are none, which comes to the same.
        given.pop("permissions", None)
    try:
        return make_entry(path, given, path.uri, mark)
    except SyncError as error:
        return Problem(path.uri, spell_error(error), mark)
    except BadEntry as error:
        return Problem(path.uri, str(error), mark)


def _root_list(kind: str) -> ListPath:
    return ListPath(ALL_KINDS[kind], f"/{ALL_KINDS[kind].plural}", ())


def _spell(uri: str) -> str:
    return quote(uri)
