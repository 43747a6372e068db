import asyncio
from typing import Any

import pytest

from server.core.paths import object_path
from server.core.revisions import Revision
from server.storage.base import LogPage, RightsQuery, Trimming
from server.storage.memory_log import MemoryLog
from tests.server.storage.scenes import make_revision

PATH = object_path("/buckets/b/groups/g").list
NEVER = 1 << 62


def entry(number: int, **changed: Any) -> Revision:
    return make_revision(**{"seq": number, "position": number, "date": number, **changed})


class Untouchable(list[Revision]):
    """Revisions of which only some may be looked at."""

    allowed: range = range(0)

    def __getitem__(self, index: Any) -> Any:
        assert index in self.allowed, f"entry {index} was looked at"
        return super().__getitem__(index)


def test_view_shows_what_was_there_when_it_was_made() -> None:
    log = MemoryLog()
    log.append([entry(1), entry(2)])
    view = log.view()
    log.append([entry(3, touched=("x",))])
    assert [one.seq for one in view.page(LogPage(PATH, 0, NEVER, 9))] == [1, 2]
    assert [one.seq for one in view.page(LogPage("b", 0, NEVER, 9))] == [1, 2]
    last = view.last_entry(PATH, NEVER)
    assert last is not None
    assert last.seq == 2
    assert view.rights(RightsQuery("other", (), {"x"}, 0, 0)) == []
    assert [one.seq for one in log.view().rights(RightsQuery("other", (), {"x"}, 0, 0))] == [3]
    assert (view.at, log.view().at) == (1, 2)


def test_page_looks_at_no_more_entries_than_it_must() -> None:
    log = MemoryLog()
    elsewhere = {"list": "/buckets/b/collections", "uri": "/buckets/b/collections/c"}
    log.append([entry(number, **elsewhere) for number in range(1, 1001)])
    log.append([entry(1001), entry(1002), entry(1003)])
    log.append([entry(number, **elsewhere) for number in range(1004, 2001)])
    revisions = Untouchable(log.revisions)
    revisions.allowed = range(1000, 1003)
    log.revisions = revisions
    page = log.view().page(LogPage(PATH, 1001, NEVER, 9))
    assert [one.seq for one in page] == [1002, 1003]
    assert log.view().last_entry(PATH, 1002) is not None


def test_commit_without_entries_moves_no_time_and_wakes_nobody() -> None:
    log = MemoryLog()
    log.append([])
    assert log.commits == 0


@pytest.mark.gen_test
async def test_feed_gets_all_that_waits_at_once_and_nothing_after_its_end() -> None:
    log = MemoryLog()
    feed, closed = log.open_feed(), log.open_feed()
    log.append([entry(1), entry(2)])
    log.append([entry(3)])
    await closed.close()
    log.append([entry(4)])
    told = await feed.read()
    assert [(one.at, one.revision.seq) for one in told] == [(1, 1), (1, 2), (2, 3), (3, 4)]
    assert [one.revision.seq for one in await closed.read()] == [1, 2, 3]
    reading = asyncio.ensure_future(feed.read())
    await asyncio.sleep(0)
    assert not reading.done()
    log.append([entry(5)])
    assert [one.revision.seq for one in await reading] == [5]


def test_what_is_forgotten_is_left_to_views_that_were_opened_before() -> None:
    log = MemoryLog()
    log.append([entry(n) for n in range(1, 6)])
    old, page = log.view(), LogPage(PATH, 0, NEVER, 9)
    log.forget(Trimming(entry(1).bucket, removed=[2, 5], hollowed=[3], hidden=[4]), [old])
    assert [(one.seq, one.trimmed) for one in old.page(page)] == [(n, False) for n in range(1, 6)]
    shown = log.view().page(page)
    assert [(one.seq, one.trimmed) for one in shown] == [(1, False), (3, True), (4, True)]
    assert [one.seq for one in log.left] == [1, 3, 4]
    last = log.view().last_entry(PATH, NEVER)
    assert last is not None
    assert last.seq == 4
    # Again, and with nothing: no more than that.
    late = log.view()
    log.forget(Trimming(entry(1).bucket, removed=[2]), [late])
    log.forget(Trimming(entry(1).bucket), [late])
    assert [one.seq for one in late.page(page)] == [1, 3, 4]
