import pytest

from server.config import StartupError, load_settings
from server.settings_accounts import EMAIL, AccountSettings, MailSettings, parse_pattern


def test_kintos_names_are_understood_from_the_environment() -> None:
    settings = load_settings(
        {
            "KINTO_ACCOUNT_VALIDATION": "true",
            "KINTO_ACCOUNT_VALIDATION_EMAIL_SENDER": "me@example.org",
            "KINTO_ACCOUNT_VALIDATION_EMAIL_BODY_TEMPLATE": '"Hello {id},\\n{activation-key}"',
            "KINTO_ACCOUNT_VALIDATION_VALIDATION_KEY_CACHE_TTL_SECONDS": "60",
            "KINTO_ACCOUNT_CACHE_TTL_SECONDS": "0",
            "KINTO_MAIL_HOST": "mail.example.org",
            "KINTO_MAIL_PORT": "587",
            "KINTO_MAIL_TLS": "true",
            "KINTO_MAIL_PASSWORD": "open sesame",
        }
    )
    assert settings.accounts.validation
    assert settings.accounts.email_sender == "me@example.org"
    assert settings.accounts.activation_body == "Hello {id},\n{activation-key}"
    assert settings.accounts.validation_seconds == 60
    assert settings.accounts.cache_ttl_seconds == 0
    assert (settings.mail.host, settings.mail.port, settings.mail.tls) == (
        "mail.example.org",
        587,
        True,
    )
    assert settings.mail.password == "open sesame"
    assert "sesame" not in repr(settings)


def test_defaults_are_kintos() -> None:
    assert AccountSettings().cache_ttl_seconds == 30
    assert AccountSettings().reset_seconds == 7 * 24 * 3600
    assert (MailSettings().host, MailSettings().port) == ("localhost", 25)


def test_pattern_is_a_regular_expression() -> None:
    assert parse_pattern(EMAIL) == EMAIL
    with pytest.raises(ValueError, match="a regular expression"):
        parse_pattern("(")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ACCOUNT_PASSWORD_ROUNDS", "3", "a whole number, from 4 to 31"),
        ("ACCOUNT_VALIDATION_EMAIL_REGEXP", "[", "a regular expression"),
        ("MAIL_MAILER", "pigeon", "smtp or debug or testing"),
        ("MAIL_PORT", "0", "a whole number, from 1 to 65535"),
    ],
)
def test_value_that_makes_no_sense_stops_the_start(name: str, value: str, words: str) -> None:
    with pytest.raises(StartupError, match=words):
        load_settings({f"KINTO_{name}": value})
