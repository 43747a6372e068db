from typing import Any

import pytest

from server.core.errors import QuotaExceeded
from server.core.permissions import Rules
from server.core.quotas import Quotas
from tests.server.core.worlds import NOW, RULES, World, error_of

BUCKET = "/buckets/my-Blog"
COLLECTION = f"{BUCKET}/collections/c"
RECORD = f"{COLLECTION}/records/r"
OTHER = f"{COLLECTION}/records/s"
GROUP = f"{BUCKET}/groups/g"


def make_world(buckets: Any = None, collections: Any = None) -> World:
    """Alice's bucket and collection, made before there were quotas."""
    world = World()
    world.put(BUCKET)
    world.put(COLLECTION)
    world.now = NOW + 100
    limit(world, buckets, collections)
    return world


def limit(world: World, buckets: Any = None, collections: Any = None) -> None:
    world.rules = Rules(RULES.grants, quotas=Quotas(buckets or {}, collections or {}))


def size_of(world: World, *uris: str) -> int:
    return sum(len(stored.json) for uri in uris if (stored := world.objects[uri]) is not None)


@pytest.mark.parametrize("holder", ["bucket", "collection"])
def test_record_too_many_is_refused_and_its_place_is_free_when_one_goes(holder: str) -> None:
    world = make_world(**{f"{holder}s": {"max_items": {"": 1}}})
    world.put(RECORD)
    error = error_of(lambda: world.put(OTHER))
    assert isinstance(error, QuotaExceeded)
    assert (error.status, error.errno) == (507, 121)
    quota = f"quotas.{holder}_max_items"
    assert error.details == {"quota": quota, "maximum": 1, "wanted": 2}
    assert error_of(lambda: world.post(OTHER)).status == 507
    world.put(RECORD, {"data": {"more": 1}})
    world.put(GROUP)
    world.delete(RECORD)
    assert world.put(OTHER).created
    assert error_of(lambda: world.put(RECORD)).status == 507


def test_collection_that_is_deleted_makes_room_for_what_was_in_it() -> None:
    world = make_world({"max_items": {"": 2}})
    world.put(RECORD)
    world.put(OTHER)
    world.delete(COLLECTION)
    world.put(COLLECTION)
    assert world.put(OTHER).created
    world.put(RECORD)
    assert error_of(lambda: world.put(f"{COLLECTION}/records/t")).status == 507


def test_bucket_that_is_made_again_is_empty() -> None:
    world = make_world({"max_items": {"": 1}})
    world.put(RECORD)
    world.delete(BUCKET)
    world.put(BUCKET)
    world.put(COLLECTION)
    assert world.put(RECORD).created


@pytest.mark.parametrize("holder", ["bucket", "collection"])
def test_bytes_of_all_that_lies_in_it_count_and_its_own(holder: str) -> None:
    world = make_world()
    world.put(RECORD, {"data": {"a": "x" * 100}})
    own = (BUCKET, COLLECTION, RECORD) if holder == "bucket" else (COLLECTION, RECORD)
    full = size_of(world, *own)
    limit(world, **{f"{holder}s": {"max_bytes": {"": full}}})
    assert world.put(RECORD, {"data": {"a": "y" * 100}}).object.data["a"][0] == "y"
    error = error_of(lambda: world.put(RECORD, {"data": {"a": "x" * 101}}))
    assert error.details == {
        "quota": f"quotas.{holder}_max_bytes",
        "maximum": full,
        "wanted": full + 1,
    }
    assert error_of(lambda: world.patch(COLLECTION, {"data": {"a": 1}})).status == 507
    assert error_of(lambda: world.put(OTHER)).status == 507


def test_groups_and_the_bucket_itself_count_in_the_bucket_alone() -> None:
    world = make_world()
    full = size_of(world, BUCKET, COLLECTION)
    limit(world, {"max_bytes": {"": full}}, {"max_bytes": {"": full}})
    assert error_of(lambda: world.put(GROUP)).status == 507
    assert error_of(lambda: world.patch(BUCKET, {"data": {"a": 1}})).status == 507
    limit(world, None, {"max_bytes": {"": size_of(world, COLLECTION)}})
    world.put(GROUP)


def test_what_is_too_much_already_may_become_less() -> None:
    world = make_world()
    world.put(RECORD, {"data": {"a": "x" * 1000}})
    zero = {"max_bytes": {"": 0}, "max_items": {"": 0}, "max_bytes_per_item": {"": 0}}
    limit(world, zero, zero)
    assert world.put(RECORD, {"data": {"a": "x" * 900}}).object.data["a"] == "x" * 900
    world.patch(RECORD, {"permissions": {"read": ["bob"]}})
    assert error_of(lambda: world.put(RECORD, {"data": {"a": "x" * 901}})).status == 507
    world.delete(RECORD)
    assert error_of(lambda: world.put(RECORD)).status == 507


@pytest.mark.parametrize("measure", ["max_bytes", "max_bytes_per_item"])
def test_under_a_quota_of_zero_nothing_can_be_stored(measure: str) -> None:
    world = make_world({measure: {"": 0}})
    for uri in ("/buckets/new", f"{BUCKET}/collections/d", GROUP, RECORD):
        assert error_of(lambda uri=uri: world.put(uri)).status == 507  # type: ignore[misc]
    world = make_world(None, {measure: {"": 0}})
    assert error_of(lambda: world.put(f"{BUCKET}/collections/d")).status == 507
    assert error_of(lambda: world.put(RECORD)).status == 507
    assert world.put("/buckets/new").created


def test_one_object_may_be_only_so_large() -> None:
    world = make_world({"max_bytes_per_item": {"": 200}}, {"max_bytes_per_item": {"": 100}})
    assert error_of(lambda: world.put(RECORD, {"data": {"a": "x" * 100}})).details["quota"] == (
        "quotas.collection_max_bytes_per_item"
    )
    world.put(GROUP, {"data": {"a": "x" * 100}})
    assert error_of(lambda: world.put(GROUP, {"data": {"a": "x" * 200}})).status == 507


@pytest.mark.parametrize(
    ("collections", "maximum"),
    [
        ({"": 1}, 1),
        ({"": 1, "my-Blog": 2}, 2),
        ({"": 1, "my_blog": 2}, 2),
        ({"": 1, "my-Blog": 2, "my-Blog_c": 3}, 3),
        ({"": 1, "my_blog_c": 3}, 3),
        ({"": 1, "other": 9, "my-Blog_d": 9}, 1),
    ],
)
def test_the_most_particular_quota_counts(collections: Any, maximum: int) -> None:
    world = make_world(None, {"max_items": collections})
    for n in range(maximum):
        world.put(f"{COLLECTION}/records/r{n}")
    assert error_of(lambda: world.put(RECORD)).details["maximum"] == maximum


def test_quota_of_one_bucket_is_not_that_of_others() -> None:
    world = make_world({"max_items": {"my-Blog": 0}})
    assert error_of(lambda: world.put(RECORD)).status == 507
    world.put("/buckets/b")
    world.put("/buckets/b/collections/c")
    assert world.put("/buckets/b/collections/c/records/r").created
