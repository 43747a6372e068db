"""JSON values for tests that try many."""

from typing import Any

from hypothesis import strategies as st

KEYS = st.sampled_from(["a", "b", "c", "a/b", "m~n", "", "id", "permissions"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, "", "x", 10**30])
)


def values(max_leaves: int = 12) -> st.SearchStrategy[Any]:
    """Small values, in which the same turns up again and again."""
    return st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=max_leaves,
    )


def objects() -> st.SearchStrategy[dict[str, Any]]:
    """Objects of them."""
    return st.dictionaries(KEYS, values(), max_size=5)
