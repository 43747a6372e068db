from dataclasses import replace

import pytest

from server.capabilities import describe
from server.config import load_settings


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, {"basicauth", "live"}),
        (
            {"KINTO_INCLUDES": "kinto.plugins.default_bucket"},
            {"basicauth", "live", "default_bucket"},
        ),
        ({"KINTO_INCLUDES": "flush"}, {"basicauth", "live", "flush_endpoint"}),
        (
            {"KINTO_EXPERIMENTAL_PERMISSIONS_ENDPOINT": "true"},
            {"basicauth", "live", "permissions_endpoint"},
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
    assert "basicauth" not in describe(replace(load_settings({}), policies={}))


def test_live_changes_are_announced_with_the_limits_that_the_settings_name() -> None:
    settings = replace(
        load_settings({}),
        live_max_subscriptions=7,
        live_event_max_bytes=9,
        live_heartbeat_seconds=2.5,
    )
    about = describe(settings)["live"]
    assert about.pop("url").startswith("https://")
    assert about == {
        "description": "Changes pushed over WebSocket, Server-Sent Events and long-poll.",
        "version": 1,
        "websocket": "/v1/live",
        "subprotocol": "kinto.live.v1",
        "sse": True,
        "longpoll": {"max_wait": 25},
        "heartbeat": 2.5,
        "limits": {"subscriptions": 7, "message_bytes": 65536, "event_bytes": 9},
    }
