import asyncio
import random

import pytest

from tests.conftest import StartServer
from tests.live.conftest import MongoLog
from tests.live.copies import Broken, Copy, Topic
from tests.live.oracle import Play, run_in_memory, run_play
from tests.live.stages import Stage
from tests.servers import run_alone


@pytest.mark.parametrize("seed", range(10))
def test_every_subscriber_has_what_get_gives_whatever_happened_in_memory(seed: int) -> None:
    # Every other play has pollers, too, some of whom see only a part.
    history, cast = run_in_memory(Play(seed, pollers=4 * (seed % 2), sharees=True))
    assert len(history.log) > 60
    assert sum(len(one.transcript) for one in cast.subscribers) > 300


@pytest.mark.parametrize("seed", [100])
def test_every_subscriber_of_two_servers_has_what_get_gives_on_mongodb(
    seed: int, mongo_uri: str, mongo_database: str, mongo_log: MongoLog
) -> None:
    play = Play(seed)
    settings = {"mongodb_uri": mongo_uri, "mongodb_database": mongo_database, **play.settings()}
    stages = [Stage(settings, seed=seed + number, slowness=0.01) for number in range(2)]
    try:
        history, _ = run_alone(run_play(play, [one.url for one in stages], mongo_log.read))
    finally:
        for stage in stages:
            stage.stop()
    assert len(history.log) > 60


def test_every_subscriber_has_what_get_gives_after_servers_were_killed(
    mongo_uri: str, mongo_database: str, mongo_log: MongoLog, start_server: StartServer
) -> None:
    play = Play(200, writes=80)
    environ = {"MONGODB_URI": mongo_uri, "KINTO_MONGODB_DATABASE": mongo_database}
    environ |= {f"KINTO_{name.upper()}": str(v) for name, v in play.settings().items()}
    servers = [start_server(environ=environ) for _ in range(2)]
    urls = [one.url.rstrip("/") for one in servers]
    rng = random.Random(play.seed)

    async def kill() -> None:
        for _ in range(2):
            await asyncio.sleep(0.3 + rng.random() * 0.3)
            servers[-1].kill()
            loop = asyncio.get_running_loop()
            servers.append(await loop.run_in_executor(None, lambda: start_server(environ=environ)))
            urls[-1] = servers[-1].url.rstrip("/")

    history, _ = run_alone(run_play(play, urls, mongo_log.read, kill))
    assert len(history.log) > 60


def test_copy_that_misses_an_event_says_so() -> None:
    copy = Copy(Topic("list", "/buckets/a/collections/c/records"))
    copy.hear({"type": "begin", "since": "5"})
    copy.hear({"type": "subscribed", "path": copy.topic.target, "mode": "backfill", "cursor": "9"})
    copy.hear({"type": "ready", "prev": "5", "cursor": "9"})
    with pytest.raises(Broken, match="prev is 10 and should be 9"):
        copy.hear({"type": "progress", "prev": "10", "cursor": "11"})
