from server.settings_webhooks import WebhookSettings


def test_nobody_is_told_unless_somebody_is_named() -> None:
    assert (WebhookSettings().names, WebhookSettings().options) == ((), {})
