import pytest

from server.config import StartupError
from server.features import webhooks
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test

HOOK = {
    "event_listeners": "audit",
    "event_listeners_audit_url": "https://a.example/",
    "event_listeners_audit_secret": "s",
}


async def test_server_serves_webhooks_only_where_it_is_told_to() -> None:
    assert await webhooks.make(make_context(webhooks_in_server=True)) is None
    assert await webhooks.make(make_context(**HOOK)) is None
    feature = await webhooks.make(make_context(webhooks_in_server=True, **HOOK))
    assert feature is not None
    assert len(feature.tasks) == 1


async def test_webhook_that_is_not_understood_stops_the_start() -> None:
    with pytest.raises(StartupError, match="some of create"):
        await webhooks.make(make_context(**HOOK, event_listeners_audit_actions="read"))
