import pytest

from server.features import revisions
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_every_kind_has_revisions_and_snapshots_come_with_the_history() -> None:
    plain = await revisions.make(make_context())
    more = await revisions.make(make_context(includes="history"))
    templates = [route.template for route in plain.routes]
    assert len(templates) == 12
    assert (
        "/buckets/{bucket_id}/collections/{collection_id}/records/{record_id}/revisions"
        in templates
    )
    extra = [route.template for route in more.routes if route.template not in templates]
    assert extra == ["/buckets/{bucket_id}/snapshot/collections/{collection_at}"]


async def test_every_method_of_every_route_is_described() -> None:
    for route in (await revisions.make(make_context(includes="history"))).routes:
        assert set(route.about) >= set(route.methods) - {"OPTIONS", "HEAD"}
        assert route.tag == "Revisions"


async def test_feature_is_announced() -> None:
    about = (await revisions.make(make_context())).capabilities["revisions"]
    assert set(about) == {"description", "url"}
