"""What it may cost to check a value by a schema, worked out before it is checked.

The validator cannot be stopped once it runs, and nothing else runs meanwhile. So the
steps that it may take at most are counted first, as far as they are affordable: a schema
whose parts refer to each other may ask for more than there is time for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.core.json_text import HugeInteger, dump_json
from server.core.schema_patterns import CACHE_MAX_BYTES, BadPattern, Pattern, measure
from server.core.schema_references import REFERENCES, BadReference, References

STEPS_MAX = 100_000
"""Visits of a part of a value by a part of a schema."""

NANOSECONDS_MAX = 250_000_000

PATTERNS_MAX = 200
"""Different regular expressions in a schema."""

PATTERNS_MAX_BYTES = 8 << 20
"""Of all of them, compiled."""

_HERE_MANY = ("allOf", "anyOf", "oneOf")
_HERE_ONE = ("not", "if", "then", "else")
_HERE_BY_NAME = ("dependencies", "dependentSchemas")
_BRANCHES = ("anyOf", "oneOf", "contains")

_NS_OF_KEYWORD = 60
_NS_OF_BYTE = 20
_NS_OF_BIT = 100
_NS_OF_SQUARE_BIT = 0.05
_NS_OF_REMAINDER = 3_000
_NS_OF_FAR_REMAINDER = 50_000
_NS_OF_CONTENT_BYTE = 40
_BIG = 1 << 63
_FAR = 1e20


class TooCostly(Exception):
    """A check may take longer than is allowed."""


@dataclass(eq=False, slots=True)
class Node:
    """A part of a schema.

    Attributes:
        ns: that its own keywords take at most, on any value.
        ns_per_byte: and more for each byte of a string, or of an object's names.
        branches: how many alternatives a failure has to tell of.
        is_sized: whether it looks at all that is in a value.
        divisor: what a number has to be a multiple of, if that is no integer.
        here: parts that look at the same value.
        named: parts that look at a member of an object, by its name.
        members: parts that may look at every member.
        others: parts that look at those members that have none of their own.
        items: parts that look at an item of an array, by its place.
        rest: parts that look at the items after these.
        names: parts that look at the names of members.
    """

    ns: float = 0.0
    ns_per_byte: float = 0.0
    branches: int = 0
    is_sized: bool = False
    divisor: float | None = None
    here: list["Node"] = field(default_factory=list)
    named: dict[str, "Node"] = field(default_factory=dict)
    members: list["Node"] = field(default_factory=list)
    others: list["Node"] = field(default_factory=list)
    items: list["Node"] = field(default_factory=list)
    rest: list["Node"] = field(default_factory=list)
    names: list["Node"] = field(default_factory=list)

    @property
    def is_flat(self) -> bool:
        """Whether what it costs does not depend on the value."""
        return not (
            self.ns_per_byte
            or self.is_sized
            or self.divisor
            or self.here
            or self.named
            or self.members
            or self.others
            or self.items
            or self.rest
            or self.names
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What checking a value comes to.

    Attributes:
        ns: at most.
        branches: how many alternatives a failure may have to tell of.
    """

    ns: float
    branches: int


