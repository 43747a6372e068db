"""What the bodies of requests on accounts say, and the password that is taken out of them.

A password is never part of what is stored as an object: whatever could bring one
there is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.core.contents import Content
from server.core.errors import InvalidParameters, invalid
from server.core.patches import OPERATIONS

PASSWORD = "password"
PASSWORD_MAX_BYTES = 4096

_NAME = f"data.{PASSWORD}"
_POINTER = re.compile(r"/data/([^/]*)(/.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AccountPatch:
    """A PATCH of an account, without its password.

    Attributes:
        body: the rest, to be parsed as that of any other object.
        password: the new one; None if it stays.
        alone: whether nothing else is patched.
    """

    body: Any
    password: str | None
    alone: bool


def check_password(value: Any) -> str:
    """Check a new password.

    Raises:
        InvalidParameters: If it is none, is empty, or is too long; does not repeat it.
    """
    if value is None or value == "":
        raise invalid("body", _NAME, "Required")
    if not isinstance(value, str):
        raise invalid("body", _NAME, "should be a string")
    if len(value.encode()) > PASSWORD_MAX_BYTES:
        raise invalid("body", _NAME, f"should have at most {PASSWORD_MAX_BYTES} bytes")
    return value


def check_permissions(permissions: Mapping[str, Any] | None, owner: str) -> None:
    """Check that permissions, if any are sent, are those that every account has.

    Args:
        permissions: as sent.
        owner: principal of the account's user.

    Raises:
        InvalidParameters: If they are others.
    """
    for name, principals in (permissions or {}).items():
        if list(principals or ()) != ([owner] if name == "write" else []):
            words = "An account cannot be shared: its user alone may write it."
            raise invalid("body", "permissions", words)


def split_content(content: Content, owner: str) -> tuple[dict[str, Any], str]:
    """Data and password of a PUT or POST.

    Args:
        content: of its body.
        owner: principal of the account's user.

    Raises:
        InvalidParameters: If there is no password, or the permissions are not an account's.
    """
    check_permissions(content.permissions, owner)
    fields = dict(content.fields or {})
    password = check_password(fields.pop(PASSWORD, None))
    if content.date is not None:
        fields["last_modified"] = content.date
    return fields, password


def split_patch(content_type: str, body: Any, owner: str) -> AccountPatch:
    """What a PATCH wants; what is malformed beside the password is left to the parser.

    Args:
        content_type: one of ``PATCH_TYPES``.
        body: parsed JSON.
        owner: principal of the account's user.

    Raises:
        InvalidParameters: If the password is none, or permissions would change.
    """
    if content_type == OPERATIONS:
        return _split_operations(body)
    if not isinstance(body, dict):
        return AccountPatch(body, None, alone=False)
    permissions = body.get("permissions")
    if isinstance(permissions, dict):
        _check_sent(permissions, owner)
    data = body.get("data")
    if not isinstance(data, dict) or PASSWORD not in data:
        return AccountPatch(body, None, alone=False)
    rest = {name: value for name, value in data.items() if name != PASSWORD}
    alone = not rest and not permissions
    return AccountPatch({**body, "data": rest}, check_password(data[PASSWORD]), alone)


def _check_sent(permissions: Mapping[str, Any], owner: str) -> None:
    """As ``check_permissions``, before they were parsed: null would clear an entry."""
    lists = {name: who if isinstance(who, list) else [None] for name, who in permissions.items()}
    check_permissions(lists, owner)


def _split_operations(body: Any) -> AccountPatch:
    if not isinstance(body, list):
        return AccountPatch(body, None, alone=False)
    kept: list[Any] = []
    password = None
    for index, operation in enumerate(body):
        if not isinstance(operation, dict):
            # Refused by the parser, with all the others.
            kept.append(operation)
        elif _is_password(operation, index):
            password = check_password(operation.get("value"))
        else:
            kept.append(operation)
    return AccountPatch(kept, password, alone=not kept)


def _is_password(operation: Mapping[str, Any], index: int) -> bool:
    """Whether an operation sets the password; it must not do anything else with it.

    Raises:
        InvalidParameters: If it would, or is about more than members of the data.
    """
    names = [name for name in ("path", "from") if name in operation]
    for name in names:
        if _member(operation[name], index, name) != PASSWORD:
            continue
        sets = operation.get("op") in ("add", "replace") and names == ["path"]
        if not sets or operation["path"] != f"/data/{PASSWORD}":
            raise _refuse(index, name, "A password can be replaced, and nothing else.")
        return True
    return False


def _member(pointer: Any, index: int, name: str) -> str:
    """The member of the data that a pointer leads into."""
    match = _POINTER.fullmatch(pointer) if isinstance(pointer, str) else None
    if match is None:
        words = "Of an account only members of its data can be patched, such as /data/name."
        raise _refuse(index, name, words)
    return match[1]


def _refuse(index: int, name: str, words: str) -> InvalidParameters:
    return invalid("body", f"{index}.{name}", words)
