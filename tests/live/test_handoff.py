import asyncio
import random

from tests.live.conftest import Scene
from tests.live.copies import Topic
from tests.live.histories import History
from tests.live.judges import Judge
from tests.live.oracle import Cast, check_end, first_failure, introduce, prepare
from tests.live.sockets import Http
from tests.live.subscribers import Subscriber, Temper, Wish
from tests.live.writers import BUCKET, COLLECTIONS, ensure_ok, write_markers
from tests.servers import run_alone

RECORDS = f"{COLLECTIONS[0]}/records"
WRITERS, BATCHES, PARTS = 4, 25, 10


async def fill(client: Http, count: int) -> None:
    """Make records, so many that a snapshot has several pages."""
    for start in range(0, count, 25):
        await put_batch(client, [f"old-{i}" for i in range(start, start + 25)])


async def put_batch(client: Http, ids: list[str]) -> None:
    body = {"data": {"n": 1, "tag": "a", "v": random.random()}}
    parts = [{"method": "PUT", "path": f"{RECORDS}/{one}", "body": body} for one in ids]
    ensure_ok(await client.ask("POST", "/batch", {"requests": parts}))


async def write(url: str, number: int) -> None:
    """Make records, and change old ones."""
    client = Http(url, "alice")
    rng = random.Random(number)
    for batch in range(BATCHES):
        new = [f"new-{number}-{batch}-{i}" for i in range(PARTS // 2)]
        old = [f"old-{rng.randrange(600)}" for _ in range(PARTS // 2)]
        await put_batch(client, new + old)
    client.close()


def make_subscriber(number: int) -> Subscriber:
    """One that sees all; every other one is cut off and comes back with its cursors."""
    topic = Topic("list", RECORDS)
    wishes = {
        "latest": Wish(topic, {}),
        "all": Wish(topic, {"history": "all"}),
        "feed": Wish(Topic("feed", BUCKET), {}),
    }
    return Subscriber("alice", wishes, Temper(patience=number % 2 * 60), random.Random(number))


async def hand_off(scene: Scene) -> None:
    cast = Cast([scene.url], await introduce([scene.url]))
    client = Http(scene.url, "alice")
    await prepare(client)
    await fill(client, 600)
    running = []
    writing = [asyncio.ensure_future(write(scene.url, number)) for number in range(WRITERS)]
    for number in range(6):
        cast.subscribers.append(make_subscriber(number))
        running.append(asyncio.ensure_future(cast.subscribers[-1].run(cast.urls)))
        await asyncio.sleep(0.05)
    await first_failure(writing, running)
    markers = await write_markers(client)
    for subscriber in cast.subscribers:
        subscriber.finish(markers)
    await asyncio.wait_for(first_failure(running, running), 60)
    client.close()
    history = History(scene.log())
    for subscriber in cast.subscribers:
        Judge(history, subscriber, cast.people["alice"], strict=True, sample=20).judge()
    await check_end(history, cast)
    new = [uri for uri in cast.subscribers[0].copies["latest"].state if "/new-" in uri]
    assert len(new) == WRITERS * BATCHES * PARTS // 2


def test_thousand_writes_during_snapshots_and_backfills_come_once_each(scene: Scene) -> None:
    run_alone(hand_off(scene))
