import asyncio
from typing import Any

import pytest

from tests.live.conftest import Scene
from tests.live.copies import position_of
from tests.live.sockets import Http, WebSocket
from tests.live.writers import BUCKET, COLLECTIONS, ensure_ok
from tests.servers import run_alone

COLLECTION = COLLECTIONS[0]
RECORDS = f"{COLLECTION}/records"
CHANGES = f"{BUCKET}/changes"
TIMEOUT_SECONDS = 20.0

Message = dict[str, Any]


class Line:
    """A connection of Alice's, and what is asked over it."""

    def __init__(self, url: str) -> None:
        self.http = Http(url, "alice")
        self._url = url
        self._links: list[WebSocket] = []

    async def put(self, *uris: str) -> str:
        """Write objects; the cursor of the last."""
        cursor = ""
        for uri in uris:
            cursor = ensure_ok(await self.http.ask("PUT", uri, {"data": {}})).headers["cursor"]
        return cursor

    async def delete(self, uri: str) -> None:
        ensure_ok(await self.http.ask("DELETE", uri))

    async def connect(self, *subscribe: Message) -> tuple[WebSocket, Message]:
        """A connection with subscriptions, and its ``welcome``."""
        link = await WebSocket.open(self._url, "alice")
        self._links.append(link)
        link.send({"type": "hello", "subscribe": list(subscribe)})
        return link, await read(link, "welcome")

    async def ask(self, path: str, since: str | None = None) -> Message:
        """What a subscription is answered."""
        link, _ = await self.connect({"sub": "s", "path": path, "since": since})
        return await read(link, "subscribed", "error")

    def close(self) -> None:
        self.http.close()
        for link in self._links:
            link.abort()


async def read(link: WebSocket, *kinds: str) -> Message:
    """The next message of one of some types."""
    while True:
        message = await asyncio.wait_for(link.read(), TIMEOUT_SECONDS)
        assert message is not None
        if message["type"] in kinds:
            return message


def check_expired(answer: Message, since: str, reason: str) -> None:
    assert (answer["type"], answer["code"], answer["errno"]) == ("error", 410, 118)
    details = answer["details"]
    assert details["reason"] == reason
    floor, cursor = position_of(details["floor"]), position_of(details["cursor"])
    assert floor <= cursor
    outside = position_of(since) < floor if reason == "floor" else position_of(since) > cursor
    assert outside


async def make_again(scene: Scene, path: str, gone: str) -> None:
    line = Line(scene.url)
    await line.put(BUCKET, COLLECTION, f"{RECORDS}/r1", f"{RECORDS}/r2")
    link, _ = await line.connect({"sub": "s", "path": path})
    since = (await read(link, "ready"))["cursor"]
    await line.delete(gone)
    ended = await read(link, "unsubscribed")
    assert (ended["code"], ended["errno"], ended["purge"]) == (404, 111, True)
    refused = await line.ask(path, since)
    assert refused["code"] == (await line.http.ask("GET", path)).status
    assert refused["code"] in (403, 404)
    await line.put(BUCKET, COLLECTION)
    check_expired(await line.ask(path, since), since, "floor")
    assert (await line.ask(path))["mode"] == "snapshot"
    line.close()


@pytest.mark.parametrize(
    ("path", "gone"),
    [(RECORDS, COLLECTION), (RECORDS, BUCKET), (f"{BUCKET}/groups", BUCKET), (CHANGES, BUCKET)],
)
def test_cursor_of_what_was_deleted_and_made_again_has_expired(
    scene: Scene, path: str, gone: str
) -> None:
    run_alone(make_again(scene, path, gone))


async def ask_ahead(scene: Scene, path: str) -> None:
    line = Line(scene.url)
    await line.put(BUCKET, COLLECTION, f"{RECORDS}/r1")
    clock = (await line.ask(path, "now"))["cursor"]
    assert (await line.ask(path, clock))["mode"] == "backfill"
    ahead = f"{clock}-1"
    check_expired(await line.ask(path, ahead), ahead, "ahead")
    line.close()


@pytest.mark.parametrize("path", [RECORDS, f"{BUCKET}/groups", CHANGES, f"{RECORDS}/r1"])
def test_cursor_ahead_of_the_server_is_refused(scene: Scene, path: str) -> None:
    run_alone(ask_ahead(scene, path))


async def flush(scene: Scene) -> None:
    line = Line(scene.url)
    await line.put(BUCKET, COLLECTION, f"{RECORDS}/r1")
    paths = (RECORDS, CHANGES, "/buckets")
    bodies = [{"sub": str(i), "path": path} for i, path in enumerate(paths)]
    link, before = await line.connect(*bodies)
    ready = [await read(link, "ready") for _ in paths]
    since = {paths[int(one["sub"])]: one["cursor"] for one in ready}
    answer = await line.http.ask("POST", "/__flush__")
    assert answer.status == 202
    _, after = await line.connect()
    assert after["epoch"] != before["epoch"]
    # What was in the bucket is gone with it; the list of buckets goes on.
    ended = [await read(link, "unsubscribed", "event") for _ in paths]
    told = {paths[int(one["sub"])]: one for one in ended}
    assert told[RECORDS]["code"] == told[CHANGES]["code"] == 404
    assert (told["/buckets"]["action"], told["/buckets"]["uri"]) == ("delete", BUCKET)
    assert (await line.ask("/buckets", told["/buckets"]["cursor"]))["type"] == "subscribed"
    await line.put(BUCKET, COLLECTION)
    for path in (RECORDS, CHANGES):
        check_expired(await line.ask(path, since[path]), since[path], "floor")
    line.close()


def test_flush_ends_what_it_has_removed_and_changes_the_epoch(scene: Scene) -> None:
    run_alone(flush(scene))
