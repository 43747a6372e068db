import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.core.json_text import (
    MAX_DEPTH,
    BadJSON,
    HugeInteger,
    dump_json,
    dump_text,
    load_json,
    measure_depth,
    parse_json,
)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def nested(levels: int) -> str:
    """Objects and arrays in turn, ``levels`` of them."""
    opening = "".join('{"k":' if level % 2 else "[" for level in range(levels))
    closing = "".join("}" if level % 2 else "]" for level in reversed(range(levels)))
    return opening + "1" + closing


@given(JSON_VALUES)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back_as_it_was(value: Any) -> None:
    text = dump_json(value)
    assert repr(parse_json(text)) == repr(value)
    assert repr(load_json(text)) == repr(value)
    assert repr(json.loads(text)) == repr(value)


@given(JSON_VALUES)
@settings(max_examples=50, deadline=None)
def test_text_with_escapes_and_spaces_means_the_same(value: Any) -> None:
    assert repr(parse_json(json.dumps(value, indent=1))) == repr(value)


@pytest.mark.parametrize("key", ["$set", "$", "a.b", "", "__proto__", "_id", "a\0b", "\0", "名"])
def test_any_key_is_kept(key: str) -> None:
    value = {key: {key: "v\0w"}}
    assert load_json(dump_json(parse_json(json.dumps(value)))) == value


def test_order_of_keys_is_kept_and_of_duplicates_the_last_wins() -> None:
    assert list(parse_json('{"b":1,"a":2,"b":3}').items()) == [("b", 3), ("a", 2)]


def test_written_text_has_no_spaces_and_no_needless_escapes() -> None:
    assert dump_text({"a": ["/é", 1, "\n"]}) == '{"a":["/é",1,"\\n"]}'
    assert dump_json("é") == b'"\xc3\xa9"'


@pytest.mark.parametrize("digits", [1, 19, 20, 40, 4299, 4300, 4301, 10_000, 1_000_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_of_any_size_keeps_every_digit(digits: int, sign: str) -> None:
    number = sign + ("1234567890" * (digits // 10 + 1))[:digits]
    text = f'{{"n":[{number}]}}'.encode()
    stored = dump_json(parse_json(text))
    assert stored == text
    assert dump_json(load_json(stored)) == text


def test_a_number_is_the_same_value_whatever_stands_beside_it() -> None:
    number = "7" * 4200
    alone, beside = parse_json(f"[{number}]"), parse_json(f"[{number},{'8' * 5000}]")
    assert alone[0] == beside[0]


def test_a_huge_integer_is_equal_to_its_digits_only() -> None:
    one, same, other = HugeInteger("1" * 9), HugeInteger("1" * 9), HugeInteger("2" * 9)
    assert one == same
    assert one != other
    assert one != 111_111_111
    assert len({one, same, other}) == 2
    assert one.decimal == Decimal(111_111_111)
    assert repr(one) == "HugeInteger('111111111')"


@pytest.mark.parametrize("text", ["1.5", "-0.0", "1e22", "5e-324", "1.7976931348623157e308"])
def test_a_float_is_read_exactly(text: str) -> None:
    assert repr(parse_json(text)) == repr(float(text))


@pytest.mark.parametrize("text", ["0", "null", '"x"', " [1 ,\t2\r\n] ", '"\x7f"'])
def test_any_json_value_is_read(text: str) -> None:
    assert parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"01",
        b"-01",
        b"1.",
        b".5",
        b"-",
        b"+1",
        b"1e",
        b"0x10",
        b"[1,]",
        b'{"a":1,}',
        b"[,1]",
        b'{"a"}',
        b"{a:1}",
        b"{'a':1}",
        b'{"a":1',
        b"[1]]",
        b"{} x",
        b"nul",
        b"True",
        b'"a',
        b'"\\x41"',
        b'"\\u12"',
        b'"\n"',
        b'"\t"',
        b'"\0"',
        b'"\x1f"',
        b"[1]\0",
        b"[1]\x0c",
        b"/* */1",
        "[١]".encode(),
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadJSON, match="Invalid JSON"):
        parse_json(text)


@pytest.mark.parametrize("text", [b'"\xff"', b'"\xc3"', b'"\xc0\xaf"', b'"\xed\xa0\x80"'])
def test_what_is_no_utf8_is_refused(text: bytes) -> None:
    with pytest.raises(BadJSON, match="not UTF-8 at byte 1"):
        parse_json(text)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", '{"a":[NaN]}', "1e400", "-1e400", "1" * 400 + ".0"]
)
def test_a_number_that_json_or_a_double_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(BadJSON, match=r"is not a JSON value|beyond the range"):
        parse_json(text)


def test_a_bad_number_is_refused_beside_a_huge_integer_too() -> None:
    with pytest.raises(BadJSON, match="beyond the range"):
        parse_json(f"[{'1' * 5000},1e400]")
    with pytest.raises(BadJSON, match="NaN is not"):
        parse_json(f"[{'1' * 5000},NaN]")
    with pytest.raises(BadJSON, match="Expecting"):
        parse_json(f"[{'1' * 5000},]")


@pytest.mark.parametrize(
    "text",
    [
        r'"\ud800"',
        r'"\uDFFF"',
        r'"\udc00\ud800"',
        r'"\ud800\ud800\udc00"',
        r'{"\udbff":1}',
        r'[{"a":"x\uD83Dy"}]',
        '"\ud800"',
    ],
)
def test_a_lone_surrogate_is_refused(text: str) -> None:
    with pytest.raises(BadJSON, match="surrogate"):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [(r'"\ud83d\ude00"', "😀"), (r'{"\uD83D\uDE00":1}', {"😀": 1}), (r'"\\ud800"', r"\ud800")],
)
def test_a_pair_of_surrogates_and_an_escaped_backslash_are_characters(
    text: str, value: object
) -> None:
    assert parse_json(text) == value
    assert load_json(dump_json(value)) == value


def test_nesting_to_the_limit_is_read_and_written() -> None:
    text = nested(MAX_DEPTH).encode()
    assert dump_json(load_json(dump_json(parse_json(text)))) == text


def test_many_containers_side_by_side_are_not_nesting() -> None:
    assert parse_json("[" + "{}," * 1000 + "[]]")[-1] == []


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 900, 100_000])
def test_nesting_past_the_limit_is_refused(levels: int) -> None:
    with pytest.raises(BadJSON, match="nested deeper than 200 levels"):
        parse_json(nested(levels))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "]" * 100_000])
def test_a_flood_of_brackets_is_refused(text: str) -> None:
    with pytest.raises(BadJSON, match="Invalid JSON"):
        parse_json(text)


@pytest.mark.parametrize(
    ("value", "levels"), [(1, 0), ([], 1), ({}, 1), ({"a": []}, 2), ([1, [2], {"a": [{}]}], 4)]
)
def test_depth_counts_the_outermost_container_as_one(value: object, levels: int) -> None:
    assert measure_depth(value) == levels
