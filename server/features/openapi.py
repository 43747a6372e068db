"""``/__api__``, ``/__asyncapi__`` and ``/docs``: what the API is, for programs and for people."""

from typing import Any

from handlers.asyncapi import AsyncApiEndpoint, AsyncApiOptions
from handlers.docs_ui import DocsEndpoint
from handlers.hello import READ_METHODS
from handlers.openapi import DescriptionOptions, OpenApiEndpoint
from handlers.routes import Route
from handlers.routing import Api
from notifier.live import Live
from notifier.waiters import MAX_WAIT_SECONDS
from server.config import Settings
from server.features.base import Context, Feature
from server.features.docs import our_docs
from server.settings_openid import parse_openid_options

_BASIC = "Name and password, as HTTP Basic authentication has them."
_TOKEN = "An access token of {name}, after `{header}` in `Authorization`."
_KEY = "An API key, as a bearer token."


async def make(context: Context) -> Feature:
    """Always."""
    settings = context.settings
    openapi = OpenApiEndpoint(_describe(settings))
    asyncapi = AsyncApiEndpoint(_describe_live(settings))
    docs = DocsEndpoint()

    def join(api: Api, _: Live) -> None:
        openapi.join(api)

    return Feature(
        routes=[
            _route("/__api__", openapi.plan, "Describe the API, as OpenAPI"),
            _route("/__asyncapi__", asyncapi.plan, "Describe the live protocol, as AsyncAPI"),
            _route("/docs", docs.plan, "Browse the API's description"),
            _route("/docs/{file}", docs.plan, "Parts of that page"),
        ],
        joins=[join],
    )


def _route(path: str, plan: Any, about: str) -> Route:
    return Route(path, READ_METHODS, plan, {"GET": about}, "Documentation", is_open=True)


def _describe(settings: Settings) -> DescriptionOptions:
    most = settings.storage_max_fetch_size
    return DescriptionOptions(
        settings.project_name,
        security_of(settings),
        settings.disabled_endpoints,
        settings.readonly,
        min(settings.paginate_by or most, most),
        MAX_WAIT_SECONDS,
        settings.batch_max_requests,
        settings.max_body_bytes,
        "default_bucket" in settings.includes,
        our_docs("reference/api.html"),
    )


def security_of(settings: Settings) -> dict[str, dict[str, Any]]:
    """The ways to authenticate, as ``securitySchemes`` has them."""
    schemes = {name: _scheme(name, kind, settings) for name, kind in settings.policies.items()}
    if "api_keys" in settings.includes:
        schemes["api_key"] = {"type": "http", "scheme": "bearer", "description": _KEY}
    return schemes


def _scheme(name: str, kind: str, settings: Settings) -> dict[str, Any]:
    if kind != "openid":
        return {"type": "http", "scheme": "basic", "description": _BASIC}
    header = parse_openid_options(name, settings.policy_options, settings.policies).header_type
    about = _TOKEN.format(name=name, header=header)
    return {"type": "http", "scheme": header.lower(), "description": about}


def _describe_live(settings: Settings) -> AsyncApiOptions:
    return AsyncApiOptions(
        settings.project_name,
        security_of(settings),
        settings.live_max_subscriptions,
        settings.live_message_max_bytes,
        settings.live_event_max_bytes,
        our_docs("reference/live.html"),
    )
