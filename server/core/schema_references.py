"""References within a schema: what ``$ref`` and its like name. Nothing is ever fetched."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

REFERENCES = ("$ref", "$recursiveRef", "$dynamicRef")
"""The keywords whose value names another part of the schema."""

_INDEX = re.compile(r"0|[1-9][0-9]*")


class BadReference(ValueError):
    """A reference leads nowhere, elsewhere, or back to itself; the message says which."""


class References:
    """What the references of a schema name."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Find the parts that have a name of their own.

        Raises:
            BadReference: If a part has an address of its own, and something is referred
                to: what ``#`` means would depend on where it stands.
        """
        self._schema = schema
        self._anchors = dict(_find_anchors(schema))

    def follow(self, reference: str) -> Any:
        """The part of the schema that a reference names.

        Raises:
            BadReference: If that is not in this schema.
        """
        if not reference.startswith("#"):
            raise BadReference(f"{reference[:200]} is elsewhere: a schema may refer to itself only")
        fragment = unquote(reference[1:])
        if fragment in self._anchors:
            return self._anchors[fragment]
        found = _point(self._schema, fragment)
        if not isinstance(found, dict | bool):
            raise BadReference(f"{reference[:200]} leads nowhere in this schema")
        return found


def _find_anchors(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parts of a schema that have a name of their own; see ``References``."""
    refers = based = False
    left: list[Any] = [schema]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left.extend(part)
        elif isinstance(part, dict):
            left.extend(part.values())
            refers = refers or any(isinstance(part.get(name), str) for name in REFERENCES)
            for name in ("$id", "id", "$anchor", "$dynamicAnchor"):
                value = part.get(name)
                if not isinstance(value, str):
                    continue
                if name.endswith("nchor"):
                    yield value, part
                elif value.startswith("#"):
                    yield value[1:], part
                elif part is not schema and name == "$id":
                    based = True
    if refers and based:
        raise BadReference("$ref cannot be followed where parts of the schema have an $id")


def _point(schema: Any, pointer: str) -> Any:
    """What a JSON Pointer names; None for nothing."""
    if not pointer:
        return schema
    if not pointer.startswith("/"):
        return None
    found = schema
    for token in pointer[1:].split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and _INDEX.fullmatch(name) and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found
