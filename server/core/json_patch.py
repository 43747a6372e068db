"""JSON Patch, RFC 6902, with the pointers of RFC 6901.

Knows nothing of objects and permissions but one thing of the protocol's: an
operation on ``/permissions/read/<principal>`` or ``/permissions/write/…``
needs no value, and one that is given does not count.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from server.core.envelopes import check_object, spell_value
from server.core.errors import Detail, InvalidParameters, TooLarge, invalid
from server.core.json_text import MAX_DEPTH, HugeInteger, measure_depth

MAX_OPERATIONS: Final = 10_000
"""Operations of one patch."""
MAX_WORK: Final = 4 * 1024 * 1024
"""What the operations of one patch may copy, about in bytes of JSON."""

_NODE_WORK: Final = 8
_SHIFTED_PER_WORK: Final = 256
"""Items of a list that move over in the time that one byte takes."""

_NAMES = ("test", "add", "remove", "replace", "move", "copy")
_WITH_VALUE = frozenset({"test", "add", "replace"})
_WITH_SOURCE = frozenset({"move", "copy"})
_BAD_ESCAPE = re.compile(r"~(?:[^01]|$)", re.DOTALL)
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")

Pointer = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a patch.

    Attributes:
        name: of the six.
        path: tokens of the pointer, unescaped; at least one.
        value: of ``test``, ``add`` and ``replace``.
        source: ``from``, of ``move`` and ``copy``.
    """

    name: str
    path: Pointer
    value: Any = None
    source: Pointer = ()

    def changes(self, member: str) -> bool:
        """Whether it may change the document's member of that name."""
        if self.name == "test":
            return False
        return self.path[0] == member or (self.name == "move" and self.source[0] == member)


def parse_operations(body: Any) -> tuple[Operation, ...]:
    """Read a patch; members that an operation does not define are ignored.

    Raises:
        InvalidParameters: If it is no list of at most ``MAX_OPERATIONS`` operations.
    """
    if not isinstance(body, dict | list):
        raise invalid("body", "", "Should be a JSON object or an array")
    if isinstance(body, dict):
        raise invalid("body", "", f'"{spell_value(body)}" is not iterable')
    if len(body) > MAX_OPERATIONS:
        fail(f"at most {MAX_OPERATIONS} operations at once")
    return tuple(_parse_operation(index, row) for index, row in enumerate(body))


def fail(reason: str) -> NoReturn:
    """Refuse a patch that is well formed and cannot be applied."""
    raise invalid("body", "", f"JSON Patch operation failed: {reason}")


def _parse_operation(index: int, row: Any) -> Operation:
    check_object(row, str(index))
    name = row.get("op")
    wanted = ("op", "path", "from") if _is_in(name, _WITH_SOURCE) else ("op", "path")
    problems = [
        Detail("body", f"{index}.{member}", problem)
        for member in wanted
        if (problem := _find_problem(member, row.get(member), member in row)) is not None
    ]
    if problems:
        raise InvalidParameters(problems)
    path = _parse_pointer(row["path"])
    if name in _WITH_SOURCE:
        return Operation(name, path, source=_parse_pointer(row["from"]))
    if path[0] == "permissions" and len(path) == 3 and path[1] in ("read", "write"):
        return Operation(name, path, path[2])
    if name in _WITH_VALUE and "value" not in row:
        fail("The operation does not contain a 'value' member")
    return Operation(name, path, row.get("value"))


def _is_in(name: Any, names: frozenset[str]) -> bool:
    return isinstance(name, str) and name in names


def _find_problem(member: str, value: Any, given: bool) -> str | None:
    if not given or value is None or value == "":
        return "Required"
    if not isinstance(value, str):
        return f"{spell_value(value)} is not a string"
    if member == "op":
        known = ", ".join(_NAMES)
        return None if value in _NAMES else f'"{spell_value(value)}" is not one of {known}'
    return None if value.startswith("/") else "String does not match expected pattern"


def _parse_pointer(text: str) -> Pointer:
    bad = _BAD_ESCAPE.search(text)
    if bad is not None:
        fail(f"Found invalid escape {bad[0]}")
    if "~" not in text:
        return tuple(text[1:].split("/"))
    # ~1 first: "~01" is the two characters "~1".
    return tuple(t.replace("~1", "/").replace("~0", "~") for t in text[1:].split("/"))


def apply_operations(
    operations: tuple[Operation, ...], document: Mapping[str, Any]
) -> dict[str, Any]:
    """The document with all operations done; neither argument is changed.

    Raises:
        InvalidParameters: If one fails, or the result is nested deeper than
            ``MAX_DEPTH``.
        TooLarge: If they copy more than ``MAX_WORK``.
    """
    editor = _Editor(document)
    for operation in operations:
        getattr(editor, operation.name)(operation)
    if any(operation.name != "test" for operation in operations):
        if measure_depth(editor.root) > MAX_DEPTH:
            fail(f"nested deeper than {MAX_DEPTH} levels")
    return editor.root


