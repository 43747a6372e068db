from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.json_text import HugeInteger
from server.core.values import order_key
from server.storage.mongo.shadow import (
    MAX_SHADOW_DEPTH,
    MAX_SHADOW_JSON_BYTES,
    approximate_number,
    escape_key,
    make_shadow,
)


def nested(levels: int) -> Any:
    value: Any = 1
    for i in range(levels):
        value = [value] if i % 2 else {"a": value}
    return value


def test_plain_data_is_its_own_shadow_without_the_documents_own_fields() -> None:
    data = {"id": "r", "last_modified": 1, "a": {"id": [1, 2.5, None, True, "x"]}}
    assert make_shadow(data, 10) == {"a": {"id": [1, 2.5, None, True, "x"]}}


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("plain", "plain"),
        ("", "%"),
        ("a.b", "a%2Eb"),
        ("$set", "%24set"),
        ("a\0b", "a%00b"),
        ("%", "%25"),
        ("%2E", "%252E"),
        ("é", "é"),
    ],
)
def test_keys_that_bson_refuses_are_escaped_at_every_level(name: str, escaped: str) -> None:
    assert escape_key(name) == escaped
    assert make_shadow({name: [{name: 1}]}, 10) == {escaped: [{escaped: 1}]}


@given(st.sets(st.text(alphabet=".$%\0a205E4", max_size=4)))
def test_no_two_keys_become_one_and_bson_holds_them(names: set[str]) -> None:
    shadow = make_shadow(dict.fromkeys(names, 1), 10)
    assert shadow is not None
    assert len(shadow) == len(names)
    assert bson.decode(bson.encode({"q": shadow}))["q"] == shadow
    assert not any("." in name or "$" in name or not name for name in shadow)


@pytest.mark.parametrize(
    ("number", "approximation"),
    [
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, 2.0**63),
        (-(2**64), -(2.0**64)),
        (10**400, float("inf")),
        (-(10**400), float("-inf")),
        (HugeInteger("9" * 5000), float("inf")),
        (HugeInteger("-" + "9" * 5000), float("-inf")),
        (1e300, 1e300),
    ],
)
def test_number_beyond_64_bits_is_approximated(number: Any, approximation: float) -> None:
    assert approximate_number(number) == approximation
    shadow = make_shadow({"n": number}, 10)
    assert shadow == {"n": approximation}
    assert bson.decode(bson.encode(shadow)) == shadow


numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**53, 2**63, 2**64, 2**70, 10**400]).flatmap(
        lambda n: st.integers(n - 2, n + 2)
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(numbers, numbers)
def test_of_two_numbers_the_smaller_never_has_the_greater_shadow(one: Any, other: Any) -> None:
    smaller, greater = sorted([one, other], key=order_key)
    assert approximate_number(smaller) <= approximate_number(greater)
    if one == other:
        assert approximate_number(one) == approximate_number(other)


def test_object_nested_too_deep_has_no_shadow() -> None:
    assert make_shadow({"a": nested(MAX_SHADOW_DEPTH)}, 10) is not None
    assert make_shadow({"a": nested(MAX_SHADOW_DEPTH + 1)}, 10) is None


def test_object_too_large_has_no_shadow() -> None:
    assert make_shadow({"a": 1}, MAX_SHADOW_JSON_BYTES) == {"a": 1}
    assert make_shadow({"a": 1}, MAX_SHADOW_JSON_BYTES + 1) is None
