"""What every server has: the views that tell how it is, and the ways in of Kinto itself."""

from typing import Any

from handlers.hello import READ_METHODS, FileEndpoint, plan_contribute, plan_lbheartbeat
from handlers.live import SUBPROTOCOL
from handlers.routes import Route
from notifier.waiters import MAX_WAIT_SECONDS
from server.auth.base import Authenticator
from server.auth.basic import BasicAuthenticator
from server.config import Settings
from server.core.targets import PREFIX
from server.features.base import Context, Feature
from server.features.docs import kinto_docs, our_docs


async def make(context: Context) -> Feature:
    """Always."""
    settings = context.settings
    policies: dict[str, Authenticator] = {
        name: BasicAuthenticator(name, context.secret)
        for name, kind in settings.policies.items()
        if kind == "basicauth"
    }
    version = FileEndpoint(settings.version_json_path)
    return Feature(
        routes=[
            _view("/__lbheartbeat__", plan_lbheartbeat, "Tell that the process answers"),
            _view("/__version__", version.plan, "Show the deployment's version file"),
            _view("/contribute.json", plan_contribute, "Tell where the project is made"),
        ],
        policies=policies,
        capabilities=_capabilities(settings),
    )


def _view(path: str, plan: Any, about: str) -> Route:
    return Route(path, READ_METHODS, plan, {"GET": about}, "Operation", is_open=True)


def _capabilities(settings: Settings) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {"live": _describe_live(settings)}
    if "basicauth" in settings.policies.values():
        told["basicauth"] = {
            "description": "Users are told apart by the name and password they send.",
            "url": kinto_docs("authentication.html"),
        }
    if "default_bucket" in settings.includes:
        told["default_bucket"] = {
            "description": "Every user has a bucket of their own, called default, made at its"
            " first use.",
            "url": kinto_docs("buckets.html#personal-bucket-default"),
        }
    return told


def _describe_live(settings: Settings) -> dict[str, Any]:
    heartbeat = settings.live_heartbeat_seconds
    return {
        "description": "Changes pushed over WebSocket, Server-Sent Events and long-poll.",
        "url": our_docs("reference/live.html"),
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
