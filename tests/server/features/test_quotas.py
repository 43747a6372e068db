import pytest

from server.core.quotas import Quotas
from server.features import quotas
from server.settings_quotas import QuotaSettings
from tests.server.features.contexts import make_context


@pytest.mark.gen_test
async def test_quotas_are_announced_only_where_they_are_named() -> None:
    assert await quotas.make(make_context(quotas__bucket_max_items=1)) is None
    feature = await quotas.make(make_context(includes="kinto.plugins.quotas"))
    assert feature is not None
    assert set(feature.capabilities) == {"quotas"}


def test_quotas_are_those_of_the_settings() -> None:
    made = quotas.make_quotas(QuotaSettings(bucket_max_items=3, of_bucket_max_items={"b": 4}))
    assert isinstance(made, Quotas)
    assert made.buckets["max_items"] == {"": 3, "b": 4}
