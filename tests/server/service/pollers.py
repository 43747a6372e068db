"""A client that polls a list and keeps a copy of it, as kinto.js does."""

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from server.core.errors import CursorExpired, Forbidden
from server.core.json_text import load_json
from server.core.objects import Listed
from server.core.permissions import Actor
from server.core.positions import spell_full_cursor
from server.core.preconditions import NONE, Precondition
from server.core.queries import parse_query
from server.service.lists import ListAnswer, Lists
from server.service.pages import ListOptions, ListRequest
from tests.server.storage.scenes import BOB, RULES, Scene, list_path

OPTIONS = ListOptions(RULES, b"secret", page_size=None, fetch_max=5000)

PAGES_MAX = 10_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ask(
    list_uri: str, query: str = "", *, by: Actor = BOB, only: Precondition = NONE
) -> ListRequest:
    """A request about a list."""
    pairs = [(name, value) for name, _, value in (p.partition("=") for p in query.split("&") if p)]
    return ListRequest(by, list_path(list_uri), parse_query(pairs), only, now_ms())


async def read(scene: Scene, request: ListRequest, options: ListOptions = OPTIONS) -> ListAnswer:
    async with scene.storage.snapshot() as snapshot:
        return await Lists(scene.storage, options).read(snapshot, request)


def dead(answer: ListAnswer) -> dict[str, int]:
    """The tombstones of an answer: id and date."""
    return {one.id: one.last_modified for one in answer.objects if one.deleted}


def live(answer: ListAnswer) -> list[str]:
    """The ids of the objects of an answer."""
    return sorted(one.id for one in answer.objects if not one.deleted)


class Poller:
    """Somebody who polls.

    Attributes:
        copy: what they have, by id.
        since: what they poll from; empty before the first answer.
        told: ids of all tombstones that came to a poll.
        answers: how many of its polls were answered.
    """

    def __init__(
        self,
        scene: Scene,
        list_uri: str,
        *,
        by: Actor = BOB,
        options: ListOptions = OPTIONS,
        cursors: bool = False,
    ) -> None:
        self._scene = scene
        self._uri = list_uri
        self._by = by
        self._options = options
        self._cursors = cursors
        self.copy: dict[str, Any] = {}
        self.since = ""
        self.told: set[str] = set()

    async def walk(self, query: str) -> tuple[list[Listed], ListAnswer]:
        """All pages, and the last answer."""
        objects: list[Listed] = []
        request = ask(self._uri, query, by=self._by)
        for _ in range(PAGES_MAX):
            answer = await read(self._scene, request, self._options)
            objects += answer.objects
            if answer.token is None:
                return objects, answer
            request = replace(request, query=replace(request.query, token=answer.token))
        raise AssertionError("a walk without an end")

    async def poll(self) -> bool:
        """Ask once and apply what comes; False if it was refused."""
        query = f"_since={self.since}" if self.since else ""
        try:
            objects, answer = await self.walk(query)
        except Forbidden:
            return False
        except CursorExpired:
            self.copy, self.since = {}, ""
            return await self.poll()
        self.apply(objects)
        self._keep(answer, objects)
        return True

    def apply(self, objects: Collection[Listed]) -> None:
        """Change the copy as told."""
        for one in objects:
            if one.deleted:
                self.told.add(one.id)
                self.copy.pop(one.id, None)
            else:
                self.copy[one.id] = load_json(one.json)

    def _keep(self, answer: ListAnswer, objects: Collection[Listed]) -> None:
        if not self._cursors:
            self.since = str(answer.timestamp)
        elif answer.position is not None:
            self.since = spell_full_cursor(answer.position)
        elif not self.copy:
            # The ETag of the last tombstones is no place in the list.
            self.since = ""
        elif objects or not self.since:
            self.since = f"{answer.timestamp}-0"

    async def whole(self) -> dict[str, Any]:
        """What GET shows now; nothing if it is refused."""
        try:
            objects, _ = await self.walk("")
        except Forbidden:
            return {}
        return {one.id: load_json(one.json) for one in objects}
