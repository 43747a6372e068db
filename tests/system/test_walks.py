"""Walking a list page by page while others write to it."""

import random
import threading
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.system.clients import Answer, Client, Progress, records_of
from tests.system.conftest import Pair

OBJECTS = 300
STILL = 200
"""So many of them are left alone."""

WRITERS = 3
PAGE_SIZE = 7


def fill(client: Client, records: str) -> None:
    """Make the list: objects that will be left alone among ones that will not."""
    paths = [f"{records}/{'still' if i % 3 < 2 else 'busy'}-{i}" for i in range(OBJECTS)]
    for start in range(0, OBJECTS, 25):
        parts = [
            {"method": "PUT", "path": path, "body": {"data": {"n": len(path), "i": i % 10}}}
            for i, path in enumerate(paths[start : start + 25], start)
        ]
        answer = client.ask("POST", "/batch", {"requests": parts})
        assert {part["status"] for part in answer.body["responses"]} == {201}


def write(client: Client, records: str, number: int, stop: threading.Event, done: Progress) -> None:
    """Update, delete and create objects that are not to be left alone."""
    chance = random.Random(number)
    for i in count():
        if stop.is_set():
            return
        known = f"{records}/busy-{chance.randrange(2, OBJECTS, 3)}"
        answers = (
            client.ask("PUT", known, {"data": {"i": chance.randrange(10), "by": number}}),
            client.ask("PUT", f"{records}/new-{number}-{i % 50}", {"data": {"i": i % 10}}),
            client.ask("DELETE", f"{records}/busy-{chance.randrange(2, OBJECTS, 3)}"),
        )
        assert all(one.status in (200, 201, 404) for one in answers), answers
        done.add()


def walk(clients: list[Client], path: str) -> list[Answer]:
    """All pages, from one server after the other."""
    answers: list[Answer] = []
    following: str | None = path
    while following:
        answers.append(clients[len(answers) % 2].get(following))
        link = urlsplit(answers[-1].headers["Next-Page"] or "")
        following = f"{link.path.removeprefix('/v1')}?{link.query}" if link.path else None
        assert len(answers) < OBJECTS
    return answers


@pytest.mark.parametrize("order", ["", "&_sort=last_modified", "&_sort=i,-id"])
def test_walk_among_writers_shows_what_was_left_alone_once_and_a_poll_brings_the_rest(
    pair: Pair, collection: str, order: str
) -> None:
    records = f"{collection}/records"
    fill(pair.connect(), records)
    stop, progress = threading.Event(), Progress()
    works = [partial(write, pair.connect(i), records, i, stop, progress) for i in range(WRITERS)]
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        progress.wait_for(10)
        pages = walk([pair.connect(0), pair.connect(1)], f"{records}?_limit={PAGE_SIZE}{order}")
        progress.wait_for(10)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)

    assert {page.etag for page in pages} == {pages[0].etag}
    assert len(pages) >= STILL / PAGE_SIZE
    assert all(len(page.data) == PAGE_SIZE for page in pages[:-1])
    seen = [record for page in pages for record in page.data]
    still = [record["id"] for record in seen if record["id"].startswith("still-")]
    assert len(still) == len(set(still)) == STILL

    copy = {record["id"]: record for record in seen}
    since = pages[0].etag.strip('"')
    changes = pair.connect(1).get(f"{records}?_since={since}").data
    assert changes
    assert apply_changes(copy, changes) == records_of(pair.connect(), collection)


def apply_changes(copy: dict[str, Any], changes: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client has after a poll."""
    changed = {record["id"]: record for record in changes}
    assert len(changed) == len(changes)
    merged = copy | changed
    return {name: record for name, record in merged.items() if not record.get("deleted")}
