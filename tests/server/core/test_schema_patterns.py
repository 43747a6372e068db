import random
import time

import pytest
from jsonschema_rs import Draft7Validator

from server.core.schema_patterns import BadPattern, fancy_options, linear_options, measure


@pytest.mark.parametrize(
    "expression", [r"^\d{4}-\d{2}$", "^[a-z]+$", "(a|b)*c", "^.{0,2000}$", r"\w+@\w+"]
)
def test_most_expressions_run_in_the_linear_engine(expression: str) -> None:
    assert not measure(expression).is_fancy


@pytest.mark.parametrize("expression", ["^(?=.*a).*$", "(?!x)y", r"(a)\1", "(?<=a)b"])
def test_look_around_and_back_references_need_the_other(expression: str) -> None:
    assert measure(expression).is_fancy


@pytest.mark.parametrize("expression", ["(", "[", "a{5,2}", "(((a{99}){99}){99}){99}"])
def test_what_cannot_be_compiled_is_told(expression: str) -> None:
    with pytest.raises(BadPattern):
        measure(expression)


def test_expression_that_is_in_few_places_at_once_is_cheap_however_large_it_is() -> None:
    assert measure("^.{0,2000}$").ns_per_byte < 1000 < measure("^(.{0,2000}){2}$").ns_per_byte
    # The marks in a class or behind a backslash are none.
    assert measure(r"^[*+?{|(]{1,1000}\+\($").ns_per_byte < 1000


@pytest.mark.parametrize(
    "expression",
    [
        "(a|b)*a(a|b){20}c",
        "(a|b)*a(a|b){200}c",
        "(a|b)*a(a|b){1000}c",
        "^(a|ab|b)*$",
        "(x+x+)+y",
        "(?=.*c)(?=.*d)x",
        "(?=.*a)(?=.*b)(?=.*a)(?=.*b)x",
        "(?=(a|b)*a(a|b){50}c)x",
        r"(a*)*\1c",
    ],
)
def test_no_expression_takes_longer_than_it_was_measured_to(expression: str) -> None:
    pattern = measure(expression)
    # So long as it may be for a second.
    length = min(100_000, int(1e9 / pattern.ns_per_byte))
    text = "".join(random.Random(7).choices("ab", k=length))
    options = fancy_options() if pattern.is_fancy else linear_options()
    validator = Draft7Validator({"pattern": expression}, pattern_options=options)
    start = time.process_time()
    validator.is_valid(text)
    assert time.process_time() - start < 1 + length * pattern.ns_per_byte / 1e9
