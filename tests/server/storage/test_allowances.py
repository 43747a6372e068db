import pytest

from server.core.paths import object_path
from server.storage.allowances import Allowance, of_log
from server.storage.base import LogPage
from tests.server.storage.scenes import make_revision


@pytest.mark.parametrize(
    ("limit", "max_bytes", "taken", "is_spent"),
    [
        (9, None, "aaaa bbb cc d", False),
        (4, None, "aaaa bbb cc d", True),
        (2, None, "aaaa bbb", True),
        (0, None, "", True),
        (9, 0, "aaaa", True),
        (9, 3, "aaaa", True),
        # Exactly full is not beyond.
        (9, 4, "aaaa bbb", True),
        (9, 7, "aaaa bbb cc", True),
        (2, 7, "aaaa bbb", True),
        (9, 10, "aaaa bbb cc d", False),
        (9, 9, "aaaa bbb cc d", True),
    ],
)
def test_page_ends_with_its_limit_or_with_what_goes_beyond_its_bytes(
    limit: int, max_bytes: int | None, taken: str, is_spent: bool
) -> None:
    words = ["aaaa", "bbb", "cc", "d"]
    whole = Allowance(limit, max_bytes, len)
    # At once, or in parts.
    assert whole.take(words) == taken.split()
    assert whole.is_spent == is_spent
    parts = Allowance(limit, max_bytes, len)
    assert [one for word in words for one in parts.take([word])] == taken.split()
    assert parts.is_spent == is_spent


def test_entry_of_the_log_weighs_its_text_and_the_one_before() -> None:
    path = object_path("/buckets/b/groups/g").list
    entry = make_revision(json=b"12345", before=b"123")
    made = make_revision(json=b"12345", before=None)
    allowance = of_log(LogPage(path, 0, 1, 10, max_bytes=12))
    assert allowance.take([made, entry, made]) == [made, entry]
    assert allowance.is_spent
