from dataclasses import replace

import pytest

from server.capabilities import describe
from server.config import load_settings


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, {"basicauth"}),
        ({"KINTO_INCLUDES": "kinto.plugins.default_bucket"}, {"basicauth", "default_bucket"}),
        ({"KINTO_INCLUDES": "flush"}, {"basicauth", "flush_endpoint"}),
        (
            {"KINTO_EXPERIMENTAL_PERMISSIONS_ENDPOINT": "true"},
            {"basicauth", "permissions_endpoint"},
        ),
    ],
)
def test_what_is_on_is_announced_and_nothing_else(environ: dict[str, str], names: set[str]) -> None:
    capabilities = describe(load_settings(environ))
    assert set(capabilities) == names
    for about in capabilities.values():
        assert about["description"].endswith(".")
        assert about["url"].startswith("https://")


def test_policy_that_nobody_is_asked_for_is_not_announced() -> None:
    assert describe(replace(load_settings({}), policies={})) == {}
