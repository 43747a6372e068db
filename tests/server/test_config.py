from pathlib import Path

import pytest

from server.config import Settings, StartupError, load_settings

KINTO_INI = """\
[server:main]
use = egg:waitress#main
port = %(http_port)s

[app:main]
use = egg:kinto
pyramid.includes = pyramid_tm
# kinto.paginate_by = 5
kinto.paginate_by =
kinto.includes = kinto.plugins.default_bucket
                 kinto.plugins.flush
#                kinto.plugins.history
kinto.storage_backend = kinto.core.storage.postgresql
kinto.storage_url = postgresql://localhost/postgres
kinto.cache_backend = kinto.core.cache.memcached
kinto.cache_url =
kinto.event_listeners =
kinto.userid_hmac_secret = 123456
multiauth.policies = basicauth
multiauth.policy.account.use = kinto.plugins.accounts.AccountsPolicy
kinto.bucket_create_principals = account:admin  basicauth:x
kinto.collection_write_principals =
kinto.blog.articles.record_cache_expires_seconds = 60
kinto.plural_bucket_post_enabled = false
kinto.object_record_get_enabled = true
batch_max_requests = 50

[loggers]
keys = root
"""


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    path = tmp_path / "kinto.ini"
    path.write_text(KINTO_INI)
    return path


def test_nothing_given_is_the_defaults() -> None:
    assert load_settings({}) == Settings()


def test_ini_file_of_a_kinto_is_read_as_it_is(ini: Path) -> None:
    settings = load_settings({}, ini)
    assert settings.paginate_by is None
    assert settings.includes == ("default_bucket", "flush")
    assert settings.storage_backend == "mongo"
    assert settings.userid_hmac_secret == "123456"
    assert settings.policies == {"basicauth": "basicauth"}
    assert settings.principals["bucket:create"] == {"account:admin", "basicauth:x"}
    assert settings.principals["collection:write"] == frozenset()
    assert settings.principals["permissions:read"] == {"system.Everyone"}
    assert settings.cache_expires_seconds == {"blog.articles.record": 60}
    assert settings.disabled_endpoints == {("plural", "bucket", "POST")}
    assert settings.batch_max_requests == 50
    assert settings.port == 8888


def test_what_means_nothing_here_is_named_in_one_line(ini: Path) -> None:
    lines: list[str] = []
    load_settings({}, ini, warn=lines.append)
    assert lines == [
        "These settings of Kinto mean nothing here and are ignored: cache_backend, "
        "storage_backend (kinto.core.storage.postgresql), storage_url."
    ]


def test_settings_without_surprises_warn_of_nothing() -> None:
    lines: list[str] = []
    load_settings({"KINTO_READONLY": "true"}, warn=lines.append)
    assert lines == []


def test_options_go_before_the_environment_and_that_before_the_ini(ini: Path) -> None:
    environ = {"KINTO_BATCH_MAX_REQUESTS": "60", "PORT": "5000"}
    settings = load_settings(environ, ini, port=6000, host=None)
    assert (settings.batch_max_requests, settings.port) == (60, 6000)
    assert settings.host == "127.0.0.1"


def test_environment_can_name_dotted_and_hyphenated_settings() -> None:
    settings = load_settings(
        {
            "KINTO_MULTIAUTH_POLICIES": "people",
            "KINTO_MULTIAUTH_POLICY_PEOPLE_USE": "basicauth",
            "KINTO_USER_DATA_DELETE_PRINCIPALS": '["basicauth:x"]',
            "KINTO_OBJECT_RECORD_DELETE_ENABLED": "false",
        }
    )
    assert settings.policies == {"people": "basicauth"}
    assert settings.principals["user-data:delete"] == {"basicauth:x"}
    assert settings.disabled_endpoints == {("object", "record", "DELETE")}


def test_no_policy_at_all_can_be_asked_for() -> None:
    assert load_settings({"KINTO_MULTIAUTH_POLICIES": ""}).policies == {}


def test_feature_named_twice_is_on_once() -> None:
    settings = load_settings({"KINTO_INCLUDES": "flush kinto.plugins.flush"})
    assert settings.includes == ("flush",)


@pytest.mark.parametrize(
    ("environ", "database"),
    [
        ({"MONGODB_URI": "mongodb://h/things"}, "things"),
        ({"MONGODB_URI": "mongodb://h"}, "kintoun"),
        ({"MONGODB_URI": "mongodb://h/things", "KINTO_MONGODB_DATABASE": "other"}, "other"),
    ],
)
def test_database_is_the_named_one_else_that_of_the_address(
    environ: dict[str, str], database: str
) -> None:
    assert load_settings(environ).mongodb_database == database


def test_settings_of_a_family_are_held_by_what_tells_them_apart() -> None:
    environ = {
        "KINTO_EVENT_LISTENERS": "audit",
        "KINTO_EVENT_LISTENERS_AUDIT_URL": "https://a.example/",
        "KINTO_EVENT_LISTENERS_AUDIT_SECRET": "",
    }
    webhooks = load_settings(environ).webhooks
    assert webhooks.names == ("audit",)
    assert webhooks.options == {"audit_url": "https://a.example/"}


def test_options_of_a_policy_are_kept_if_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kinto.ini"
    path.write_text(
        "[app:main]\n"
        "multiauth.policies = google\n"
        "multiauth.policy.google.use = kinto.plugins.openid.OpenIDConnectPolicy\n"
        "multiauth.policy.google.client_id = 42\n"
        "multiauth.policy.other.client_id = 43\n"
    )
    settings = load_settings({}, path)
    assert settings.policies == {"google": "openid"}
    assert settings.policy_options == {"google.client_id": "42"}


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("memory", "memory"),
        ("kinto.core.storage.memory", "memory"),
        ("kinto.core.storage.postgresql", "mongo"),
        ("kinto.core.storage.redis", "mongo"),
    ],
)
def test_kintos_storages_are_ours_of_the_same_sort(name: str, backend: str) -> None:
    assert load_settings({}, storage_backend=name).storage_backend == backend


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"KINTO_BATCH_MAX_REQUEST": "1"}, "did you mean batch_max_requests?"),
        ({"KINTO_PAGINATE_BY": "few"}, "KINTO_PAGINATE_BY in the environment is 'few'"),
        ({"KINTO_INCLUDES": "kinto_signer"}, "kinto_signer"),
        ({"KINTO_MULTIAUTH_POLICIES": "fxa"}, "The policy fxa"),
        ({"KINTO_STORAGE_BACKEND": "mango"}, "did you mean mongo?"),
        ({"KINTO_OBJECT_RECORD_GET_ENABLED": "?"}, "true or false"),
        ({"KINTO_RECORD_CACHE_EXPIRES_SECONDS": "-1"}, "0 or more"),
    ],
)
def test_what_cannot_be_is_one_sentence(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(StartupError) as caught:
        load_settings(environ)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_name_in_the_ini_file_is_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "k.ini"
    path.write_text("[app:main]\nkinto.read_only = true\n")
    with pytest.raises(StartupError, match=r"kinto\.read_only in .*k\.ini .*did you mean readonly"):
        load_settings({}, path)


def test_malformed_address_is_not_shown_because_it_may_hold_a_password() -> None:
    with pytest.raises(StartupError) as caught:
        load_settings({"MONGODB_URI": "mongo://user:geheim@h"})
    assert "geheim" not in str(caught.value)


def test_validation_by_schema_can_be_switched_off_in_words() -> None:
    load_settings({"KINTO_EXPERIMENTAL_COLLECTION_SCHEMA_VALIDATION": "false"})