class Graph:
    """The parts of a schema, and which look at what.

    Attributes:
        root: the whole schema.
        is_fancy: whether a regular expression in it needs the engine that steps back.
        bytes: that its regular expressions take, at most.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Read a schema that is valid by its draft's own.

        Raises:
            BadReference: If a reference in it cannot be followed.
            BadPattern: If a regular expression cannot be compiled.
        """
        self._nodes: dict[int, Node] = {}
        self._left: list[tuple[Node, Mapping[str, Any]]] = []
        self._patterns: dict[str, Pattern] = {}
        self._references = References(schema)
        self.root = self._node(schema)
        while self._left:
            self._fill(*self._left.pop())
        self.is_fancy = any(pattern.is_fancy for pattern in self._patterns.values())
        patterns = self._patterns.values()
        self.bytes = sum(pattern.bytes + CACHE_MAX_BYTES for pattern in patterns)
        _check_progress(list(self._nodes.values()))

    def _node(self, part: Any) -> Node:
        if not isinstance(part, dict):
            return _PLAIN
        found = self._nodes.get(id(part))
        if found is None:
            found = self._nodes[id(part)] = Node()
            self._left.append((found, part))
        return found

    def _fill(self, node: Node, part: Mapping[str, Any]) -> None:
        node.ns = _NS_OF_KEYWORD * (1 + len(part)) + _own_cost(part)
        node.is_sized = bool(part.get("uniqueItems"))
        node.branches = sum(
            len(part[name]) if isinstance(part[name], list) else 1
            for name in _BRANCHES
            if name in part
        )
        self._fill_here(node, part)
        self._fill_members(node, part)
        self._fill_items(node, part)
        if isinstance(part.get("multipleOf"), float):
            node.divisor = part["multipleOf"]
        if "contentMediaType" in part or "contentEncoding" in part:
            node.ns_per_byte += _NS_OF_CONTENT_BYTE
        if isinstance(part.get("pattern"), str):
            node.ns_per_byte += self._measure(part["pattern"]).ns_per_byte
        if "unevaluatedProperties" in part or "unevaluatedItems" in part:
            # What was looked at already is looked at again, to know what was not.
            for nodes in (node.here, node.members, node.others, node.items, node.rest):
                nodes *= 2

    def _fill_here(self, node: Node, part: Mapping[str, Any]) -> None:
        for name in _HERE_MANY:
            node.here += [self._node(one) for one in _list(part.get(name))]
        node.here += [self._node(part[name]) for name in _HERE_ONE if name in part]
        for name in _HERE_BY_NAME:
            node.here += [self._node(one) for one in _dict(part.get(name)).values()]
        for name in REFERENCES:
            if isinstance(part.get(name), str):
                node.here.append(self._node(self._references.follow(part[name])))

    def _fill_members(self, node: Node, part: Mapping[str, Any]) -> None:
        for name, one in _dict(part.get("properties")).items():
            node.named[name] = self._node(one)
        for expression, one in _dict(part.get("patternProperties")).items():
            node.ns_per_byte += self._measure(expression).ns_per_byte
            node.members.append(self._node(one))
        for name in ("additionalProperties", "unevaluatedProperties"):
            if name in part:
                node.others.append(self._node(part[name]))
        if "propertyNames" in part:
            node.names.append(self._node(part["propertyNames"]))

    def _fill_items(self, node: Node, part: Mapping[str, Any]) -> None:
        for name in ("items", "prefixItems"):
            value = part.get(name)
            if isinstance(value, list):
                node.items += [self._node(one) for one in value]
            elif value is not None:
                node.rest.append(self._node(value))
        for name in ("additionalItems", "contains", "unevaluatedItems"):
            if name in part:
                node.rest.append(self._node(part[name]))

    def _measure(self, expression: str) -> Pattern:
        found = self._patterns.get(expression)
        if found is None:
            found = self._patterns[expression] = measure(expression)
            size = sum(pattern.bytes for pattern in self._patterns.values())
            if len(self._patterns) > PATTERNS_MAX or size > PATTERNS_MAX_BYTES:
                raise BadPattern("its regular expressions are too many, or too large together")
        return found

    def cost(self, value: Any, size: int, *, has_big: bool = False) -> Cost:
        """What it may cost to check a value.

        Args:
            value: as it was read.
            size: bytes of its text.
            has_big: whether there may be integers in it of more than 64 bits.

        Raises:
            TooCostly: If it may cost more than is allowed.
        """
        ns, branches, steps = 0.0, 0, 0
        left = [(self.root, value)]
        while left:
            node, one = left.pop()
            steps += 1
            ns += node.ns + _cost_of_value(node, one, size)
            branches += node.branches
            if steps + len(left) > STEPS_MAX or ns > NANOSECONDS_MAX:
                raise TooCostly
            left.extend((part, one) for part in node.here)
            if isinstance(one, dict):
                left.extend(_steps_into_object(node, one))
            elif isinstance(one, list):
                ns += _add_array(node, one, left, has_big=has_big)
        return Cost(ns, branches)


