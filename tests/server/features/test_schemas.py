import pytest

from server.features import schemas
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_schemas_are_there_and_announced_only_where_the_setting_is_on() -> None:
    assert await schemas.make(make_context()) is None
    feature = await schemas.make(make_context(experimental_collection_schema_validation=True))
    assert feature is not None
    assert [route.methods for route in feature.routes] == [("POST", "OPTIONS")]
    assert set(feature.capabilities) == {"schema"}
