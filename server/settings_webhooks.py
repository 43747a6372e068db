"""Settings of webhooks: Kinto's ``event_listeners``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from server import settings_values as values
from server.settings_values import about


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Who is told of changes over HTTP."""

    names: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Webhooks that `kintoun webhooks` serves, by name.",
            values.parse_words,
            name="event_listeners",
        ),
    )
    in_server: bool = field(
        default=False,
        metadata=about(
            "Serve the webhooks in `kintoun serve`, too; always so where the server has a"
            " database of its own.",
            values.parse_flag,
            name="webhooks_in_server",
        ),
    )
    options: Mapping[str, str] = field(
        default_factory=dict,
        metadata=about(
            "What a webhook is, such as `event_listeners.audit.url`.",
            str,
            name="event_listeners.<name>.<option>",
            pattern=r"event_listeners[._](.+)",
        ),
    )
