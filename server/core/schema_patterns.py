"""Regular expressions of schemas: how long one may take at most.

Most run in the linear engine of the validator, whose time on a text is at most
proportional to the length of the text times the size of the compiled expression. Those
with look-around or back-references take the other engine, with few steps back.
"""

import re
from dataclasses import dataclass

from jsonschema_rs import Draft7Validator, FancyRegexOptions, RegexOptions

EXPRESSION_MAX_BYTES = 4 << 20
"""Of a compiled expression; a larger one is refused."""

CACHE_MAX_BYTES = 1 << 18
"""Of what the linear engine remembers while it runs."""

STEPS_BACK_MAX = 1000
"""After so many a text is taken not to match."""

_SIZES = (4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, EXPRESSION_MAX_BYTES)
_NS_PER_BYTE_OF_EXPRESSION = 0.1
_NS_OF_STEP_BACK = 8.0
"""Both measured, and then some: the worst that was found took 0.1 and 6."""

_CLASS_OR_ESCAPE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


class BadPattern(ValueError):
    """It is no regular expression, or too large a one; the message says so."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is known of a regular expression.

    Attributes:
        ns_per_byte: that it takes at most, of the text it is tried on.
        is_fancy: whether it needs the engine that steps back.
        bytes: that it takes compiled, at most.
    """

    ns_per_byte: float
    is_fancy: bool
    bytes: int


def linear_options(size: int = EXPRESSION_MAX_BYTES) -> RegexOptions:
    """Options of the linear engine for expressions of at most a size."""
    return RegexOptions(size_limit=size, dfa_size_limit=CACHE_MAX_BYTES)


def fancy_options(size: int = EXPRESSION_MAX_BYTES) -> FancyRegexOptions:
    """Options of the engine that steps back."""
    return FancyRegexOptions(
        backtrack_limit=STEPS_BACK_MAX, size_limit=size, dfa_size_limit=CACHE_MAX_BYTES
    )


def measure(expression: str) -> Pattern:
    """How long an expression may take.

    Raises:
        BadPattern: If it cannot be compiled.
    """
    for size in _SIZES:
        if _compiles(expression, linear_options(size)):
            return Pattern(_linear_cost(expression, size), False, size)
    for size in _SIZES:
        if _compiles(expression, fancy_options(size)):
            return Pattern(_fancy_cost(expression, size), True, size)
    raise BadPattern(f"{expression:.100} is no regular expression, or too large a one")


def _compiles(expression: str, options: RegexOptions | FancyRegexOptions) -> bool:
    try:
        Draft7Validator({"pattern": expression}, pattern_options=options, offline=True)
    except ValueError:
        return False
    return True


def _linear_cost(expression: str, size: int) -> float:
    bare = _CLASS_OR_ESCAPE.sub("a", expression)
    repeats = sum(bare.count(mark) for mark in "*+?{")
    if bare.startswith("^") and repeats <= 1 and not set("|(") & set(bare):
        # It is in few places at once: one, and those after its only repetition.
        return 100.0 + 20.0 * len(bare)
    return size * _NS_PER_BYTE_OF_EXPRESSION


def _fancy_cost(expression: str, size: int) -> float:
    groups = expression.count("(?") + 1
    inner = _NS_OF_STEP_BACK * groups
    if "{" in expression:
        inner += size * _NS_PER_BYTE_OF_EXPRESSION
    return STEPS_BACK_MAX * inner
