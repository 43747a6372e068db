import pytest

from server.config import StartupError
from server.features import accounts
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test

ON = {"includes": "kinto.plugins.accounts", "multiauth__policies": "account basicauth"}


async def test_accounts_are_there_only_where_they_are_named() -> None:
    assert await accounts.make(make_context()) is None
    feature = await accounts.make(make_context(**ON))
    assert feature is not None
    assert set(feature.kinds) == {"account"}
    assert set(feature.policies) == {"account"}
    assert list(feature.routes) == []
    assert feature.capabilities["accounts"]["validation_enabled"] is False
    assert [watcher.bucket for watcher in feature.watchers] == ["/"]


async def test_policy_has_the_name_of_the_settings() -> None:
    given = {
        "includes": "accounts",
        "multiauth__policies": "people",
        "multiauth__policy__people__use": "kinto.plugins.accounts.AccountsPolicy",
    }
    feature = await accounts.make(make_context(**given))
    assert feature is not None
    assert {name: one.name for name, one in feature.policies.items()} == {"people": "people"}


async def test_addresses_are_confirmed_only_where_that_is_asked_for() -> None:
    feature = await accounts.make(make_context(**ON, account_validation=True))
    assert feature is not None
    assert [route.template for route in feature.routes] == [
        "/accounts/{account_id}/validate/{key}",
        "/accounts/{account_id}/reset-password",
    ]
    assert all(route.about for route in feature.routes)
    assert feature.capabilities["accounts"]["validation_enabled"] is True


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"multiauth__policies": "account"}, "add accounts to includes"),
        ({"includes": "accounts"}, "add account to multiauth.policies"),
        ({**ON, "multiauth__policies": "basicauth account"}, "name it after account"),
        (
            {**ON, "account_create_principals": "account:bob system.Everyone"},
            "account_write_principals, too: account:bob",
        ),
    ],
)
async def test_settings_that_do_not_fit_stop_the_start(given: dict[str, str], words: str) -> None:
    with pytest.raises(StartupError, match=words):
        await accounts.make(make_context(**given))
