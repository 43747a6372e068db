import pytest

from notifier import backlogs
from notifier.backlogs import Backlog, Hold, _weight
from notifier.hub import Hub
from server.core.permissions import Rules
from server.core.revisions import Revision
from server.storage.base import Change
from tests.notifier.scenes import create


def keep(backlog: Backlog, *instants: int) -> None:
    for at in instants:
        backlog.keep(create(at))


def kept(backlog: Backlog, hold: Hold, at: int) -> list[int]:
    return [change.at for change in backlog.since(hold, at)]


def test_nothing_is_kept_where_nobody_reads() -> None:
    backlog = Backlog()
    keep(backlog, 1, 2)
    assert len(backlog) == 0


def test_changes_are_kept_as_long_as_the_first_reader_needs_them() -> None:
    backlog = Backlog()
    first = backlog.hold(1)
    keep(backlog, 2)
    second = backlog.hold(2)
    keep(backlog, 3, 4)
    assert kept(backlog, first, 1) == [2, 3, 4]
    assert kept(backlog, second, 2) == [3, 4]
    backlog.release(first)
    assert len(backlog) == 2
    assert kept(backlog, second, 3) == [4]
    backlog.release(second)
    backlog.release(second)
    assert len(backlog) == 0


def test_reading_older_than_what_was_told_before_is_not_current() -> None:
    backlog = Backlog()
    hold = backlog.hold(5)
    assert backlog.is_current(hold, 5)
    assert not backlog.is_current(hold, 4)


@pytest.mark.parametrize("limit", ["MAX_CHANGES", "MAX_BYTES"])
def test_who_reads_for_too_long_has_to_read_again(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 2 if limit == "MAX_CHANGES" else 2 * _weight(create(1))
    monkeypatch.setattr(backlogs, limit, size)
    backlog = Backlog()
    early = backlog.hold(0)
    keep(backlog, 1)
    late = backlog.hold(1)
    keep(backlog, 2)
    assert backlog.is_current(early, 2)
    keep(backlog, 3)
    assert not backlog.is_current(early, 3)
    assert backlog.is_current(late, 3)
    assert kept(backlog, late, 1) == [2, 3]


def test_change_that_is_larger_than_all_that_is_kept_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlogs, "MAX_BYTES", 10)
    backlog = Backlog()
    hold = backlog.hold(0)
    keep(backlog, 1)
    assert not backlog.is_current(hold, 1)
    assert len(backlog) == 0


def test_it_is_wanted_as_long_as_somebody_reads() -> None:
    backlog = Backlog()
    hold = backlog.hold(0)
    assert backlog.is_wanted
    backlog.release(hold)
    assert not backlog.is_wanted


def test_nobody_goes_on_across_changes_that_were_missed() -> None:
    backlog = Backlog()
    hold = backlog.hold(0)
    keep(backlog, 1)
    backlog.forget()
    assert len(backlog) == 0
    assert not backlog.is_current(hold, 9)
    again = backlog.hold(9)
    keep(backlog, 10)
    assert kept(backlog, again, 9) == [10]


class Sealed(Change):
    """A change that must not be looked at."""

    def __init__(self, at: int) -> None:
        self.__dict__["at"] = at

    @property
    def revision(self) -> Revision:
        raise AssertionError


def test_change_that_nobody_wants_is_not_even_looked_at() -> None:
    hub = Hub(Rules(), 1000)
    hub.route(Sealed(7))
    assert hub.at == 7
    hub.hold()
    with pytest.raises(AssertionError):
        hub.route(Sealed(8))
