import pytest

from server.features import shares
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_permissions_are_there_and_announced_only_where_the_setting_is_on() -> None:
    assert await shares.make(make_context()) is None
    feature = await shares.make(make_context(experimental_permissions_endpoint=True))
    assert feature is not None
    assert [route.template for route in feature.routes] == ["/permissions"]
    assert set(feature.capabilities) == {"permissions_endpoint"}
