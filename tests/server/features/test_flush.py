import pytest

from server.features import flush
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_flush_is_there_and_announced_only_where_it_is_named() -> None:
    assert await flush.make(make_context()) is None
    feature = await flush.make(make_context(includes="kinto.plugins.flush"))
    assert feature is not None
    assert [route.template for route in feature.routes] == ["/__flush__"]
    assert set(feature.capabilities) == {"flush_endpoint"}
