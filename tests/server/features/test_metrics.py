import pytest

from server.features import metrics
from server.features.base import Feature
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def make(**given: str) -> Feature:
    feature = await metrics.make(make_context(includes="prometheus", **given))
    assert feature is not None
    return feature


async def test_nothing_is_counted_unless_it_is_switched_on() -> None:
    assert await metrics.make(make_context()) is None
    feature = await make()
    assert len(feature.observers) == len(feature.joins) == len(feature.routes) == 1


@pytest.mark.parametrize(
    ("given", "prefix"),
    [
        ({}, "kinto_"),
        ({"project_name": "Remote Settings-1"}, "remotesettings1_"),
        ({"prometheus_prefix": "my_own"}, "myown_"),
        ({"prometheus_prefix": '""'}, ""),
    ],
)
async def test_prefix_is_told_as_it_stands_in_the_names(given: dict[str, str], prefix: str) -> None:
    about = (await make(**given, prometheus_disabled_metrics="request_size")).capabilities
    assert about["prometheus"]["prefix"] == prefix
    assert about["prometheus"]["disabled_metrics"] == ["request_size"]
