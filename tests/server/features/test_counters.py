import pytest

from server.features import counters
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_counters_are_offered_where_they_are_named() -> None:
    assert await counters.make(make_context()) is None
    feature = await counters.make(make_context(includes="kinto.plugins.counters"))
    assert feature is not None
    assert [route.template for route in feature.routes] == ["/__counters__"]
    assert set(feature.capabilities) == {"counters_endpoint"}
