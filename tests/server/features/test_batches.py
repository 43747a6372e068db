import pytest

from server.features import batches
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_atomic_batches_are_always_announced() -> None:
    feature = await batches.make(make_context())
    assert set(feature.capabilities) == {"atomic_batches"}
