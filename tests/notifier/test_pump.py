import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from notifier import pump as pump_module
from notifier.hub import Hub
from notifier.pump import Pump, Watcher
from server.core.errors import Unavailable
from server.core.permissions import Rules
from server.core.revisions import Revision
from server.storage.base import Change, Gap
from tests.conftest import ExpectedLogs

pytestmark = pytest.mark.gen_test


class ScriptedFeed:
    """A feed that gives what it was told to, then nothing for ever."""

    def __init__(self, *script: list[Change] | Exception) -> None:
        self.at = 0
        self._script = list(script)
        self.ended = asyncio.Event()

    async def read(self) -> list[Change]:
        if not self._script:
            self.ended.set()
            await asyncio.Event().wait()
        step = self._script.pop(0)
        if isinstance(step, Exception):
            self.at += 1000
            raise step
        return step

    async def close(self) -> None:
        """Nothing to let go of."""


class WatchedHub(Hub):
    """A hub that tells what it was told."""

    def __init__(self) -> None:
        super().__init__(Rules(), 1000)
        self.told: list[object] = []
        self.failing: Callable[[Change], bool] = lambda change: False

    def route(self, change: Change) -> None:
        if self.failing(change):
            raise ValueError("cannot be told")
        self.told.append(change.at)

    def forget_past(self, at: int) -> None:
        self.told.append(("gap", at))


def change(at: int, bucket: str = "b") -> Change:
    uri = f"/buckets/{bucket}/collections/c/records/r"
    list_uri = f"/buckets/{bucket}/collections/c/records"
    revision = Revision(
        uri, list_uri, bucket, at, at, "create", "u", at, at, None, b"{}", {}, {}, (), ()
    )
    return Change(at, revision)


class Listener:
    """Notes what it is told."""

    def __init__(self, bucket: str | None = None) -> None:
        self.bucket = bucket
        self.told: list[object] = []

    def tell(self, revision: Revision) -> None:
        self.told.append(revision.seq)

    def lose(self) -> None:
        self.told.append("lost")


async def run(
    feed: ScriptedFeed,
    hub: WatchedHub,
    flush: Callable[[], Any] = lambda: None,
    watchers: Sequence[Watcher] = (),
    told: Callable[[Change], None] | None = None,
) -> Pump:
    pump = Pump(feed, hub, flush, watchers)
    pump.told = told
    task = asyncio.ensure_future(pump.run())
    await asyncio.wait_for(feed.ended.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return pump


async def test_changes_reach_the_hub_in_order_and_are_flushed_batch_by_batch() -> None:
    feed, hub = ScriptedFeed([change(1), change(2)], [], [change(3)]), WatchedHub()
    flushed: list[int] = []
    pump = await run(feed, hub, lambda: flushed.append(len(hub.told)))
    assert hub.told == [1, 2, 3]
    assert flushed[0] == 2
    assert flushed[-1] == 3
    assert pump.well


async def test_large_batch_is_told_in_turns() -> None:
    feed, hub = ScriptedFeed([change(at) for at in range(1, 601)]), WatchedHub()
    flushed: list[int] = []
    await run(feed, hub, lambda: flushed.append(len(hub.told)))
    assert hub.told == list(range(1, 601))
    assert flushed == [256, 512, 600]


async def test_change_that_takes_long_to_tell_gives_others_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pump_module, "_TURN_SECONDS", 0)
    feed, hub = ScriptedFeed([change(1), change(2), change(3)]), WatchedHub()
    flushed: list[int] = []
    await run(feed, hub, lambda: flushed.append(len(hub.told)))
    assert hub.told == [1, 2, 3]
    assert flushed == [1, 2, 3]


async def test_database_that_cannot_be_reached_is_asked_again() -> None:
    away = Unavailable("The database cannot be reached.", 3)
    feed, hub = ScriptedFeed([change(1)], away, away, [change(2)]), WatchedHub()
    pump = await run(feed, hub)
    assert hub.told == [1, 2]
    assert pump.well


async def test_gap_makes_everybody_catch_up(expected_logs: ExpectedLogs) -> None:
    expected_logs("changes were missed")
    feed, hub = ScriptedFeed([change(1)], Gap(), [change(2)]), WatchedHub()
    await run(feed, hub)
    assert hub.told == [1, ("gap", 1000), 2]


async def test_watchers_are_told_of_what_is_done_in_their_bucket_and_of_gaps(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("changes were missed")
    feed = ScriptedFeed([change(1), change(2, "other")], Gap(), [change(3)])
    everything, one = Listener(), Listener("other")
    await run(feed, WatchedHub(), watchers=[everything, one])
    assert everything.told == [1, 2, "lost", 3]
    assert one.told == [2, "lost"]


async def test_change_that_cannot_be_told_does_not_silence_what_follows(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("the changes cannot be told")
    feed, hub = ScriptedFeed([change(1), change(2)], [change(3)]), WatchedHub()
    hub.failing = lambda told: told.at == 2
    await run(feed, hub)
    assert hub.told == [1, ("gap", 2), 3]


async def test_last_change_of_each_batch_is_given_to_who_asked_once_all_are_told() -> None:
    feed, hub = ScriptedFeed([change(1), change(2)], [], [change(3)]), WatchedHub()
    seen: list[tuple[int, int]] = []

    def note(last: Change) -> None:
        seen.append((last.at, len(hub.told)))

    await run(feed, hub, told=note)
    assert seen == [(2, 2), (3, 3)]
