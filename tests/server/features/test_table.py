import pytest

from server.features.table import make_features
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_features_that_are_off_add_nothing() -> None:
    few = await make_features(make_context())
    more = await make_features(make_context(includes="flush"))
    assert len(more) == len(few) + 1


async def test_no_two_features_add_the_same_route() -> None:
    features = await make_features(make_context(includes="flush"))
    templates = [route.template for feature in features for route in feature.routes]
    assert len(templates) == len(set(templates))
