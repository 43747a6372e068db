"""The oracle: random writers, random subscribers, and a judge who knows only the log.

By hand, for as long as one likes: ``python -m tests.live.oracle --seed 1 --seconds 600``.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.core.revisions import Revision
from tests.live.copies import Filter, Message, Topic, check
from tests.live.histories import History
from tests.live.judges import Judge, differ
from tests.live.pollers import Poller
from tests.live.sockets import Http
from tests.live.stages import Stage
from tests.live.subscribers import GIVE_UP_SECONDS, Subscriber, Temper, Wish, describe
from tests.live.writers import (
    BUCKET,
    COLLECTIONS,
    GROUPS,
    OBJECTS,
    OTHER,
    USERS,
    Chooser,
    Writer,
    write_markers,
)
from tests.servers import run_alone

FILTERS = (
    None,
    Filter("n=1", "n", (1,)),
    Filter("tag=a", "tag", ("a",)),
    Filter("in_n=1,2", "n", (1, 2)),
)
FIELDS = (None, None, None, ("n",), ("v", "tag"))
LISTS = (
    f"{COLLECTIONS[0]}/records",
    f"{COLLECTIONS[0]}/records",
    f"{COLLECTIONS[1]}/records",
    f"{BUCKET}/groups",
    f"{BUCKET}/collections",
    "/buckets",
)


@dataclass(frozen=True)
class Play:
    """How much happens.

    Attributes:
        seed: decides everything but time.
        writers: at the same time.
        writes: of each.
        subscribers: connections.
        pollers: of lists.
        sharees: whether they may be those who see a part only.
        padding: how many records are long.
    """

    seed: int
    writers: int = 3
    writes: int = 60
    subscribers: int = 12
    pollers: int = 0
    sharees: bool = False
    padding: float = 0.1

    @property
    def narrow(self) -> bool:
        """Whether outboxes are so small that anybody may lag; else slow readers may."""
        return self.seed % 2 == 1

    def settings(self) -> dict[str, Any]:
        """Of the server."""
        messages, size = (1000, 1 << 20)
        if self.narrow:
            messages, size = random.Random(self.seed).choice(((3, 1500), (20, 8000)))
        return {"live_outbox_max_messages": messages, "live_outbox_max_bytes": size}


@dataclass
class Cast:
    """Everybody who takes part.

    Attributes:
        urls: of the servers.
        people: user ids by name; "" is the anonymous one's principal.
        subscribers: all of them.
        pollers: too.
        writers: too.
    """

    urls: list[str]
    people: dict[str, str] = field(default_factory=dict)
    subscribers: list[Subscriber] = field(default_factory=list)
    pollers: list[Poller] = field(default_factory=list)
    writers: list[Writer] = field(default_factory=list)


def make_wish(rng: random.Random) -> Wish:
    """A random subscription."""
    kind = rng.choices(("list", "object", "feed"), (6, 2, 3))[0]
    options: Message = {}
    if rng.random() < 0.3:
        options["history"] = "all"
    if rng.random() < 0.6:
        options["on_denied"] = "wait"
    if rng.random() < 0.3:
        options["include"] = ["permissions", "user_id", "old"]
    deliver = rng.choices(("data", "ids", "poke"), (8, 1, 1))[0]
    if deliver != "data":
        options["deliver"] = deliver
    path = {"feed": BUCKET, "list": rng.choice(LISTS), "object": rng.choice(OBJECTS)}[kind]
    chosen = rng.choice(FILTERS) if kind != "object" else None
    return Wish(Topic(kind, path, chosen, rng.choice(FIELDS), deliver == "ids"), options)


def make_subscriber(rng: random.Random, user: str) -> Subscriber:
    """A random subscriber."""
    events = rng.random() < 0.25
    count = 1 if events else rng.choice((1, 1, 2, 4))
    wishes = {f"s{i}": make_wish(rng) for i in range(count)}
    slow = rng.random() < 0.25
    temper = Temper(slow, rng.choice((0, 5, 20, 60)), rng.choice((0, 0, 0.1)), events)
    return Subscriber(user, wishes, temper, random.Random(rng.random()))


Disturb = Callable[[], Coroutine[Any, Any, None]]
Log = Callable[[], Sequence[Revision]]


async def leave_alone() -> None:
    """Nothing happens to the servers."""


def make_poller(rng: random.Random, user: str) -> Poller:
    """A random poller."""
    topic = Topic("list", rng.choice(LISTS))
    return Poller(user, topic, random.Random(rng.random()), waits=rng.random() < 0.5)


async def introduce(urls: list[str]) -> dict[str, str]:
    """The user ids of everybody, by name."""
    people = {"": "system.Everyone"}
    for name in USERS:
        if name:
            client = Http(urls[0], name)
            people[name] = (await client.ask("GET", "/")).body["user"]["id"]
            client.close()
    return people


async def prepare(client: Http) -> None:
    """Make what is there from the beginning."""
    for uri in (BUCKET, OTHER, *COLLECTIONS):
        check((await client.ask("PUT", uri)).status in (200, 201), uri)
    for uri in GROUPS:
        await client.ask("PUT", uri, {"data": {"members": []}})


def make_cast(play: Play, urls: list[str], people: dict[str, str]) -> Cast:
    """Everybody who takes part in a play."""
    rng = random.Random(play.seed)
    cast = Cast(urls, people)
    users = [*USERS, *(rng.choice(USERS) for _ in range(play.subscribers))][: play.subscribers]
    cast.subscribers = [make_subscriber(rng, user) for user in users]
    for number in range(play.writers):
        chooser = Chooser(random.Random(rng.random()), people, padding=play.padding)
        cast.writers.append(Writer(chooser, urls, "alice" if number % 3 < 2 else "bob"))
    polling = USERS if play.sharees else ("alice",)
    cast.pollers = [make_poller(rng, rng.choice(polling)) for _ in range(play.pollers)]
    return cast


async def perform(play: Play, urls: list[str], disturb: Disturb = leave_alone) -> Cast:
    """Let everybody do what they do, until all have heard the last words.

    Args:
        play: how much.
        urls: of the servers; all but the first may change meanwhile.
        disturb: what happens to the servers while the writers write.
    """
    cast = make_cast(play, urls, await introduce(urls))
    alice = Http(urls[0], "alice")
    await prepare(alice)
    running = [asyncio.ensure_future(one.run(urls)) for one in cast.subscribers]
    running += [asyncio.ensure_future(one.run(urls)) for one in cast.pollers]
    writing = [asyncio.ensure_future(one.write(play.writes)) for one in cast.writers]
    writing.append(asyncio.ensure_future(disturb()))
    try:
        await first_failure(writing, running)
        markers = await write_markers(alice)
        for subscriber in cast.subscribers:
            subscriber.finish(markers)
        for poller in cast.pollers:
            poller.finish(markers)
        await asyncio.wait_for(first_failure(running, running), GIVE_UP_SECONDS)
    except TimeoutError:
        pass  # Who has not heard all is told of below.
    finally:
        for task in (*running, *writing):
            task.cancel()
        await asyncio.gather(*running, *writing, return_exceptions=True)
        alice.close()
        for writer in cast.writers:
            writer.close()
    return cast


async def first_failure(
    awaited: Sequence["asyncio.Future[None]"], watched: Sequence["asyncio.Future[None]"]
) -> None:
    """Wait for tasks, but not beyond the failure of one of those that are watched."""
    pending = set(awaited)
    while pending:
        done, _ = await asyncio.wait(
            pending.union(one for one in watched if not one.done()),
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in done:
            task.result()
        pending -= done


async def check_end(history: History, cast: Cast) -> None:
    """Everybody has heard all, and has what GET gives now."""
    for subscriber in cast.subscribers:
        name = subscriber.user or "anonymous"
        heard = [f"\n  {sub} {describe(message)}" for sub, message in subscriber.transcript[-60:]]
        missing = subscriber.missing()
        check(not missing, name, subscriber.temper, "still misses", missing, *heard)
        client = Http(cast.urls[-1], subscriber.user)
        for sub, copy in subscriber.copies.items():
            if subscriber.wishes[sub].pokes:
                continue
            found = await read_all(client, copy.topic, history)
            wanted = {uri: copy.topic.show(data) for uri, data in found.items()}
            check(copy.state == wanted, name, copy.topic.target, differ(copy.state, wanted))
        client.close()


async def read_all(client: Http, topic: Topic, history: History) -> dict[str, Message]:
    """What GET gives of a topic, by URI."""
    if topic.kind == "object":
        return await _read_object(client, topic.path)
    query = f"?{topic.filter.query}" if topic.filter else ""
    if topic.kind == "list":
        return await _read_list(client, topic.path, query)
    passes = topic.filter.passes if topic.filter else lambda data: True
    found = await _read_object(client, topic.path)
    found = {uri: data for uri, data in found.items() if passes(data)}
    collections = [uri for uri in history.worlds[-1] if uri.split("/")[3:4] == ["collections"]]
    inside = [uri for uri in collections if uri.startswith(f"{BUCKET}/") and uri.count("/") == 4]
    lists = [f"{BUCKET}/groups", f"{BUCKET}/collections", *(f"{uri}/records" for uri in inside)]
    for path in lists:
        found |= await _read_list(client, path, query)
    return found


async def _read_object(client: Http, path: str) -> dict[str, Message]:
    answer = await client.ask("GET", path)
    return {path: answer.body["data"]} if answer.status == 200 else {}


async def _read_list(client: Http, path: str, query: str) -> dict[str, Message]:
    answer = await client.ask("GET", path + query)
    entries = answer.body["data"] if answer.status == 200 else []
    return {f"{path}/{one['id']}": one for one in entries}


async def run_play(
    play: Play, urls: list[str], log: Log, disturb: Disturb = leave_alone
) -> tuple[History, Cast]:
    """Perform a play and judge it.

    Raises:
        Broken: With a readable account.
    """
    cast = await perform(play, urls, disturb)
    history = History(log())
    for subscriber in cast.subscribers:
        user_id = cast.people[subscriber.user] if subscriber.user else ""
        may_lag = play.narrow or subscriber.temper.slow
        Judge(history, subscriber, user_id, strict=not may_lag).judge()
    for poller in cast.pollers:
        user_id = cast.people[poller.user] if poller.user else ""
        poller.judge(history, user_id)
        check(poller.is_done(), poller.user, poller.topic.path, "polls in vain", poller.polls[-3:])
    await check_end(history, cast)
    return history, cast


def run_in_memory(play: Play, slowness: float = 0.02) -> tuple[History, Cast]:
    """A play on a server of its own, whose storage dawdles."""
    settings = {"storage_backend": "memory", **play.settings()}
    stage = Stage(settings, seed=play.seed, slowness=slowness)
    try:
        return run_alone(run_play(play, [stage.url], stage.revisions))
    finally:
        stage.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run plays, one seed after the other, until time is up or one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--writes", type=int, default=60)
    parser.add_argument("--subscribers", type=int, default=12)
    parser.add_argument("--pollers", type=int, default=0)
    parser.add_argument("--sharees", action="store_true", help="that poll, too")
    parser.add_argument("--slowness", type=float, default=0.02)
    given = parser.parse_args(arguments)
    end = time.monotonic() + given.seconds
    seed = given.seed
    while True:
        play = Play(
            seed, given.writers, given.writes, given.subscribers, given.pollers, given.sharees
        )
        begun = time.monotonic()
        try:
            history, cast = run_in_memory(play, given.slowness)
        except AssertionError as error:
            print(f"seed {seed}: {error}\nfailed: {play}")
            return 1
        heard = sum(len(one.transcript) for one in cast.subscribers)
        spent = time.monotonic() - begun
        print(f"seed {seed}: {len(history.log)} revisions, {heard} messages, {spent:.1f} s")
        if time.monotonic() > end:
            return 0
        seed += 1


if __name__ == "__main__":
    sys.exit(main())
