"""Writers that go on whatever happens, and what the log has of them."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient

from server.core.json_text import load_json
from server.core.positions import spell_cursor
from tests.system.clients import Answer, Client, Lost, Progress

MANY_SECONDS = 90.0
"""A write that is refused for so long is never taken."""


class StubbornWriters:
    """Create, change and delete records of a list, each until it is acknowledged.

    Attributes:
        acknowledged: data by id, as it was answered last; None for what was deleted.
        progress: counts what was acknowledged.
    """

    def __init__(self, url: str, records: str, seed: int) -> None:
        self.acknowledged: dict[str, Any] = {}
        self.progress = Progress()
        self._url = url
        self._records = records
        self._seed = seed
        self._stop = threading.Event()
        self._failures: list[BaseException] = []

    @contextmanager
    def writing(self, count: int = 4) -> Iterator["StubbornWriters"]:
        """Have so many write meanwhile; afterwards all that they began is acknowledged."""
        threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(2 * MANY_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        assert not self._failures, self._failures

    def _run(self, number: int) -> None:
        client = Client(self._url)
        try:
            self._write(client, number)
        except BaseException as error:
            self._failures.append(error)
        finally:
            client.close()

    def _write(self, client: Client, number: int) -> None:
        chance = random.Random(self._seed * 100 + number)
        turn = 0
        while not self._stop.is_set():
            turn += 1
            record = f"w{number}-{chance.randrange(20)}"
            if self.acknowledged.get(record) and chance.random() < 0.3:
                self._ask(client, "DELETE", record)
                self.acknowledged[record] = None
            else:
                body = {"data": {"n": turn, "even": turn % 2 == 0}}
                self.acknowledged[record] = self._ask(client, "PUT", record, body).data
            self.progress.add()

    def write_last(self) -> str:
        """One more record, when all others are done: the URI."""
        client = Client(self._url)
        self.acknowledged["last"] = self._ask(client, "PUT", "last", {"data": {"even": True}}).data
        client.close()
        return f"{self._records}/last"

    def _ask(self, client: Client, method: str, record: str, body: Any = None) -> Answer:
        """Ask until it is done."""
        end = time.monotonic() + MANY_SECONDS
        while time.monotonic() < end:
            try:
                answer = client.ask(method, f"{self._records}/{record}", body)
            except Lost:
                answer = None
            if answer is not None and answer.status != 503:
                # Deleted by the attempt before, of which no answer came.
                assert answer.is_success or (method, answer.status) == ("DELETE", 404), answer
                return answer
            # As a client that minds Retry-After, if a hasty one.
            time.sleep(0.1)
        raise AssertionError(f"{method} {record} is not taken")

    def live(self) -> dict[str, Any]:
        """What must be in the list now, by URI."""
        found = self.acknowledged.items()
        return {f"{self._records}/{record}": data for record, data in found if data is not None}


def read_log(
    client: MongoClient[dict[str, Any]], database: str, records: str
) -> list[tuple[str, str, Any]]:
    """Every revision of a list in its order: its cursor, what was done, and the data."""
    found = client[database]["revisions"].find({"list": records}).sort("pos", 1)
    return [(spell_cursor(one["pos"]), one["action"], load_json(one["json"])) for one in found]
