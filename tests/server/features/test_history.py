import pytest

from server.features import history
from server.settings_history import HistorySettings
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_history_is_there_and_announced_only_where_it_is_named() -> None:
    assert await history.make(make_context()) is None
    feature = await history.make(make_context(includes="kinto.plugins.history"))
    assert feature is not None
    assert [route.template for route in feature.routes] == ["/buckets/{bucket_id}/history"]
    assert sorted(feature.capabilities["history"]) == ["description", "url"]
    assert not feature.tasks


async def test_log_is_trimmed_wherever_a_limit_is_set() -> None:
    for given in (
        {"history__max_count": 5},
        {"history__max_age_seconds": 60},
        {"history__auto_trim_max_count": 5},
    ):
        feature = await history.make(make_context(**given))
        assert feature is not None
        assert (len(feature.tasks), feature.routes, feature.capabilities) == (1, (), {})
    assert await history.make(make_context(history__auto_trim_max_count=-1)) is None


async def test_capability_tells_what_the_reference_tells() -> None:
    context = make_context(
        includes="history",
        history__auto_trim_max_count=10,
        history__auto_trim_user_ids="basicauth:a basicauth:b",
        history__exclude_resources="/buckets/a /buckets/b/collections/c",
    )
    feature = await history.make(context)
    assert feature is not None
    told = feature.capabilities["history"]
    assert told["auto_trim_max_count"] == 10
    assert told["auto_trim_user_ids"] == ["basicauth:a", "basicauth:b"]
    assert told["excluded_resources"] == [{"bucket": "a"}, {"bucket": "b", "collection": "c"}]


def test_limits_are_those_of_the_settings() -> None:
    settings = HistorySettings(
        max_age_seconds=1,
        max_count=2,
        auto_trim_max_count=3,
        auto_trim_user_ids=("x",),
        auto_trim_threshold=4,
    )
    limits = history.make_limits(settings)
    assert (limits.max_age_seconds, limits.max_count, limits.trim_count) == (1, 2, 3)
    assert (limits.trim_users, limits.trim_threshold) == (("x",), 4)
    assert not history.make_limits(HistorySettings()).is_set
