import pytest

from server import settings_names as names


@pytest.mark.parametrize(
    "name",
    [
        "storage_url",
        "storage_pool_size",
        "cache_backend",
        "cache_hosts",
        "permission_max_backlog",
        "sentry_dsn",
        "statsd_url",
        "newrelic_env",
        "profiler_dir",
        "history_auto_trim_max_count",
        "account_create_principals",
        "multiauth_groupfinder",
        "tm_annotate_user",
        "initialization_sequence",
    ],
)
def test_setting_of_kinto_without_meaning_here_is_known(name: str) -> None:
    assert names.is_ignored(name)


@pytest.mark.parametrize("name", ["storage_backend", "storage_max_fetch_size", "readonly", "cash"])
def test_other_names_are_not_ignored(name: str) -> None:
    assert not names.is_ignored(name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("service_host", "10.0.0.1"),
        ("service_port_http", "80"),
        ("main_service_port", "80"),
        ("port_8888_tcp_addr", "10.0.0.1"),
        ("port", "tcp://10.0.0.1:8888"),
    ],
)
def test_variables_that_kubernetes_sets_for_a_service_named_kinto_are_none_of_ours(
    name: str, text: str
) -> None:
    assert names.is_of_orchestration(name, text)


def test_port_as_a_number_is_ours() -> None:
    assert not names.is_of_orchestration("port", "8888")


@pytest.mark.parametrize("word", ["kinto.plugins.flush", "flush"])
def test_feature_is_found_with_and_without_kintos_prefix(word: str) -> None:
    assert names.find_feature(word) == "flush"


def test_near_miss_of_a_feature_is_suggested() -> None:
    with pytest.raises(ValueError, match=r"did you mean default_bucket\?"):
        names.find_feature("kinto.plugins.default_buckets")


def test_feature_of_another_package_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"^kinto_signer in includes"):
        names.find_feature("kinto_signer")


def test_attachments_are_a_feature_under_the_name_of_their_package() -> None:
    assert names.find_feature("kinto_attachment") == "attachments"


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("basicauth", None),
        ("people", "basicauth"),
        ("people", "kinto.core.authentication.BasicAuthAuthenticationPolicy"),
    ],
)
def test_policy_is_found_by_its_use_or_by_its_own_name(name: str, use: str | None) -> None:
    assert names.find_policy(name, use) == "basicauth"


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("people", None),
        ("fxa", "kinto_fxa.authentication.FxAOAuthAuthenticationPolicy"),
        ("basicauth", "some.other.Policy"),
    ],
)
def test_policy_that_is_not_built_in_is_refused(name: str, use: str | None) -> None:
    with pytest.raises(ValueError, match=f"The policy {name}"):
        names.find_policy(name, use)
