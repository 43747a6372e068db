import pytest

from server.settings_metrics import parse_bounds


@pytest.mark.parametrize(
    ("text", "bounds"),
    [("0.1 1 2.5", (0.1, 1.0, 2.5)), ("0.01 6.0 Inf", (0.01, 6.0)), ('["1", "2"]', (1.0, 2.0))],
)
def test_bounds_are_ascending_numbers_without_infinity(
    text: str, bounds: tuple[float, ...]
) -> None:
    assert parse_bounds(text) == bounds


@pytest.mark.parametrize("text", ["", "inf", "x", "2 1", "1 1", "nan"])
def test_bounds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="each larger|numbers with"):
        parse_bounds(text)
