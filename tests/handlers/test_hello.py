import asyncio
import json
from pathlib import Path

import pytest

from server.core.errors import Unavailable
from server.core.permissions import Rules
from server.storage.base import Change
from server.storage.memory import MemoryStorage
from server.storage.memory_log import MemoryFeed
from tests.conftest import ExpectedLogs
from tests.handlers.conftest import ALICE, Fetch, Start
from tests.server.storage.scenes import RULES

pytestmark = pytest.mark.gen_test


class Hanging(MemoryStorage):
    """A database that does not answer until it is told to; knows whether it was given up."""

    cancelled = False

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.answers = asyncio.Event()

    async def check(self) -> bool:
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return True


class Sick(MemoryStorage):
    async def check(self) -> bool:
        return False


async def test_heartbeat_of_a_database_that_hangs_is_503_in_time(start: Start) -> None:
    storage = Hanging(Rules())
    fetch = await start(storage=storage, heartbeat_timeout_seconds=0.01)
    answer = await asyncio.wait_for(fetch("GET /__heartbeat__", user=None), 5)
    assert answer.status == 503
    others = dict(answer.json)
    assert others.pop("live")
    assert others == {"storage": False, "permission": False, "cache": False}
    assert storage.cancelled


class Deaf(MemoryStorage):
    """Its feed can be read only once it ``hears``."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.hears = asyncio.Event()
        self.failed = asyncio.Event()

    async def feed(self) -> MemoryFeed:
        feed = await super().feed()
        read = feed.read

        async def fail() -> list[Change]:
            if self.hears.is_set():
                return await read()
            self.failed.set()
            raise Unavailable("away", 3)

        feed.read = fail  # type: ignore[method-assign]
        return feed


async def test_heartbeat_tells_whether_changes_are_read(start: Start) -> None:
    storage = Deaf(RULES)
    fetch = await start(storage=storage)
    await storage.failed.wait()
    answer = await fetch("GET /__heartbeat__", user=None)
    assert answer.status == 503
    assert answer.json == {"storage": True, "permission": True, "cache": True, "live": False}
    storage.hears.set()
    async with asyncio.timeout(20):
        while (answer := await fetch("GET /__heartbeat__", user=None)).status == 503:
            # Each change that is told is one that was read.
            await fetch("PUT /buckets/b")
    assert answer.json["live"] is True


async def test_hanging_heartbeat_delays_nobody(start: Start) -> None:
    storage = Hanging(Rules())
    fetch = await start(storage=storage, heartbeat_timeout_seconds=600)
    heartbeat = asyncio.ensure_future(fetch("GET /__heartbeat__", user=None))
    assert (await fetch("GET /__lbheartbeat__", user=None)).json == {}
    assert (await fetch("GET /buckets")).status in (200, 403)
    assert not heartbeat.done()
    storage.answers.set()
    assert (await heartbeat).status == 200


async def test_heartbeat_of_a_sick_database_is_503(start: Start) -> None:
    fetch = await start(storage=Sick(Rules()))
    assert (await fetch("GET /__heartbeat__", user=None)).status == 503
    assert (await fetch("GET /__lbheartbeat__", user=None)).status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/__heartbeat__", "/__lbheartbeat__", "/__version__", "/contribute.json", "/permissions"],
)
async def test_view_that_is_only_read_is_405_for_other_methods(path: str, fetch: Fetch) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await fetch(f"{method} {path}", {})
        assert (answer.status, answer.json["errno"]) == (405, 115)
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_version_is_the_file_as_it_is_now_and_404_without_one(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "version.json"
    fetch = await start(version_json_path=path)
    assert (await fetch("GET /__version__", user=None)).status == 404
    path.write_text(json.dumps({"commit": "abc", "version": "1.0"}))
    answer = await fetch("GET /__version__", user=None)
    assert (answer.status, answer.json) == (200, {"commit": "abc", "version": "1.0"})


async def test_version_file_that_is_no_json_is_500_and_logged(
    start: Start, tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    path = tmp_path / "version.json"
    path.write_text("{")
    expected_logs("/v1/__version__ failed")
    fetch = await start(version_json_path=path)
    assert (await fetch("GET /__version__", user=None)).status == 500


async def test_hello_lists_the_groups_that_one_is_a_member_of(fetch: Fetch) -> None:
    user = (await fetch("GET /")).json["user"]
    await fetch("PUT /buckets/b")
    await fetch("PUT /buckets/b/groups/g", {"data": {"members": [user["id"]]}})
    after = (await fetch("GET /")).json["user"]
    assert after["principals"] == sorted([*user["principals"], "/buckets/b/groups/g"])
    assert after["bucket"] == user["bucket"]


async def test_hello_of_anonymous_asks_no_database(start: Start) -> None:
    class Away(MemoryStorage):
        def snapshot(self) -> None:  # type: ignore[override]
            raise AssertionError

    fetch = await start(storage=Away(Rules()))
    answer = await fetch("GET /", user=None)
    assert answer.status == 200
    assert "user" not in answer.json


async def test_hello_tells_the_project_and_the_end_of_service(start: Start) -> None:
    fetch = await start(project_name="mine", project_version="7", eos="2999-01-02")
    hello = (await fetch("GET /", user=ALICE)).json
    assert (hello["project_name"], hello["project_version"]) == ("mine", "7")
    assert hello["eos"].startswith("2999-01-02")


async def test_hello_announces_live_changes_in_whole_numbers(fetch: Fetch) -> None:
    about = (await fetch("GET /", user=None)).json["capabilities"]["live"]
    assert about["heartbeat"] == 25
    assert isinstance(about["heartbeat"], int)
    assert about["longpoll"] == {"max_wait": 25}
    assert about["limits"] == {
        "subscriptions": 128,
        "message_bytes": 65536,
        "event_bytes": 1048576,
    }
