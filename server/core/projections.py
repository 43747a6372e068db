"""Projections: the part of an object that ``_fields`` asks for."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.core.values import longest_key

_ALWAYS = ("id", "last_modified")


def project(data: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The given fields of an object, ``id`` and ``last_modified`` always among them.

    A path leads into objects as a filter's does: the longest literal key wins.
    Where it leads on from what is no object, that is given whole; where it
    ends in nothing inside an object, the object is given without it.

    Args:
        data: the object; it is not changed, and parts of it are shared.
        fields: dotted paths.

    Returns:
        The fields in the order they were asked for.
    """
    answer: dict[str, Any] = {}
    for field in fields:
        _copy_path(data, field, answer)
    for name in _ALWAYS:
        if name in data:
            answer[name] = data[name]
    return answer


def _copy_path(source: Mapping[str, Any], path: str, target: dict[str, Any]) -> None:
    while True:
        name = longest_key(source, path)
        if name is None:
            return
        value = source[name]
        if len(name) == len(path) or not isinstance(value, dict):
            target[name] = value
            return
        if target.get(name) is value:
            # Already there as a whole, and it is the stored object itself.
            return
        path = path[len(name) + 1 :]
        source, target = value, target.setdefault(name, {})
