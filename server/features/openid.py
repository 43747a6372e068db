"""Policies that trust an OpenID Connect provider, and the way to log in there."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from handlers.callbacks import LOCAL_CALLBACKS, Callbacks
from handlers.openid import METHODS, Login, OpenIDEndpoints
from handlers.routes import Route
from server.auth.base import Authenticator
from server.auth.openid import OpenIDAuthenticator, TokenRules
from server.auth.providers import Metadata, Provider
from server.config import Settings, StartupError
from server.core.errors import Unavailable
from server.features.base import Context, Feature
from server.features.docs import kinto_docs
from server.settings_openid import OpenIDOptions, parse_openid_options

logger = logging.getLogger(__name__)

ASK_SECONDS = (2.5, 60.0)
"""Before a provider that did not answer is asked again: at first, and at most."""


async def make(context: Context) -> Feature | None:
    """Where a policy is of the kind ``openid``.

    Raises:
        StartupError: If the options of one are not what they must be.
    """
    settings = context.settings
    options = _read_options(settings)
    if not options:
        return None
    told = [_describe(one) for one in options]
    logins = {
        one.name: _make_login(one, about, settings)
        for one, about in zip(options, told, strict=True)
    }
    policies: dict[str, Authenticator] = {
        name: OpenIDAuthenticator(name, login.provider, _token_rules(login.options))
        for name, login in logins.items()
    }
    providers = [login.provider for login in logins.values()]
    return Feature(
        routes=_routes(OpenIDEndpoints(context.storage, logins)),
        policies=policies,
        capabilities={
            "openid": {
                "description": "Users are known by the tokens of an identity provider.",
                "url": kinto_docs("authentication.html#openid-connect"),
                "providers": told,
            }
        },
        tasks=[lambda: ask_all(providers)],
    )


def _read_options(settings: Settings) -> Sequence[OpenIDOptions]:
    names = [name for name, kind in settings.policies.items() if kind == "openid"]
    try:
        return [
            parse_openid_options(name, settings.policy_options, settings.policies) for name in names
        ]
    except ValueError as error:
        raise StartupError(str(error)) from None


def _describe(options: OpenIDOptions) -> dict[str, Any]:
    """What the hello view says of a provider; what that tells itself comes later."""
    return {
        "name": options.name,
        "issuer": options.issuer,
        "auth_path": f"/openid/{options.name}/login",
        "client_id": options.client_id,
        "audience": options.audience,
        "header_type": options.header_type,
        "userinfo_endpoint": "",
    }


def _make_login(options: OpenIDOptions, about: dict[str, Any], settings: Settings) -> Login:
    def tell(metadata: Metadata) -> None:
        about.update(issuer=metadata.issuer, userinfo_endpoint=metadata.userinfo_endpoint)

    provider = Provider(options.issuer, settings.retry_after_seconds, tell)
    return Login(provider, options, Callbacks(_callbacks(options, settings)))


def _callbacks(options: OpenIDOptions, settings: Settings) -> Sequence[str]:
    if options.trusted_callback_urls:
        return options.trusted_callback_urls
    origins = [f"{origin}/*" for origin in settings.cors_origins if origin != "*"]
    return [*LOCAL_CALLBACKS, *origins]


def _token_rules(options: OpenIDOptions) -> TokenRules:
    return TokenRules(
        options.client_id,
        options.audience,
        options.header_type,
        options.userid_field,
        options.verification_ttl_seconds,
        options.realm,
    )


def _routes(endpoints: OpenIDEndpoints) -> Sequence[Route]:
    paths: Mapping[str, Any] = {
        "login": (endpoints.plan_login, "Go to an identity provider, to log in there"),
        "token": (endpoints.plan_token, "Come back from there, with a token for the page"),
    }
    return [
        Route(f"/openid/{{provider}}/{end}", METHODS, plan, {"GET": about}, "OpenID", is_open=True)
        for end, (plan, about) in paths.items()
    ]


async def ask_all(providers: Sequence[Provider]) -> None:
    """Ask each how it is to be talked to, so that the hello view can say it."""
    await asyncio.gather(*(_ask(one) for one in providers))


async def _ask(provider: Provider) -> None:
    pause = ASK_SECONDS[0]
    while True:
        try:
            await provider.metadata()
        except Unavailable:
            if pause == ASK_SECONDS[0]:
                logger.warning("%s does not answer: nobody can log in there", provider.issuer)
            await asyncio.sleep(pause)
            pause = min(pause * 2, ASK_SECONDS[1])
        else:
            return
