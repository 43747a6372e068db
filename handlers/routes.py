"""The table of routes: endpoints beside the objects, the lists and the feeds themselves.

A route's template names what its path has: ``/buckets/{bucket_id}/history``. The
segments that it begins with may be an object's or a list's own path; then
``default`` is resolved in them, and the endpoint is told what they name.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from handlers.messages import ApiRequest, Intake
from handlers.plans import Plan
from server.core.commands import Ensure
from server.core.errors import EndpointMissing
from server.core.paths import ALL_KINDS, Kind, ListPath, ObjectPath, parse_path

_NAME = re.compile(r"\{(\w+)\}")
_PLURALS = {kind.plural for kind in ALL_KINDS.values()}


@dataclass(frozen=True, slots=True)
class Place:
    """What a request's path names, for the endpoint of a route.

    Attributes:
        names: what stands in the place of each name of the template, decoded.
        path: the object or list that the path begins with; None where it begins
            with none.
        before: what is made first; given for the default bucket.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    path: ObjectPath | ListPath | None = None
    before: Ensure | None = None

    @property
    def object(self) -> ObjectPath:
        """The object that the path begins with."""
        assert isinstance(self.path, ObjectPath)
        return self.path


@dataclass(frozen=True)
class Route:
    """An endpoint, and what is said of it.

    Attributes:
        template: of its path, below the version's prefix.
        methods: that it knows, as ``Allow`` lists them.
        plan: what a request comes to.
        about: what each method does, in a few words for a person; ``OPTIONS`` left out.
        tag: of what it is a part, in the API's description.
        is_open: whether it may be asked with any credential: it tells nothing of
            what is stored, or looks at the credentials of its parts itself.
        takes: gives what takes in the body of a form, before it comes; refuses who
            would send it in vain.
        has_rest: whether the last name stands for all segments that are left.
    """

    template: str
    methods: tuple[str, ...]
    plan: Callable[[ApiRequest, Place], Plan]
    about: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""
    is_open: bool = False
    takes: Callable[[ApiRequest, Place], Awaitable[Intake]] | None = None
    has_rest: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the template."""
        return tuple(_NAME.findall(self.template))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the paths look like; a group for each name."""
        pieces = _NAME.split(self.template)
        last = len(pieces) - 2 if self.has_rest else -1
        return re.compile(
            "".join(
                f"(?P<{piece}>{'.+' if index == last else '[^/]+'})"
                if index % 2
                else re.escape(piece)
                for index, piece in enumerate(pieces)
            )
        )

    @cached_property
    def depth(self) -> int:
        """How many segments, from the first, are an object's or a list's path."""
        segments = self.template.split("/")[1:]
        depth = 0
        while depth < len(segments) and segments[depth] in _PLURALS:
            is_object = depth + 1 < len(segments) and segments[depth + 1].startswith("{")
            depth += 2 if is_object else 1
        return depth

    def stored(self, path: str) -> tuple[str, str]:
        """A path of this route, cut into the object's or list's own, and the rest."""
        segments = path.split("/")
        return "/".join(segments[: self.depth + 1]), "/".join(["", *segments[self.depth + 1 :]])


class Routes:
    """All routes, found by path."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._fixed: dict[str, Route] = {}
        self._others: list[Route] = []
        for route in routes:
            self.add(route)

    def add(self, route: Route) -> None:
        """Add one; of two that have the same template the later counts."""
        if route.names:
            self._others.append(route)
        else:
            self._fixed[route.template] = route

    @property
    def all(self) -> list[Route]:
        """Every route, as they were added."""
        return [*self._fixed.values(), *self._others]

    def fixed(self, path: str) -> Route | None:
        """The route of a path in which nothing varies."""
        return self._fixed.get(path)

    def find(self, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a path, and what stands in the place of its names."""
        route = self._fixed.get(path)
        if route is not None:
            return route, {}
        for one in self._others:
            match = one.pattern.fullmatch(path)
            if match is not None:
                return one, match.groupdict()
        return None


def list_template(kind: Kind) -> str:
    """What the paths of the lists of a kind look like."""
    above = object_template(ALL_KINDS[kind.parent]) if kind.parent else ""
    return f"{above}/{kind.plural}"


def object_template(kind: Kind) -> str:
    """What the paths of the objects of a kind look like."""
    return f"{list_template(kind)}/{{{kind.name}_id}}"


def parse_stored(path: str) -> ObjectPath | ListPath | None:
    """The object or list of a path; None for what is neither."""
    try:
        return parse_path(path)
    except EndpointMissing:
        return None
