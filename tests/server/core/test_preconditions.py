import pytest

from server.core.errors import InvalidParameters, ModifiedMeanwhile
from server.core.preconditions import (
    ANY,
    NONE,
    Precondition,
    check_read,
    is_refused,
    not_modified,
    parse_precondition,
)


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "expected"),
    [
        (None, None, NONE),
        ("", "", NONE),
        ("", None, NONE),
        (None, "", NONE),
        ("*", None, Precondition(match=ANY)),
        (None, "*", Precondition(none_match=ANY)),
        ('"0"', "", Precondition(match=0)),
        ("", '"1795438262135"', Precondition(none_match=1795438262135)),
        ('"12"', "*", Precondition(12, ANY)),
        ('"0012"', None, Precondition(12)),
    ],
)
def test_a_precondition_is_a_star_or_a_number_in_quotes(
    if_match: str | None, if_none_match: str | None, expected: Precondition
) -> None:
    assert parse_precondition(if_match, if_none_match) == expected


@pytest.mark.parametrize(
    "value",
    [
        "12",
        '"-1"',
        '"1.5"',
        '""',
        '"*"',
        '"abc"',
        'W/"12"',
        '"12", "13"',
        "*, *",
        '"12"\n',
        '"٣"',
        "'12'",
        " ",
        '"123456789012345678901"',
    ],
)
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
def test_anything_else_in_a_precondition_is_refused_by_name(name: str, value: str) -> None:
    headers = (value, None) if name == "If-Match" else (None, value)
    with pytest.raises(InvalidParameters) as caught:
        parse_precondition(*headers)
    [problem] = caught.value.problems
    assert (problem.location, problem.name) == ("header", name)
    assert problem.description == "The value should be integer between double quotes."


@pytest.mark.parametrize(
    ("precondition", "answer"),
    [
        (NONE, False),
        (Precondition(match=10), False),
        (Precondition(none_match=10), True),
        (Precondition(none_match=9), False),
        (Precondition(none_match=11), False),
        (Precondition(none_match=ANY), False),
    ],
)
def test_a_read_is_not_modified_if_the_client_has_that_state(
    precondition: Precondition, *, answer: bool
) -> None:
    assert not_modified(precondition, 10) is answer


@pytest.mark.parametrize(
    "precondition",
    [
        NONE,
        Precondition(match=10),
        Precondition(match=ANY),
        Precondition(none_match=10),
        Precondition(none_match=9),
        Precondition(10, 10),
    ],
)
def test_a_read_goes_on_if_its_precondition_holds(precondition: Precondition) -> None:
    check_read(precondition, 10)


@pytest.mark.parametrize(
    "precondition",
    [
        Precondition(match=9),
        Precondition(match=11),
        Precondition(none_match=ANY),
        Precondition(10, ANY),
        Precondition(9, 10),
    ],
)
def test_a_read_of_another_state_is_412_with_the_state_that_is_there(
    precondition: Precondition,
) -> None:
    with pytest.raises(ModifiedMeanwhile) as caught:
        check_read(precondition, 10)
    assert caught.value.headers == {"ETag": '"10"'}
    assert caught.value.details is None


@pytest.mark.parametrize(
    ("precondition", "on_existing", "on_missing"),
    [
        (NONE, False, False),
        (Precondition(match=10), False, True),
        (Precondition(match=9), True, True),
        (Precondition(match=11), True, True),
        (Precondition(match=ANY), False, True),
        (Precondition(none_match=ANY), True, False),
        (Precondition(none_match=10), False, False),
        (Precondition(none_match=9), False, False),
        (Precondition(10, ANY), True, True),
        (Precondition(ANY, ANY), True, True),
        (Precondition(10, 10), False, True),
    ],
)
def test_a_write_is_refused_unless_both_preconditions_hold(
    precondition: Precondition, *, on_existing: bool, on_missing: bool
) -> None:
    assert is_refused(precondition, 10) is on_existing
    assert is_refused(precondition, None) is on_missing


def test_a_write_of_what_is_dated_zero_is_a_write_of_what_exists() -> None:
    assert is_refused(Precondition(none_match=ANY), 0)
    assert not is_refused(Precondition(match=0), 0)
