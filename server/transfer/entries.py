"""What moves: objects with their permissions and dates, and the timestamps of lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.core.commands import Load
from server.core.contents import Content, check_same_id, parse_content, parse_date
from server.core.envelopes import spell_value
from server.core.errors import EndpointMissing, ParentMissing, SyncError
from server.core.paths import KINDS, ListPath, ObjectPath, parse_path
from server.core.positions import TIMESTAMP_MAX

Mark = tuple[str, int]
"""How far a source was read when it gave an item: the name of a part of it, and a place there."""

_OBJECT = frozenset({"uri", "data", "permissions", "deleted"})
_LIST = frozenset({"uri", "timestamp"})


class BadEntry(ValueError):
    """An object that cannot be loaded; the message says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object, or the tombstone of one.

    Attributes:
        path: of the object.
        content: what it holds; permissions are None where the source does not show them.
        place: where in the source it stands, for a person.
        mark: how far the source was read.
        deleted: whether it is a tombstone.
    """

    path: ObjectPath
    content: Content
    place: str
    mark: Mark
    deleted: bool = False

    @property
    def size(self) -> int:
        """About how many bytes it stores."""
        return len(self.content.text) + 500

    def load(self, *, overwrite: bool) -> Load:
        """The write that puts it here."""
        return Load(self.path, self.content, self.deleted, overwrite)


@dataclass(frozen=True, slots=True)
class Stamp:
    """The timestamp of a list, all of whose objects were given.

    Attributes:
        path: of the list.
        timestamp: its ETag, in ms.
        mark: how far the source was read.
    """

    path: ListPath
    timestamp: int
    mark: Mark


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be loaded, while the rest is.

    Attributes:
        place: where in the source it stands.
        reason: why, in one sentence.
        mark: how far the source was read.
    """

    place: str
    reason: str
    mark: Mark


Item = Entry | Stamp | Problem


def parse_item(value: Any, place: str, mark: Mark) -> Item:
    """Read an object or the timestamp of a list from parsed JSON.

    Returns:
        The ``Problem`` if it is neither.
    """
    try:
        return _parse_item(value, place, mark)
    except EndpointMissing:
        return Problem(place, f"{spell_value(value.get('uri'))} is no path of an object", mark)
    except SyncError as error:
        return Problem(place, spell_error(error), mark)
    except BadEntry as error:
        return Problem(place, str(error), mark)


def _parse_item(value: Any, place: str, mark: Mark) -> Item:
    if not isinstance(value, dict) or not isinstance(value.get("uri"), str):
        raise BadEntry("it is no JSON object with a uri")
    path = parse_path(value["uri"])
    if isinstance(path, ListPath):
        _check_members(value, _LIST)
        return Stamp(path, _parse_timestamp(value.get("timestamp")), mark)
    _check_members(value, _OBJECT)
    if path.kind.name not in KINDS and path.kind.name != "account":
        raise BadEntry(f"objects of /{path.kind.plural} are not moved")
    deleted = value.get("deleted", False)
    if not isinstance(deleted, bool):
        raise BadEntry("deleted should be true or false")
    if deleted:
        data = value.get("data", {})
        if not isinstance(data, dict):
            raise BadEntry("data should be an object")
        check_same_id(data.get("id", path.id), path.id)
        return Entry(path, Content(date=parse_date(data)), place, mark, deleted=True)
    return make_entry(path, value, place, mark)


def make_entry(path: ObjectPath, body: Mapping[str, Any], place: str, mark: Mark) -> Entry:
    """An object from a body as the API has it; of an account, the hash of its password is taken.

    Raises:
        SyncError: If the body cannot be one of such an object.
    """
    members = {name: body[name] for name in ("data", "permissions") if name in body}
    secret = None
    data = members.get("data")
    if path.kind.name == "account" and isinstance(data, dict):
        secret = _parse_hash(data.get("password"))
        members["data"] = {name: one for name, one in data.items() if name != "password"}
    content = parse_content(path.kind.name, {"data": {}, **members})
    check_same_id(content.id, path.id)
    if path.kind.name == "account":
        content = _own(path, content, secret)
    return Entry(path, content, place, mark)


def _own(path: ObjectPath, content: Content, secret: str | None) -> Content:
    """An account's content; where its permissions are not told, it is its own writer."""
    permissions = content.permissions or {"write": (f"account:{path.id}",)}
    return Content(
        content.fields, content.text, content.id, content.date, permissions, secret or None
    )


def _parse_hash(password: Any) -> str:
    if not isinstance(password, str) or not password.startswith("$2"):
        raise BadEntry("the account has no bcrypt hash of its password")
    return password


def _parse_timestamp(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= TIMESTAMP_MAX:
        raise BadEntry(f"timestamp should be an integer from 0 to {TIMESTAMP_MAX}")
    return value


def _check_members(value: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(value.keys() - known)
    if unknown:
        raise BadEntry(f"unknown member {spell_value(unknown[0])}")


def spell_error(error: SyncError) -> str:
    """An error of the protocol in one sentence."""
    if isinstance(error, ParentMissing):
        details = error.details
        return f"the {details['resource_name']} {details['id']} that it lies in does not exist here"
    return error.message or type(error).__name__
