"""``/.well-known/webfinger`` and ``/.well-known/kinto``."""

from collections.abc import Iterator
from typing import Any

from handlers.discovery import KINTO, WEBFINGER, Discoverable, DiscoveryEndpoints
from handlers.hello import READ_METHODS
from handlers.routes import Route
from server.config import Settings
from server.features.base import Context, Feature
from server.features.docs import our_docs
from server.settings_openid import parse_openid_options


async def make(context: Context) -> Feature | None:
    """Where it is named among the features."""
    settings = context.settings
    if "discovery" not in settings.includes:
        return None
    docs = our_docs("how-to/discovery.html")
    endpoints = DiscoveryEndpoints(
        Discoverable(
            docs,
            list(_ways_in(settings)),
            context.defaults,
            settings.discovery.hosts,
            _find_accounts(settings) if settings.discovery.public_accounts else None,
        )
    )
    return Feature(
        routes=[
            _route(WEBFINGER, endpoints.plan_webfinger, "Tell what a user's address leads to"),
            _route(KINTO, endpoints.plan_kinto, "Tell where the API is, and how to sign in"),
        ],
        capabilities={
            "discovery": {
                "description": "An address such as user@host leads to this server.",
                "url": docs,
            }
        },
    )


def _route(path: str, plan: Any, about: str) -> Route:
    return Route(path, READ_METHODS, plan, {"GET": about}, "Discovery", is_open=True)


def _find_accounts(settings: Settings) -> str | None:
    """Name of the policy whose users have accounts."""
    names = [name for name, kind in settings.policies.items() if kind == "accounts"]
    return names[0] if names and "accounts" in settings.includes else None


def _ways_in(settings: Settings) -> Iterator[dict[str, Any]]:
    """The ways to authenticate, in the order in which they are tried."""
    if "api_keys" in settings.includes:
        yield {"name": "api_keys", "type": "api_key", "header": "Bearer", "keys": "/api-keys"}
    for name, kind in settings.policies.items():
        if kind == "openid":
            options = parse_openid_options(name, settings.policy_options, settings.policies)
            yield {
                "name": name,
                "type": "openid",
                "header": options.header_type,
                "issuer": options.issuer,
                "client_id": options.client_id,
                "login": f"/openid/{name}/login",
            }
        elif kind == "accounts":
            yield {"name": name, "type": "account", "header": "Basic", "accounts": "/accounts"}
        else:
            yield {"name": name, "type": kind, "header": "Basic"}
