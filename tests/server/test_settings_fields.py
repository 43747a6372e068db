import dataclasses

import pytest

from server.settings_fields import FIELDS, Entry, Settings, setting_rows


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("one", FIELDS.values(), ids=lambda one: one.name)
def test_setting_says_what_it_means(one: Entry) -> None:
    assert one.field.metadata["help"].endswith(".")


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("batch_max_requests", 25),
        ("storage_max_fetch_size", 10000),
        ("pagination_token_validity_seconds", 600),
        ("cors_origins", ("*",)),
        ("retry_after_seconds", 3),
        ("root_cache_expires_seconds", 86400),
        ("version_prefix_redirect_ttl_seconds", -1),
        ("explicit_permissions", True),
        ("experimental_permissions_endpoint", False),
    ],
)
def test_default_is_kintos(name: str, default: object) -> None:
    assert getattr(Settings(), name) == default


def test_rows_of_the_reference_show_names_as_they_are_written() -> None:
    rows = {name: default for name, default, _ in setting_rows()}
    assert rows["multiauth.policies"] == "basicauth"
    assert rows["cors_origins"] == "*"
    assert rows["paginate_by"] == ""
    assert rows.keys() == FIELDS.keys()
