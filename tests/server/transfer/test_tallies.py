from server.core.commands import Loaded
from server.transfer.tallies import Tally


def test_counts_are_one_line() -> None:
    tally = Tally()
    tally.outcomes[Loaded.CREATED] = 1234
    tally.failed = 2
    words = "1,234 new, 0 replaced, 0 deleted, 0 the same already"
    assert tally.spell() == f"{words}, 0 newer here and left as they are, 2 refused"
    assert tally.total == 1236


def test_what_was_not_asked_for_is_told_only_where_there_is_some() -> None:
    tally = Tally(left_out=3, files=4)
    assert "4 files copied, 3 accounts left out" in tally.spell()
