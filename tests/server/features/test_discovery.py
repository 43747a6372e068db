import pytest

from server.features import discovery
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_well_known_paths_are_there_and_announced_only_where_they_are_named() -> None:
    assert await discovery.make(make_context()) is None
    feature = await discovery.make(make_context(includes="discovery"))
    assert feature is not None
    paths = [route.template for route in feature.routes]
    assert paths == ["/.well-known/webfinger", "/.well-known/kinto"]
    assert set(feature.capabilities) == {"discovery"}
