from typing import get_args

import pytest
from jsonschema import Draft7Validator

from handlers.asyncapi_messages import CLIENT, SERVER, Described
from notifier.messages import Message, parse_message
from server.core.json_text import dump_json
from tests.test_project import sent_messages

SIDES = [
    *(("client", *one) for one in CLIENT.items()),
    *(("server", *one) for one in SERVER.items()),
]


def test_messages_of_clients_are_those_that_are_understood() -> None:
    assert sorted(CLIENT) == sorted(one.__name__.lower() for one in get_args(Message))


def test_messages_of_the_server_are_those_that_are_sent() -> None:
    assert sorted(SERVER) == sorted(sent_messages())


@pytest.mark.parametrize(("side", "kind", "one"), SIDES)
def test_example_of_a_message_is_one(side: str, kind: str, one: Described) -> None:
    example = {"type": kind, **one.example}
    schema = one.payload(kind)
    Draft7Validator.check_schema(schema)
    Draft7Validator(schema).validate(example)
    assert set(example) <= set(schema["properties"])
    assert set(one.required) <= set(one.fields)
    if side == "client":
        assert type(parse_message(dump_json(example).decode())).__name__.lower() == kind
