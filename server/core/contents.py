"""The body of a write: ``{"data": {...}, "permissions": {...}}``, checked once, stored as text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.core.envelopes import parse_envelope
from server.core.errors import InvalidParameters, TooLarge, invalid
from server.core.json_text import dump_json
from server.core.objects import Permissions
from server.core.paths import is_valid_id
from server.core.permissions import EVERYONE, GRANTABLE
from server.core.positions import TIMESTAMP_MAX

OBJECT_MAX_BYTES = 4 << 20
"""The largest text of one object."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a client sends to be stored.

    Attributes:
        fields: ``data``, without ``id`` and ``last_modified``; None if not given.
        text: JSON text of ``fields``.
        id: the id in ``data``.
        date: the ``last_modified`` in ``data``, in ms.
        permissions: as sent, duplicates dropped; None if not given.
    """

    fields: Mapping[str, Any] | None = None
    text: bytes = b"{}"
    id: str | None = None
    date: int | None = None
    permissions: Permissions | None = None


NOTHING = Content()


def parse_content(kind: str, body: Any) -> Content:
    """Check the body of a PUT or POST.

    Args:
        kind: of the object it is for.
        body: the parsed JSON.

    Raises:
        InvalidParameters: If it is not what the protocol says.
        TooLarge: If the object would be larger than is stored.
    """
    envelope = parse_envelope(body, GRANTABLE[kind])
    permissions = None
    if envelope.permissions is not None:
        permissions = {name: who for name, who in envelope.permissions.items() if who is not None}
    if envelope.data is None:
        return Content(permissions=permissions)
    fields = complete_data(kind, without_assigned(envelope.data))
    text = dump_json(fields)
    check_size(text)
    date = parse_date(envelope.data)
    return Content(fields, text, parse_body_id(envelope.data), date, permissions)


def without_assigned(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data less what the server assigns: ``id`` and ``last_modified``."""
    return {name: value for name, value in data.items() if name not in ("id", "last_modified")}


def parse_body_id(data: Mapping[str, Any]) -> str | None:
    """The ``id`` in a body's data.

    Raises:
        InvalidParameters: If it cannot be an id.
    """
    if "id" not in data:
        return None
    value = data["id"]
    if not isinstance(value, str) or not is_valid_id(value):
        raise invalid("body", "data.id", "Invalid object id")
    return value


def parse_date(data: Mapping[str, Any]) -> int | None:
    """The ``last_modified`` in a body's data; what is no integer is dropped.

    Raises:
        InvalidParameters: If it is an integer that is no date.
    """
    value = data.get("last_modified")
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

    Raises:
        InvalidParameters: If a group's members cannot be members.
    """
    if kind == "group":
        fields.setdefault("members", [])
        _check_members(fields["members"])
    return fields


def _check_members(members: Any) -> None:
    if not isinstance(members, list):
        raise invalid("body", "data.members", f'"{str(members)[:80]}" is not a list')
    for index, member in enumerate(members):
        if not isinstance(member, str) or not member:
            raise invalid("body", f"data.members.{index}", "should be a non-empty string")
        if member == EVERYONE or member.startswith("/buckets/"):
            raise invalid("body", f"data.members.{index}", f"'{member}' cannot be a member")


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
