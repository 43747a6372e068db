import pytest

from server.features import basics
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, {"basicauth", "live"}),
        ({"includes": "kinto.plugins.default_bucket"}, {"basicauth", "live", "default_bucket"}),
        ({"multiauth__policies": ""}, {"live"}),
    ],
)
async def test_what_is_on_is_announced_and_nothing_else(
    given: dict[str, str], names: set[str]
) -> None:
    feature = await basics.make(make_context(**given))
    assert set(feature.capabilities) == names
    for about in feature.capabilities.values():
        assert about["description"].endswith(".")
        assert about["url"].startswith("https://")


async def test_policies_have_the_names_of_the_settings() -> None:
    given = {"multiauth_policies": "people", "multiauth_policy_people_use": "basicauth"}
    feature = await basics.make(make_context(**given))
    assert {name: one.name for name, one in feature.policies.items()} == {"people": "people"}


async def test_live_changes_are_announced_with_the_limits_that_the_settings_name() -> None:
    context = make_context(
        live_max_subscriptions=7, live_event_max_bytes=9, live_heartbeat_seconds=2.5
    )
    about = dict((await basics.make(context)).capabilities["live"])
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