_PLAIN = Node(_NS_OF_KEYWORD)
"""A schema that is ``true`` or ``false``, or what only stands where one could."""


def _cost_of_value(node: Node, value: Any, size: int) -> float:
    ns = 0.0
    if isinstance(value, str):
        ns += node.ns_per_byte * (len(value) + 1)
    elif isinstance(value, dict):
        ns += _NS_OF_KEYWORD * len(value)
        if node.ns_per_byte:
            ns += node.ns_per_byte * sum(len(name) + 1 for name in value)
    elif isinstance(value, HugeInteger):
        ns += _cost_of_bits(4 * len(value.digits))
    elif isinstance(value, int) and not -_BIG < value < _BIG:
        ns += _cost_of_bits(value.bit_length())
    elif isinstance(value, float) and node.divisor is not None:
        is_far = any(one and not 1 / _FAR < abs(one) < _FAR for one in (value, node.divisor))
        ns += _NS_OF_FAR_REMAINDER if is_far else _NS_OF_REMAINDER
    return ns + _NS_OF_BYTE * size if node.is_sized else ns


def _cost_of_bits(bits: int) -> float:
    return _NS_OF_BIT * bits + _NS_OF_SQUARE_BIT * bits * bits


def _steps_into_object(node: Node, value: Mapping[str, Any]) -> Iterator[tuple[Node, Any]]:
    named = node.named
    if named and not (node.members or node.others or node.names):
        # Few of many: only these are looked at.
        if len(named) <= len(value):
            return ((part, value[name]) for name, part in named.items() if name in value)
        return ((named[name], one) for name, one in value.items() if name in named)
    if not (named or node.members or node.others or node.names):
        return iter(())
    return _steps_into_all(node, value)


def _steps_into_all(node: Node, value: Mapping[str, Any]) -> Iterator[tuple[Node, Any]]:
    for name, one in value.items():
        own = node.named.get(name)
        if own is not None:
            yield own, one
        else:
            for part in node.others:
                yield part, one
        for part in node.members:
            yield part, one
        for part in node.names:
            yield part, name


def _add_array(
    node: Node, value: list[Any], left: list[tuple[Node, Any]], *, has_big: bool
) -> float:
    """Go on with the items of an array; what costs the same on each is told at once."""
    left.extend(zip(node.items, value, strict=False))
    ns = 0.0
    for part in node.rest:
        if part.is_flat and not has_big:
            ns += part.ns * len(value)
        elif len(left) + len(value) > STEPS_MAX:
            raise TooCostly
        else:
            left.extend((part, one) for one in value[len(node.items) :])
    return ns


def _own_cost(part: Mapping[str, Any]) -> float:
    """Of what is compared with the values that a schema names."""
    ns = 0.0
    for name in ("enum", "const", "required", "dependentRequired"):
        if name in part:
            ns += _NS_OF_BYTE * len(dump_json(part[name]))
    return ns


def _check_progress(nodes: list[Node]) -> None:
    """Check that no part comes back to itself on one and the same value.

    Raises:
        BadReference: If one does.
    """
    waiting = dict.fromkeys(map(id, nodes), 0)
    for node in nodes:
        for part in node.here:
            if part is not _PLAIN:
                waiting[id(part)] += 1
    free = [node for node in nodes if not waiting[id(node)]]
    seen = 0
    while free:
        seen += 1
        for part in free.pop().here:
            if part is _PLAIN:
                continue
            waiting[id(part)] -= 1
            if not waiting[id(part)]:
                free.append(part)
    if seen < len(nodes):
        raise BadReference("a $ref leads back to itself")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
