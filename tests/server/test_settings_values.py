import datetime
from typing import Any

import pytest

from server import settings_values as values
from server.settings_values import Parser


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (values.parse_text, "plain", "plain"),
        (values.parse_text, '"quoted as JSON"', "quoted as JSON"),
        (values.parse_text, '"half', '"half'),
        (values.parse_text, "1234", "1234"),
        (values.parse_flag, "true", True),
        (values.parse_flag, " On ", True),
        (values.parse_flag, "0", False),
        (values.parse_flag, '"no"', False),
        (values.whole_number(0), "0", 0),
        (values.whole_number(-1, 5), "5", 5),
        (values.parse_duration, "2.5", 2.5),
        (values.parse_words, "a b\n  c", ("a", "b", "c")),
        (values.parse_words, '["a b", "c"]', ("a b", "c")),
        (values.parse_words, "", ()),
        (values.parse_principals, "x y x", frozenset({"x", "y"})),
        (values.one_of("text", "json"), "json", "json"),
        (values.parse_id_generator, "kinto.views.NameGenerator", "NameGenerator"),
        (values.parse_id_generator, "UUID4", "UUID4"),
        (values.parse_mongodb_uri, "mongodb+srv://h", "mongodb+srv://h"),
        (values.parse_database, "kinto-1", "kinto-1"),
        (values.parse_date, "2030-01-02", datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)),
        (
            values.parse_date,
            "2030-01-02T03:00:00+01:00",
            datetime.datetime(2030, 1, 2, 2, tzinfo=datetime.UTC),
        ),
    ],
)
def test_text_of_a_setting_becomes_its_value(parse: Parser, text: str, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (values.parse_flag, "maybe"),
        (values.whole_number(1), "0"),
        (values.whole_number(1), "2.5"),
        (values.whole_number(0, 100), "101"),
        (values.parse_duration, "0"),
        (values.parse_duration, "nan"),
        (values.parse_duration, "inf"),
        (values.parse_duration, "soon"),
        (values.parse_words, "[1]"),
        (values.parse_words, "[a"),
        (values.one_of("text", "json"), "xml"),
        (values.parse_id_generator, "my.Generator"),
        (values.parse_mongodb_uri, "http://h"),
        (values.parse_database, "a/b"),
        (values.parse_database, "x" * 64),
        (values.parse_date, "tomorrow"),
    ],
)
def test_text_that_is_no_such_value_is_refused(parse: Parser, text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("mongodb://a:1,b:2/things?replicaSet=r", "things"),
        ("mongodb://u:p@a/th%20ings", "th ings"),
        ("mongodb://a/?replicaSet=r", None),
        ("mongodb://a", None),
        ("mongodb://%2Ftmp%2Fm.sock/things", "things"),
    ],
)
def test_database_of_an_address_is_what_stands_after_the_hosts(
    uri: str, database: str | None
) -> None:
    assert values.find_database(uri) == database
