"""Many writers and pollers on one list, through two servers."""

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from pymongo import MongoClient

from tests.system.clients import Answer, Client, run_together
from tests.system.conftest import Pair

WRITERS = 64
POLLERS = 4
WRITES_EACH = 12

Change = tuple[str, int]
"""Id and ``last_modified`` of a record."""


def write_records(pair: Pair, records: str, number: int) -> list[Answer]:
    """Create records of one's own, and now and then replace one that is everybody's."""
    client = pair.connect(number)
    answers = []
    for i in range(WRITES_EACH):
        record = "shared" if i % 4 == 3 else f"w{number}-{i}"
        answers.append(client.ask("PUT", f"{records}/{record}", {"data": {"by": number, "i": i}}))
    return answers


class Poller:
    """Follows a list: each answer's ETag is the next request's ``_since``.

    Attributes:
        seen: all changes, in the order in which they came.
        polls: how many answers there were.
    """

    def __init__(self, pair: Pair, records: str, *, conditional: bool) -> None:
        self._clients = [pair.connect(0), pair.connect(1)]
        self._records = records
        self._conditional = conditional
        self._etag = ""
        self.seen: list[Change] = []
        self.polls = 0

    def follow(self, writers_are_done: Callable[[], bool]) -> "Poller":
        """Poll both servers in turn; the last poll begins after the writers' end."""
        last = False
        while not last:
            last = writers_are_done()
            for client in self._clients:
                self._poll(client)
        return self

    def _poll(self, client: Client) -> None:
        since = self._etag
        path = f"{self._records}?_since={since.strip(chr(34))}" if since else self._records
        headers = {"If-None-Match": since} if since and self._conditional else {}
        answer = client.ask("GET", path, headers=headers)
        self.polls += 1
        assert answer.status == 200 or (answer.status == 304 and headers), answer
        if answer.status == 304:
            assert answer.etag == since
            return
        self._etag = answer.etag
        changes = [(one["id"], one["last_modified"]) for one in answer.data]
        first, last = int(since.strip('"') or 0), int(answer.etag.strip('"'))
        assert all(first < stamp <= last for _, stamp in changes)
        self.seen += changes


def revisions_of(client: MongoClient[dict[str, object]], database: str) -> list[dict[str, Any]]:
    """The log of the bucket, in its order."""
    return list(client[database]["revisions"].find({"bucket": "b"}).sort("seq", 1))


def write_and_poll(pair: Pair, records: str) -> tuple[list[Answer], list[Poller]]:
    done = threading.Barrier(WRITERS + 1)
    finished = threading.Event()

    def write(number: int) -> list[Answer]:
        try:
            return write_records(pair, records, number)
        finally:
            done.wait(60)

    def poll(number: int) -> list[Answer]:
        poller = Poller(pair, records, conditional=number % 2 == 1)
        pollers.append(poller.follow(finished.is_set))
        return []

    def tell_pollers() -> list[Answer]:
        done.wait(60)
        finished.set()
        return []

    pollers: list[Poller] = []
    works = [partial(write, i) for i in range(WRITERS)] + [partial(poll, i) for i in range(POLLERS)]
    answers = sum(run_together(tell_pollers, *works), [])
    return answers, pollers


def test_writers_through_two_servers_never_conflict_and_pollers_see_each_change_once(
    pair: Pair,
    collection: str,
    mongo_client: MongoClient[dict[str, object]],
    database: str,
) -> None:
    answers, pollers = write_and_poll(pair, f"{collection}/records")

    assert Counter(answer.status for answer in answers).keys() <= {200, 201}
    acknowledged = [(one.data["id"], one.data["last_modified"]) for one in answers]
    assert len(acknowledged) == WRITERS * WRITES_EACH

    log = revisions_of(mongo_client, database)
    assert max(Counter((one["list"], one["pos"]) for one in log).values()) == 1
    assert max(Counter(one["seq"] for one in log).values()) == 1
    written = [one for one in log if one["list"] == f"{collection}/records"]
    stored = [(one["uri"].rsplit("/", 1)[1], one["last_modified"]) for one in written]
    assert Counter(stored) == Counter(acknowledged)
    assert all(a["pos"] < b["pos"] for a, b in pairwise(written))
    assert all(a["last_modified"] < b["last_modified"] for a, b in pairwise(written))

    created = {change for change in acknowledged if change[0] != "shared"}
    newest = max(change for change in acknowledged if change[0] == "shared")
    assert len(pollers) == POLLERS
    for poller in pollers:
        assert poller.polls > 2
        assert max(Counter(poller.seen).values()) == 1
        assert created | {newest} <= set(poller.seen) <= set(acknowledged)
