"""The body of a write: ``{"data": {...}, "permissions": {...}}``, checked once, stored as text."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.core.envelopes import parse_envelope, spell_value
from server.core.errors import Detail, InvalidParameters, TooLarge, invalid
from server.core.json_text import HugeInteger, dump_json
from server.core.objects import Permissions
from server.core.paths import ALL_KINDS, invalid_id, is_valid_id
from server.core.permissions import EVERYONE, GRANTABLE
from server.core.positions import TIMESTAMP_MAX
from server.core.schemas import BUCKET_FIELDS, FIELD, check_schema

OBJECT_MAX_BYTES = 4 << 20
"""The largest text of one object."""

_NO_MAPPING = "is not a mapping type: Does not implement dict-like functionality."

NO_ID: Any = object()
"""Stands for the id of a body that names none; ``null`` is an id, and a bad one."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a client sends to be stored.

    Attributes:
        fields: ``data``, without ``id`` and ``last_modified``; None if not given.
        text: JSON text of ``fields``.
        id: the id in ``data`` as it was sent, of whatever type, or ``NO_ID``:
            ``check_new_id`` tells whether it may name a new object,
            ``check_same_id`` whether it is the one of the URL.
        date: the ``last_modified`` in ``data``, in ms.
        permissions: as sent, duplicates dropped; None if not given.
        secret: what is stored beside it and never told; None leaves what there is.
    """

    fields: Mapping[str, Any] | None = None
    text: bytes = b"{}"
    id: Any = NO_ID
    date: int | None = None
    permissions: Permissions | None = None
    secret: str | None = None


NOTHING = Content()


def parse_content(kind: str, body: Any) -> Content:
    """Check the body of a PUT or POST; its id is left to the caller.

    Args:
        kind: of the object it is for.
        body: the parsed JSON; an absent body is ``{}``.

    Raises:
        InvalidParameters: If it is not what the protocol says; tells of its
            data as well as of its permissions.
        TooLarge: If the object would be larger than is stored.
    """
    try:
        envelope = parse_envelope(body, GRANTABLE[kind])
    except InvalidParameters as error:
        raise _with_problems_of_data(kind, body, error) from None
    permissions = None
    if envelope.permissions is not None:
        permissions = {name: who for name, who in envelope.permissions.items() if who is not None}
    if envelope.data is None:
        return Content(permissions=permissions)
    fields = complete_data(kind, without_assigned(envelope.data))
    date = parse_date(envelope.data)
    text = dump_json(fields)
    check_size(text)
    return Content(fields, text, envelope.data.get("id", NO_ID), date, permissions)


def _with_problems_of_data(kind: str, body: Any, error: InvalidParameters) -> InvalidParameters:
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict):
        return error
    return InvalidParameters([*error.problems, *_find_problems(kind, data)])


def without_assigned(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data less what the server assigns: ``id`` and ``last_modified``."""
    return {name: value for name, value in data.items() if name not in ("id", "last_modified")}


def check_new_id(value: Any, kind: str = "record") -> str:
    """The id that a body gives to a new object.

    Args:
        value: ``Content.id``; not ``NO_ID``.
        kind: of the object.

    Raises:
        InvalidParameters: If it cannot name an object.
    """
    if not isinstance(value, str) or not is_valid_id(value, ALL_KINDS[kind].ids):
        raise invalid_id()
    return value


def check_same_id(value: Any, path_id: str) -> None:
    """Check that a body names no other object than the URL does.

    Args:
        value: ``Content.id``.
        path_id: the id in the URL.

    Raises:
        InvalidParameters: If it is given and is another.
    """
    if value is not NO_ID and value != path_id:
        raise mismatched_id()


def parse_date(data: Mapping[str, Any]) -> int | None:
    """The ``last_modified`` in a body's data; what is no integer is dropped.

    Raises:
        InvalidParameters: If it is an integer that is no date.
    """
    value = data.get("last_modified")
    if isinstance(value, HugeInteger):
        value = -1 if value.digits.startswith("-") else TIMESTAMP_MAX + 1
    if type(value) is not int:
        return None
    check_date("body", "data.last_modified", value)
    return value


def check_date(location: str, name: str, value: int) -> None:
    """Check a date that a client gives.

    Raises:
        InvalidParameters: If it is outside 0 to 2^42 ms.
    """
    if not 0 <= value <= TIMESTAMP_MAX:
        raise invalid(location, name, f"should be between 0 and {TIMESTAMP_MAX}")


def complete_data(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Check what a kind asks of its data, and add what it always has.

    A ``cache_expires`` that is null is as if not given.

    Args:
        kind: of the object.
        fields: its data without ``id`` and ``last_modified``; is changed.

    Raises:
        InvalidParameters: If a group's members cannot be members, a
            collection's ``schema`` is no object or its ``cache_expires`` no
            number; tells of all of these.
    """
    problems = _find_problems(kind, fields)
    if problems:
        raise InvalidParameters(problems)
    if kind == "group":
        fields.setdefault("members", [])
    elif kind == "collection" and fields.get("cache_expires", 0) is None:
        del fields["cache_expires"]
    return fields


def _find_problems(kind: str, fields: Mapping[str, Any]) -> list[Detail]:
    if kind == "group":
        return list(_find_bad_members(fields.get("members", [])))
    if kind == "collection":
        return [*_find_bad_metadata(fields), *_find_bad_schemas(fields, (FIELD,))]
    return list(_find_bad_schemas(fields, BUCKET_FIELDS)) if kind == "bucket" else []


def _find_bad_members(members: Any) -> Iterator[Detail]:
    if not isinstance(members, list):
        yield Detail("body", "data.members", f'"{spell_value(members)}" is not iterable')
        return
    for index, member in enumerate(members):
        words = _refuse_member(member)
        if words:
            yield Detail("body", f"data.members.{index}", words)


def _refuse_member(member: Any) -> str:
    """Why it cannot be a member of a group; empty if it can."""
    if member is None or member == "":
        return "Required"
    if not isinstance(member, str):
        return f"{spell_value(member)} is not a string"
    if member == EVERYONE or member.startswith("/buckets/"):
        return f"'{spell_value(member)}' is not a valid user ID."
    return ""


def _find_bad_metadata(fields: Mapping[str, Any]) -> Iterator[Detail]:
    expires = fields.get("cache_expires")
    if isinstance(expires, bool) or not isinstance(expires, int | float | HugeInteger | None):
        yield Detail("body", "data.cache_expires", f'"{spell_value(expires)}" is not a number')


def _find_bad_schemas(fields: Mapping[str, Any], names: Iterable[str]) -> Iterator[Detail]:
    for name in names:
        schema = fields.get(name, {})
        if not isinstance(schema, dict):
            yield Detail("body", f"data.{name}", f'"{spell_value(schema)}" {_NO_MAPPING}')
        elif schema and (problem := check_schema(schema, name)) is not None:
            yield problem


def check_size(text: bytes) -> None:
    """Check the text of an object.

    Raises:
        TooLarge: If it is larger than is stored.
    """
    if len(text) > OBJECT_MAX_BYTES:
        raise TooLarge(f"An object may have at most {OBJECT_MAX_BYTES} bytes of JSON.")


def mismatched_id() -> InvalidParameters:
    """The 400 for a body whose id is not the URL's."""
    return invalid("body", "id", "Object id does not match existing object")
