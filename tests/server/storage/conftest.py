"""The contract's assertions tell what they compare."""

import pytest

for part in (
    "reads",
    "writes",
    "parents",
    "content",
    "log",
    "feed",
    "loads",
    "trims",
    "atomic",
    "limits",
):
    pytest.register_assert_rewrite(f"tests.server.storage.contract_{part}")
