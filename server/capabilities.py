"""What the hello view announces: one entry a feature that is switched on."""

from typing import Any

from handlers.live import SUBPROTOCOL
from notifier.waiters import MAX_WAIT_SECONDS
from server.config import Settings
from server.core.targets import PREFIX

_DOCS = "https://docs.kinto-storage.org/en/stable/api/1.x/"
_OUR_DOCS = "https://kintoun.readthedocs.io/en/latest/"

_TEXTS = {
    "basicauth": (
        "Users are told apart by the name and password they send.",
        _DOCS + "authentication.html",
    ),
    "default_bucket": (
        "Every user has a bucket of their own, called default, made at its first use.",
        _DOCS + "buckets.html#personal-bucket-default",
    ),
    "flush_endpoint": ("Everything can be removed at once.", _DOCS + "flush.html"),
    "live": (
        "Changes pushed over WebSocket, Server-Sent Events and long-poll.",
        _OUR_DOCS + "reference/live.html",
    ),
    "permissions_endpoint": (
        "Lists all that a user has a permission on.",
        _DOCS + "permissions.html#list-every-permissions",
    ),
}


def describe(settings: Settings) -> dict[str, dict[str, Any]]:
    """The capabilities by name, each with its description and url."""
    names = []
    if "basicauth" in settings.policies.values():
        names.append("basicauth")
    if "default_bucket" in settings.includes:
        names.append("default_bucket")
    if "flush" in settings.includes:
        names.append("flush_endpoint")
    if settings.experimental_permissions_endpoint:
        names.append("permissions_endpoint")
    names.append("live")
    told: dict[str, dict[str, Any]] = {
        name: {"description": _TEXTS[name][0], "url": _TEXTS[name][1]} for name in names
    }
    told["live"] |= _describe_live(settings)
    return told


def _describe_live(settings: Settings) -> dict[str, Any]:
    heartbeat = settings.live_heartbeat_seconds
    return {
        "version": 1,
        "websocket": f"{PREFIX}/live",
        "subprotocol": SUBPROTOCOL,
        "sse": True,
        "longpoll": {"max_wait": MAX_WAIT_SECONDS},
        "heartbeat": int(heartbeat) if heartbeat == int(heartbeat) else heartbeat,
        "limits": {
            "subscriptions": settings.live_max_subscriptions,
            "message_bytes": settings.live_message_max_bytes,
            "event_bytes": settings.live_event_max_bytes,
        },
    }
