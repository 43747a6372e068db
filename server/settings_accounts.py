"""Settings of accounts, and of the mails that are sent to their users."""

import re
from dataclasses import dataclass, field

from server import settings_values as values
from server.settings_values import about

EMAIL = r"^[a-zA-Z0-9_.+-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+$"
WEEK_SECONDS = 7 * 24 * 3600

_seconds = values.whole_number(1)


def parse_pattern(text: str) -> str:
    """A regular expression."""
    pattern = values.parse_text(text)
    try:
        re.compile(pattern)
    except re.error:
        raise ValueError("a regular expression") from None
    return pattern


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """Who may have an account is said by the ``account_*_principals``."""

    cache_ttl_seconds: int = field(
        default=30,
        metadata=about(
            "Seconds after which an account that is in use is read again.",
            values.whole_number(0),
            name="account_cache_ttl_seconds",
        ),
    )
    password_rounds: int = field(
        default=12,
        metadata=about(
            "Cost of a new password's hash: bcrypt turns 2 to this power times.",
            values.whole_number(4, 31),
            name="account_password_rounds",
        ),
    )
    validation: bool = field(
        default=False,
        metadata=about(
            "Ids of accounts are e-mail addresses, which their users have to confirm.",
            values.parse_flag,
            name="account_validation",
        ),
    )
    email_regexp: str = field(
        default=EMAIL,
        metadata=about(
            "What such an address looks like: a regular expression.",
            parse_pattern,
            name="account_validation.email_regexp",
        ),
    )
    email_sender: str = field(
        default="admin@example.com",
        metadata=about(
            "Sender of the mails to users.",
            values.parse_text,
            name="account_validation.email_sender",
        ),
    )
    validation_seconds: int = field(
        default=WEEK_SECONDS,
        metadata=about(
            "Seconds within which an address has to be confirmed.",
            _seconds,
            name="account_validation.validation_key_cache_ttl_seconds",
        ),
    )
    reset_seconds: int = field(
        default=WEEK_SECONDS,
        metadata=about(
            "Seconds that a temporary password can be used.",
            _seconds,
            name="account_validation.reset_password_cache_ttl_seconds",
        ),
    )
    activation_subject: str = field(
        default="activate your account",
        metadata=about(
            "Subject of the mail with the key; `{id}` and the like are filled in.",
            values.parse_text,
            name="account_validation.email_subject_template",
        ),
    )
    activation_body: str = field(
        default="{activation-key}",
        metadata=about(
            "Its text.", values.parse_text, name="account_validation.email_body_template"
        ),
    )
    confirmation_subject: str = field(
        default="Account active",
        metadata=about(
            "Subject of the mail that says that an account can be used.",
            values.parse_text,
            name="account_validation.email_confirmation_subject_template",
        ),
    )
    confirmation_body: str = field(
        default="The account {id} is now active",
        metadata=about(
            "Its text.",
            values.parse_text,
            name="account_validation.email_confirmation_body_template",
        ),
    )
    reset_subject: str = field(
        default="Reset password",
        metadata=about(
            "Subject of the mail with a temporary password.",
            values.parse_text,
            name="account_validation.email_reset_password_subject_template",
        ),
    )
    reset_body: str = field(
        default="{reset-password}",
        metadata=about(
            "Its text.",
            values.parse_text,
            name="account_validation.email_reset_password_body_template",
        ),
    )


@dataclass(frozen=True, slots=True)
class MailSettings:
    """The server that mails are given to."""

    mailer: str = field(
        default="smtp",
        metadata=about(
            "What becomes of mails: `smtp` sends them, `debug` logs them, `testing` drops them.",
            values.one_of("smtp", "debug", "testing"),
            name="mail.mailer",
        ),
    )
    host: str = field(
        default="localhost",
        metadata=about("Host of the mail server.", values.parse_text, name="mail.host"),
    )
    port: int = field(
        default=25,
        metadata=about("Its port.", values.whole_number(1, 65535), name="mail.port"),
    )
    username: str | None = field(
        default=None,
        metadata=about("User to log in with there.", values.parse_text, name="mail.username"),
    )
    password: str | None = field(
        default=None,
        repr=False,
        metadata=about("Password of that user.", values.parse_text, name="mail.password"),
    )
    tls: bool = field(
        default=False,
        metadata=about("Encrypt after `STARTTLS`.", values.parse_flag, name="mail.tls"),
    )
    ssl: bool = field(
        default=False,
        metadata=about("Encrypt from the first byte.", values.parse_flag, name="mail.ssl"),
    )
