"""Rights taken away while they are used, through two servers."""

import json
import threading
from functools import partial
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.change_stream import ChangeStream

from tests.system.clients import Answer, Client, Progress, run_together
from tests.system.conftest import Pair

ROUNDS = 50
GROUP = "/buckets/people/groups/g"


class Shared:
    """A collection that Bob may write through a group of another bucket.

    Attributes:
        records: URI of its list.
    """

    def __init__(self, pair: Pair, collection: str) -> None:
        self.records = f"{collection}/records"
        self._owner = pair.connect()
        self._bobs = [pair.connect(0, "bob"), pair.connect(1, "bob")]
        self._bob = str(self._bobs[0].get("/").body["user"]["id"])
        self._owner.put("/buckets/people")
        self.grant()
        self._owner.put(collection, write=[GROUP])

    def grant(self) -> Answer:
        return self._owner.put(GROUP, {"members": [self._bob]})

    def revoke(self) -> Answer:
        return self._owner.put(GROUP, {"members": []})

    def create(self, number: int, record: str) -> int:
        """Bob creates a record through one of the servers; the status."""
        path = f"{self.records}/{record}-{number}"
        return self._bobs[number].ask("PUT", path, {"data": {}}).status


@pytest.fixture
def shared(pair: Pair, collection: str) -> Shared:
    return Shared(pair, collection)


def test_write_after_a_revocation_through_another_buckets_group_is_refused_by_both_servers(
    shared: Shared,
) -> None:
    for i in range(ROUNDS):
        # Always new records: who has written one may write it again in his own right.
        shared.grant()
        assert [shared.create(number, f"granted-{i}") for number in (0, 1)] == [201, 201]
        shared.revoke()
        assert [shared.create(number, f"revoked-{i}") for number in (1, 0)] == [403, 403]


class Race:
    """Bob writes without a pause while the owner revokes and grants by turns.

    Attributes:
        changes: the answers to the owner: a revocation, a grant, and so on.
    """

    def __init__(self, shared: Shared) -> None:
        self.changes: list[Answer] = []
        self._shared = shared
        self._finished = threading.Event()
        self._progress = Progress()

    def run(self, bobs: list[Client]) -> list[Answer]:
        """The answers to Bob."""
        writes = [partial(self._write, client, i) for i, client in enumerate(bobs)]
        return sum(run_together(self._change_rights, *writes), [])

    def _change_rights(self) -> list[Answer]:
        try:
            for _ in range(ROUNDS):
                for change in (self._shared.revoke, self._shared.grant):
                    self.changes.append(change())
                    # So many that every writer has begun one since.
                    self._progress.wait_for(8)
        finally:
            self._finished.set()
        return []

    def _write(self, client: Client, number: int) -> list[Answer]:
        answers: list[Answer] = []
        while not self._finished.is_set():
            path = f"{self._shared.records}/{number}-{len(answers)}"
            answers.append(client.ask("PUT", path, {"data": {}}))
            self._progress.add()
        return answers


def read_all(stream: ChangeStream[dict[str, Any]]) -> list[dict[str, Any]]:
    """The log as a change stream tells it, in the order of the commits, until it falls silent."""
    found = []
    while (change := stream.try_next()) is not None:
        found.append(change["fullDocument"])
    return found


def test_write_that_races_a_revocation_is_never_accepted_after_it(
    pair: Pair, shared: Shared, mongo_client: MongoClient[dict[str, Any]], database: str
) -> None:
    race = Race(shared)
    with mongo_client[database]["revisions"].watch(max_await_time_ms=1000) as stream:
        writes = race.run([pair.connect(i, "bob") for i in range(4)])
        log = read_all(stream)
    assert {one.status for one in writes} == {201, 403}

    def between(before: Answer, after: Answer) -> set[int]:
        """Statuses of the writes that lie wholly between two changes; others may go either way."""
        inner = [w for w in writes if before.ended < w.started and w.ended < after.started]
        return {one.status for one in inner}

    revocations, grants = race.changes[::2], race.changes[1::2]
    assert [between(*both) for both in zip(revocations, grants, strict=True)] == [{403}] * ROUNDS
    later = zip(grants[:-1], revocations[1:], strict=True)
    assert [between(*both) for both in later] == [{201}] * (ROUNDS - 1)

    granted = True
    assert len(log) == len(race.changes) + sum(one.status == 201 for one in writes)
    for revision in log:
        if revision["uri"] == GROUP:
            granted = bool(json.loads(revision["json"])["members"])
        elif revision["list"] == shared.records:
            assert granted, "committed after the revocation"
