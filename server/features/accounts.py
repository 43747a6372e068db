"""Accounts: users who sign up, and the policy that knows them by their password."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from handlers.accounts import AccountOptions, AccountRequests
from handlers.routes import Route
from handlers.validations import METHODS, ValidationEndpoints
from server.auth.accounts import Accounts, AccountsAuthenticator
from server.auth.passwords import Passwords
from server.config import Settings, StartupError
from server.core.permissions import EVERYONE
from server.features.base import Context, Feature
from server.features.docs import our_docs
from server.service.account_mails import AccountMailOptions, AccountMails, Template
from server.service.mails import Mailer, MailOptions


async def make(context: Context) -> Feature | None:
    """Where ``includes`` names it.

    Raises:
        StartupError: If the policies do not fit.
    """
    settings = context.settings
    names = [name for name, kind in settings.policies.items() if kind == "accounts"]
    _check_settings(settings, names)
    if "accounts" not in settings.includes:
        return None
    own = settings.accounts
    passwords = Passwords(own.password_rounds, settings.retry_after_seconds)
    accounts = Accounts(
        context.storage, passwords, own.cache_ttl_seconds, only_validated=own.validation
    )
    email = re.compile(own.email_regexp) if own.validation else None
    options = AccountOptions(names[0], email)
    mails = _make_mails(context) if own.validation else None
    requests = AccountRequests(options, context.storage, context.rules, passwords, accounts, mails)
    routes: list[Route] = []
    if mails is not None and email is not None:
        routes = _routes(
            ValidationEndpoints(context.storage, accounts, mails, email, options.owner)
        )
    return Feature(
        routes=routes,
        kinds={"account": requests.prepare},
        policies={name: AccountsAuthenticator(name, accounts) for name in names},
        capabilities={"accounts": _capability(validation=own.validation)},
        watchers=[accounts],
        tasks=[_ending(passwords, mails)],
    )


def _check_settings(settings: Settings, names: list[str]) -> None:
    included = "accounts" in settings.includes
    if names and not included:
        raise StartupError(
            f"The policy {names[0]} in multiauth.policies needs accounts: add accounts to includes."
        )
    if included and not names:
        raise StartupError(
            "The accounts in includes need a policy: add account to multiauth.policies."
        )
    if not included:
        return
    order = list(settings.policies)
    if "basicauth" in order and order.index("basicauth") < order.index(names[0]):
        raise StartupError(
            f"basicauth in multiauth.policies takes every password for right: name it after"
            f" {names[0]}."
        )
    creators = settings.principals.get("account:create", frozenset())
    limited = creators - settings.principals.get("account:write", frozenset()) - {EVERYONE}
    if limited:
        raise StartupError(
            "Who is named in account_create_principals makes accounts for others, and has to be"
            f" in account_write_principals, too: {' '.join(sorted(limited))}."
        )


def _capability(*, validation: bool) -> dict[str, str | bool]:
    return {
        "description": "Users sign up with a name and a password.",
        "url": our_docs("how-to/accounts.html"),
        "validation_enabled": validation,
    }


def _make_mails(context: Context) -> AccountMails:
    settings, mail = context.settings.accounts, context.settings.mail
    mailer = Mailer(
        MailOptions(
            mail.mailer, mail.host, mail.port, mail.username, mail.password, mail.tls, mail.ssl
        )
    )
    options = AccountMailOptions(
        settings.email_sender,
        Template(settings.activation_subject, settings.activation_body),
        Template(settings.confirmation_subject, settings.confirmation_body),
        Template(settings.reset_subject, settings.reset_body),
        settings.validation_seconds,
        settings.reset_seconds,
        context.settings.retry_after_seconds,
    )
    return AccountMails(context.storage, mailer, options)


def _routes(endpoints: ValidationEndpoints) -> list[Route]:
    account = "/accounts/{account_id}"
    validate = {"POST": "Confirm the address of an account by the key that was mailed to it"}
    reset = {"POST": "Have a temporary password mailed to the user of an account"}
    return [
        Route(
            f"{account}/validate/{{key}}",
            METHODS,
            endpoints.plan_validate,
            validate,
            "Accounts",
            is_open=True,
        ),
        Route(
            f"{account}/reset-password",
            METHODS,
            endpoints.plan_reset,
            reset,
            "Accounts",
            is_open=True,
        ),
    ]


def _ending(passwords: Passwords, mails: AccountMails | None) -> Callable[[], Awaitable[None]]:
    """Ends with the server, after what is still to be done."""

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if mails is not None:
                await mails.close()
            passwords.close()

    return run
