import asyncio
import random
from dataclasses import dataclass, field

import pytest

from tests.live.conftest import Scene
from tests.live.copies import Copy, Message, Topic, position_of
from tests.live.histories import History, parents_of
from tests.live.oracle import introduce, prepare
from tests.live.sockets import Http, WebSocket
from tests.live.writers import BUCKET, COLLECTIONS, Chooser, Writer, write_markers
from tests.servers import run_alone

RECORDS = f"{COLLECTIONS[0]}/records"
TOPICS = {
    "records": Topic("list", RECORDS),
    "groups": Topic("list", f"{BUCKET}/groups"),
    "feed": Topic("feed", BUCKET),
}
USERS = ("alice", "erin")
TIMEOUT_SECONDS = 30.0
PER_CONNECTION = 100


@dataclass
class Recording:
    """A subscription that was live all the time.

    Attributes:
        copy: its fold.
        states: the fold at each cursor.
    """

    copy: Copy
    states: dict[str, dict[str, Message]] = field(default_factory=dict)

    def hear(self, message: Message) -> None:
        self.copy.hear(message)
        if self.copy.cursor is not None:
            self.states[self.copy.cursor] = dict(self.copy.state)


async def record(url: str, user: str, recordings: dict[str, Recording]) -> None:
    """Listen until the end, which comes when the last words were heard in the feed."""
    link = await WebSocket.open(url, user)
    bodies = [{"sub": s, "path": r.copy.topic.target} for s, r in recordings.items()]
    for recording in recordings.values():
        recording.hear({"type": "begin", "since": None})
    link.send({"type": "hello", "subscribe": [one | {"on_denied": "wait"} for one in bodies]})
    last = f"{RECORDS}/marker"
    while not all(last in recordings[name].copy.state for name in ("records", "feed")):
        message = await asyncio.wait_for(link.read(), TIMEOUT_SECONDS)
        assert message is not None
        if "sub" in message:
            recordings[message["sub"]].hear(message)
            if not recordings[message["sub"]].copy.subscribed:
                name = message["sub"]
                recordings[name].hear({"type": "begin", "since": None})
                path = recordings[name].copy.topic.target
                link.send({"type": "subscribe", "sub": name, "path": path, "on_denied": "wait"})
    link.abort()


async def resume(
    url: str, user: str, copies: dict[str, Copy], options: Message
) -> dict[str, list[Message]]:
    """Resume copies from their cursors, until each is ready; what each heard."""
    heard: dict[str, list[Message]] = {name: [] for name in copies}
    names = list(copies)
    for start in range(0, len(names), PER_CONNECTION):
        some = {name: copies[name] for name in names[start : start + PER_CONNECTION]}
        await _resume(url, user, some, options, heard)
    return heard


async def _resume(
    url: str,
    user: str,
    copies: dict[str, Copy],
    options: Message,
    heard: dict[str, list[Message]],
) -> None:
    link = await WebSocket.open(url, user)
    bodies = []
    for name, copy in copies.items():
        path = copy.topic.target
        bodies.append({"sub": name, "path": path, "since": copy.cursor, **options})
        copy.hear({"type": "begin", "since": copy.cursor})
    link.send({"type": "hello", "subscribe": bodies})
    while not all(copy.consistent or not copy.subscribed for copy in copies.values()):
        message = await asyncio.wait_for(link.read(), TIMEOUT_SECONDS)
        assert message is not None
        if "sub" in message:
            heard[message["sub"]].append(message)
            copies[message["sub"]].hear(message)
    link.abort()


async def perform(scene: Scene, seed: int) -> tuple[dict[str, dict[str, Recording]], History]:
    """Write at random while everybody listens without a break."""
    people = await introduce([scene.url])
    client = Http(scene.url, "alice")
    await prepare(client)
    recordings = {u: {n: Recording(Copy(t)) for n, t in TOPICS.items()} for u in USERS}
    listening = [asyncio.ensure_future(record(scene.url, user, recordings[user])) for user in USERS]
    writer = Writer(Chooser(random.Random(seed), people, padding=0), [scene.url], "alice")
    await writer.write(70)
    writer.close()
    await write_markers(client)
    await asyncio.wait_for(asyncio.gather(*listening), TIMEOUT_SECONDS)
    client.close()
    return recordings, History(scene.log())


async def resume_from_everywhere(scene: Scene, seed: int) -> None:
    recordings, history = await perform(scene, seed)
    people = await introduce([scene.url])
    count = 0
    for user, mine in recordings.items():
        for topic_name, recording in mine.items():
            topic = TOPICS[topic_name]
            final = history.contents(people[user], topic, len(history.log))
            for kind in ("latest", "all"):
                copies = {}
                for number, (cursor, state) in enumerate(recording.states.items()):
                    copy = copies[f"{number}"] = Copy(topic)
                    copy.cursor, copy.state = cursor, dict(state)
                starts = {name: copy.cursor or "" for name, copy in copies.items()}
                heard = await resume(scene.url, user, copies, {"history": kind})
                for name, copy in copies.items():
                    # What lies below the floor is refused; the client then begins anew.
                    expired = heard[name][0].get("code") == 410
                    assert expired or copy.state == final, (user, topic_name, kind, starts[name])
                    count += not expired
                    if kind == "all" and user == "alice" and not expired:
                        check_suffix(history, topic, starts[name], heard[name])
    assert count > 100


def check_suffix(history: History, topic: Topic, start: str, heard: list[Message]) -> None:
    """Who sees all, and asks for the whole history, gets exactly what came after a cursor."""
    if any(one["type"] == "reset" for one in heard):
        return
    told = [position_of(one["cursor"]) for one in heard if one["type"] == "event"]
    after = [history.position(topic, i) for i in history.entries(topic)]
    events = [one for one in after if one > position_of(start)]
    assert set(told) <= set(events)
    assert told == sorted(told)
    for position in set(events) - set(told):
        index = history.find(topic, position)
        assert index is not None
        uri = history.log[index].uri
        # Of what is gone by now, only its going is told; that with its parent is told of that.
        later = {one.uri for one in history.log[index:] if one.action == "delete"}
        assert uri not in history.worlds[-1] or later.intersection(parents_of(uri))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_cursor_of_a_run_leads_to_the_same_end(scene: Scene, seed: int) -> None:
    run_alone(resume_from_everywhere(scene, seed))
