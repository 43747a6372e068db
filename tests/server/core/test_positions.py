import pytest

from server.core.errors import InvalidParameters
from server.core.positions import (
    SEQUENCE_MAX,
    TIMESTAMP_MAX,
    dated_position,
    exact_position,
    last_position,
    make_position,
    next_position,
    parse_cursor,
    sequence_of,
    spell_cursor,
    spell_date,
    spell_etag,
    spell_full_cursor,
    timestamp_of,
)

NOW = 1_700_000_000_000


def test_a_position_is_one_integer_that_sorts_as_the_pair() -> None:
    pairs = [(0, 0), (0, 1), (5, 0), (5, SEQUENCE_MAX), (6, 0), (TIMESTAMP_MAX, SEQUENCE_MAX)]
    positions = [make_position(t, n) for t, n in pairs]
    assert positions == sorted(set(positions))
    assert [(timestamp_of(p), sequence_of(p)) for p in positions] == pairs


def test_writes_after_the_greatest_date_of_a_client_still_fit_63_bits() -> None:
    position = make_position(TIMESTAMP_MAX)
    for _ in range(3):
        position = next_position(position, NOW)
    assert timestamp_of(position) == TIMESTAMP_MAX + 3
    assert make_position(2 * TIMESTAMP_MAX - 1, SEQUENCE_MAX) < 1 << 63


@pytest.mark.parametrize(
    ("clock", "now", "t"),
    [
        ((NOW - 5, 0), NOW, NOW),
        ((NOW, 0), NOW, NOW + 1),
        ((NOW, 7), NOW, NOW + 1),
        ((NOW + 9, 0), NOW, NOW + 10),
    ],
    ids=["later", "the same millisecond", "after a past date", "the clock went back"],
)
def test_a_write_is_dated_now_but_always_later_than_all(
    clock: tuple[int, int], now: int, t: int
) -> None:
    assert next_position(make_position(*clock), now) == make_position(t)


def test_a_date_in_the_past_is_kept_and_leaves_the_lists_etag() -> None:
    clock = make_position(NOW)
    first = dated_position(clock, NOW - 10, NOW + 5)
    second = dated_position(first[0], NOW - 20, NOW + 5)
    assert first == (make_position(NOW, 1), NOW - 10)
    assert second == (make_position(NOW, 2), NOW - 20)


def test_a_date_in_the_future_is_kept_and_becomes_the_lists_etag() -> None:
    date = NOW + 86_400_000
    position, stamp = dated_position(make_position(NOW, 3), date, NOW)
    assert (position, stamp) == (make_position(date), date)
    assert next_position(position, NOW) == make_position(date + 1)


def test_the_date_of_the_list_itself_is_moved_on_by_one() -> None:
    assert dated_position(make_position(NOW, 3), NOW, NOW + 50) == (
        make_position(NOW + 1),
        NOW + 1,
    )


@pytest.mark.parametrize(("now", "t"), [(NOW - 1, NOW + 1), (NOW + 50, NOW + 50)])
def test_a_date_in_the_past_is_the_servers_when_the_sequence_is_spent(now: int, t: int) -> None:
    clock = make_position(NOW, SEQUENCE_MAX)
    assert dated_position(clock, NOW - 10, now) == (make_position(t), t)


def test_a_date_in_the_future_is_kept_when_the_sequence_is_spent() -> None:
    clock = make_position(NOW, SEQUENCE_MAX)
    assert dated_position(clock, NOW + 7, NOW) == (make_position(NOW + 7), NOW + 7)


@pytest.mark.parametrize("date", [0, NOW - 1, NOW, NOW + 1, TIMESTAMP_MAX])
@pytest.mark.parametrize("n", [0, 1, SEQUENCE_MAX])
def test_every_dated_write_is_later_in_the_order(date: int, n: int) -> None:
    clock = make_position(NOW, n)
    position, _ = dated_position(clock, date, NOW)
    assert position > clock


def test_an_etag_is_quoted_and_a_cursor_shows_its_sequence() -> None:
    assert spell_etag(NOW) == '"1700000000000"'
    assert spell_cursor(make_position(NOW)) == "1700000000000"
    assert spell_cursor(make_position(NOW, 12)) == "1700000000000-12"


@pytest.mark.parametrize(
    ("text", "t", "n"),
    [
        ("0", 0, 0),
        ("1700000000000", NOW, 0),
        ('"1700000000000"', NOW, 0),
        ("1700000000000-12", NOW, 12),
        ('"1700000000000-12"', NOW, 12),
        ("5-1048575", 5, SEQUENCE_MAX),
        ("8796093022207", (1 << 43) - 1, 0),
    ],
)
def test_a_cursor_or_an_etag_is_read(text: str, t: int, n: int) -> None:
    assert parse_cursor(text) == make_position(t, n)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '""',
        "x",
        "-1",
        "5-",
        "5-x",
        "5-1048576",
        "5-12345678",
        "5-1-1",
        '"5',
        '5"',
        " 5",
        "5\n",
        "5.0",
        "٥",
        "W/5",
        "*",
        "8796093022208",
        "9999999999999-1048575",
        "10000000000000",
        "1" * 5000,
    ],
)
def test_what_is_no_cursor_or_has_no_room_in_63_bits_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_cursor(text)
    assert caught.value.message == "Invalid cursor: should be a number, or t-n"


def test_last_modified_is_an_http_date_of_whole_seconds() -> None:
    assert spell_date(1_700_000_000_999) == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert spell_date(TIMESTAMP_MAX) == "Wed, 15 May 2109 07:35:11 GMT"


def test_a_full_cursor_shows_its_sequence_also_where_it_is_none() -> None:
    for position, text in [(make_position(NOW), f"{NOW}-0"), (make_position(NOW, 12), f"{NOW}-12")]:
        assert spell_full_cursor(position) == text
        assert parse_cursor(text) == position


def test_the_last_position_of_a_timestamp_is_before_the_next() -> None:
    assert last_position(NOW) + 1 == make_position(NOW + 1)


def test_a_bad_cursor_is_blamed_on_its_parameter() -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_cursor("x", "_since")
    assert caught.value.problems[0].name == "_since"


@pytest.mark.parametrize(
    ("clock", "date", "position"),
    [
        (make_position(5, 3), 9, make_position(9)),
        (make_position(5, 3), 5, make_position(5, 4)),
        (make_position(5, 3), 0, make_position(5, 4)),
        (make_position(5, SEQUENCE_MAX), 5, make_position(6)),
        (make_position(0), 0, make_position(0, 1)),
    ],
)
def test_write_that_keeps_its_date_always_gets_a_later_place(
    clock: int, date: int, position: int
) -> None:
    assert exact_position(clock, date) == position
