import asyncio
import json
import random
from typing import Any

import pytest

from tests.live.conftest import Scene
from tests.live.copies import Topic
from tests.live.histories import History
from tests.live.judges import Judge
from tests.live.oracle import Cast, check_end, first_failure, introduce, prepare
from tests.live.sockets import Http
from tests.live.subscribers import Subscriber, Temper, Wish
from tests.live.writers import BUCKET, COLLECTIONS, GROUPS, ensure_ok, write_markers
from tests.servers import run_alone

COLLECTION = COLLECTIONS[0]
RECORDS = f"{COLLECTION}/records"
ROUNDS = 200

Part = dict[str, Any]


def make_rights(way: str, bob: str) -> tuple[Part, Part]:
    """Requests that take and give Bob his right on the collection."""
    if way == "directly":
        path, named = COLLECTION, [bob]
    else:
        path = GROUPS[0] if way == "by a group" else GROUPS[2]
        revoked = {"method": "PUT", "path": path, "body": {"data": {"members": []}}}
        return revoked, {"method": "PUT", "path": path, "body": {"data": {"members": [bob]}}}
    taken: Part = {"method": "PATCH", "path": path, "body": {"permissions": {"read": []}}}
    return taken, {**taken, "body": {"permissions": {"read": named}}}


def make_round(revoke: Part, grant: Part, number: int) -> list[Part]:
    """Revoke and write at once; grant again when it is gone."""
    secret = f"{RECORDS}/secret-{number}"
    data = {"data": {"secret": True}}
    return [
        revoke,
        {"method": "PUT", "path": secret, "body": data},
        {"method": "PUT", "path": secret, "body": data},
        {"method": "DELETE", "path": secret},
        grant,
        {"method": "PUT", "path": f"{RECORDS}/public-{number % 10}", "body": {"data": {"n": 1}}},
    ]


async def revoke_and_write(scene: Scene, way: str, bob: str) -> None:
    """By turns in one batch, and one request after the other on several connections."""
    revoke, grant = make_rights(way, bob)
    clients = [Http(scene.url, "alice") for _ in range(2)]
    for number in range(ROUNDS):
        parts = make_round(revoke, grant, number)
        if number % 2:
            ensure_ok(await clients[0].ask("POST", "/batch", {"requests": parts}))
            continue
        for index, part in enumerate(parts):
            client = clients[index % 2]
            ensure_ok(await client.ask(part["method"], part["path"], part.get("body")))
    for client in clients:
        client.close()


def make_subscribers() -> list[Subscriber]:
    """Bob listens all the time, and again with one who comes and goes."""
    wishes = {
        "list": Wish(Topic("list", RECORDS), {"on_denied": "wait"}),
        "all": Wish(Topic("list", RECORDS), {"on_denied": "wait", "history": "all"}),
        "feed": Wish(Topic("feed", BUCKET), {"on_denied": "wait"}),
    }
    tempers = (Temper(), Temper(patience=10), Temper(patience=2))
    return [Subscriber("bob", wishes, one, random.Random(i)) for i, one in enumerate(tempers)]


async def revoke_often(scene: Scene, way: str) -> None:
    cast = Cast([scene.url], await introduce([scene.url]), make_subscribers())
    client = Http(scene.url, "alice")
    await prepare(client)
    named = {"by a group": GROUPS[0], "by another bucket's group": GROUPS[2]}
    acl = {"permissions": {"read": [named[way]] if way in named else []}}
    ensure_ok(await client.ask("PATCH", COLLECTION, acl))
    running = [asyncio.ensure_future(one.run(cast.urls)) for one in cast.subscribers]
    writing = asyncio.ensure_future(revoke_and_write(scene, way, cast.people["bob"]))
    await first_failure([writing], running)
    markers = await write_markers(client)
    for subscriber in cast.subscribers:
        subscriber.finish(markers)
    await asyncio.wait_for(first_failure(running, running), 60)
    client.close()
    history = History(scene.log())
    for subscriber in cast.subscribers:
        heard = [m for _, m in subscriber.transcript if '"secret": true' in json.dumps(m)]
        assert heard == []
        Judge(history, subscriber, cast.people["bob"], strict=True).judge()
    await check_end(history, cast)


@pytest.mark.parametrize("way", ["directly", "by a group", "by another bucket's group"])
def test_write_after_a_revocation_never_reaches_who_lost_the_right(scene: Scene, way: str) -> None:
    run_alone(revoke_often(scene, way))