class _Editor:
    """A document that is copied where it is changed, and only there.

    ``_owned`` holds the ids of the containers made here, which may be changed
    in place. The others belong to the stored object or to the patch; those
    outlive the editor, so no id of theirs can come to be in the set.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.root: dict[str, Any] = dict(document)
        self._owned = {id(self.root)}
        self._work = 0

    def test(self, operation: Operation) -> None:
        found = self._get(operation.path)
        if not is_equal(found, operation.value):
            wanted = spell_value(operation.value)
            fail(f"{spell_value(found)} is not equal to tested value {wanted}")

    def add(self, operation: Operation) -> None:
        self._add(operation.path, operation.value)

    def remove(self, operation: Operation) -> None:
        self._remove(operation.path)

    def replace(self, operation: Operation) -> None:
        parent, token = self._own_parent(operation.path), operation.path[-1]
        if isinstance(parent, list):
            parent[_parse_index(token, len(parent) - 1)] = operation.value
        elif token in parent:
            parent[token] = operation.value
        else:
            fail(f"can't replace a non-existent object {spell_value(token)!r}")

    def move(self, operation: Operation) -> None:
        source, path = operation.source, operation.path
        if source == path:
            self._get(source)
        elif path[: len(source)] == source:
            fail("Cannot move values into their own children")
        else:
            self._add(path, self._remove(source))

    def copy(self, operation: Operation) -> None:
        self._add(operation.path, self._clone(self._get(operation.source), MAX_DEPTH))

    def _add(self, path: Pointer, value: Any) -> None:
        parent, token = self._own_parent(path), path[-1]
        if isinstance(parent, dict):
            parent[token] = value
        elif token == "-":
            parent.append(value)
        else:
            index = _parse_index(token, len(parent))
            self._spend((len(parent) - index) // _SHIFTED_PER_WORK)
            parent.insert(index, value)

    def _remove(self, path: Pointer) -> Any:
        parent, token = self._own_parent(path), path[-1]
        if isinstance(parent, dict):
            if token not in parent:
                fail(f"can't remove a non-existent object {spell_value(token)!r}")
            return parent.pop(token)
        index = _parse_index(token, len(parent) - 1)
        self._spend((len(parent) - index) // _SHIFTED_PER_WORK)
        return parent.pop(index)

    def _get(self, path: Pointer) -> Any:
        value: Any = self.root
        for token in path:
            value = value[_find_key(value, token)]
        return value

    def _own_parent(self, path: Pointer) -> Any:
        """The container of the pointer's last token, made ours to change."""
        parent: Any = self.root
        for token in path[:-1]:
            key = _find_key(parent, token)
            child = parent[key]
            if isinstance(child, dict | list) and id(child) not in self._owned:
                child = child.copy()
                self._owned.add(id(child))
                parent[key] = child
            parent = child
        if not isinstance(parent, dict | list):
            _fail_inside(parent, path[-1])
        return parent

    def _clone(self, value: Any, levels: int) -> Any:
        """A copy that shares no container, ``levels`` deep at most."""
        self._spend(_NODE_WORK)
        if isinstance(value, dict | list) and not levels:
            fail(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            self._spend(sum(map(len, value)))
            return {name: self._clone(item, levels - 1) for name, item in value.items()}
        if isinstance(value, list):
            return [self._clone(item, levels - 1) for item in value]
        self._spend(_size(value))
        return value

    def _spend(self, work: int) -> None:
        """Keep a chain of copies from doubling the document at every step."""
        self._work += work
        if self._work > MAX_WORK:
            raise TooLarge("JSON Patch operation failed: it copies more than an object may hold")


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, HugeInteger):
        return len(value.digits)
    return value.bit_length() // 3 if isinstance(value, int) else 8


def _find_key(container: Any, token: str) -> Any:
    """The key or index of what is there."""
    if isinstance(container, dict):
        if token not in container:
            fail(f"member {spell_value(token)!r} not found")
        return token
    if isinstance(container, list):
        return _parse_index(token, len(container) - 1)
    _fail_inside(container, token)


def _fail_inside(value: Any, token: str) -> NoReturn:
    fail(f"nothing is at {spell_value(token)!r} in {spell_value(value)}, which has no members")


def _parse_index(token: str, last: int) -> int:
    if _INDEX.fullmatch(token) is None:
        fail(f"{spell_value(token)!r} is not a valid sequence index")
    if int(token) > last:
        fail(f"index {token} is outside of the list")
    return int(token)


def is_equal(one: Any, other: Any) -> bool:
    """Equality of JSON values: numbers by value, and ``true`` is no number.

    RFC 6902, section 4.6.
    """
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and len(one) == len(other)
            and all(name in other and is_equal(item, other[name]) for name, item in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(is_equal, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)
