from server.features.base import Feature


def test_feature_adds_nothing_of_itself() -> None:
    feature = Feature()
    assert not any((feature.routes, feature.kinds, feature.policies, feature.capabilities))
    assert not any((feature.watchers, feature.checks, feature.tasks))
