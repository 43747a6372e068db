import pytest

from server.core.figures import Distribution, StorageFigures


@pytest.mark.parametrize(
    ("number", "counts"),
    [(0.5, [1, 0, 0]), (1, [1, 0, 0]), (1.5, [0, 1, 0]), (5, [0, 1, 0]), (6, [0, 0, 1])],
)
def test_number_is_counted_under_the_first_bound_that_is_not_below_it(
    number: float, counts: list[int]
) -> None:
    distribution = Distribution((1, 5))
    distribution.add(number)
    assert distribution.counts == counts
    assert (distribution.total, distribution.sum) == (1, number)


def test_group_is_counted_by_its_size_and_its_time() -> None:
    figures = StorageFigures()
    figures.committed(3, 0.004)
    figures.committed(500, 20)
    assert figures.group_sizes.sum == 503
    assert figures.group_sizes.total == 2
    assert figures.group_seconds.counts[-1] == 1
    assert StorageFigures().group_sizes.total == 0
