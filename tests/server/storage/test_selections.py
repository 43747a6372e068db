import random

from server.core.json_text import dump_json
from server.core.objects import Listed
from server.core.sorting import Order, SortKey, full_order
from server.storage.selections import Smallest
from tests.server.storage.scenes import make_page

BY_N: Order = full_order([SortKey("n")])
URI = "/buckets/b/collections/c/records"


def make(index: int, n: int, padding: int = 0) -> Listed:
    data = {"id": f"r{index}", "last_modified": index, "n": n, "x": "x" * padding}
    return Listed(f"{URI}/r{index}", index, False, dump_json(data))


def test_first_objects_of_an_order_are_kept_whatever_order_they_come_in() -> None:
    objects = [make(index, index % 1000) for index in range(3000)]
    random.Random(1).shuffle(objects)
    best = Smallest(make_page(URI, order=BY_N, limit=5))
    for one in objects:
        best.add(one)
    assert [one.id for one in best.found()] == ["r2000", "r1000", "r0", "r2001", "r1001"]


def test_what_does_not_match_or_comes_before_the_page_is_left_out() -> None:
    page = make_page(URI, order=BY_N, limit=10, after=[[1], [1], ["r1"]])
    best = Smallest(page)
    for index in range(4):
        best.add(make(index, index))
    assert [one.id for one in best.found()] == ["r2", "r3"]


def test_page_ends_with_its_bytes() -> None:
    best = Smallest(make_page(URI, order=BY_N, limit=10, max_bytes=1500))
    for index in range(6):
        best.add(make(index, -index, padding=1000))
    assert [one.id for one in best.found()] == ["r5", "r4"]
