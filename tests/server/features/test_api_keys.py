import pytest

from server.features import api_keys
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_keys_are_there_and_announced_only_where_they_are_named() -> None:
    assert await api_keys.make(make_context()) is None
    feature = await api_keys.make(make_context(includes="api_keys"))
    assert feature is not None
    assert (set(feature.kinds), set(feature.capabilities)) == ({"api_key"}, {"api_keys"})
    assert set(feature.policies) == {"api_keys"}
    assert [one.bucket for one in feature.watchers] == ["/", "/"]
