"""Settings of the policies that trust an OpenID Connect provider."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from server import settings_values as values
from server.settings_names import normalise, suggestion


@dataclass(frozen=True, slots=True)
class OpenIDOptions:
    """What one policy was told: ``multiauth.policy.NAME.OPTION``.

    Attributes:
        name: of the policy; ids of users begin with it.
        issuer: URL of the provider, below which it describes itself.
        client_id: that the provider knows this server by.
        client_secret: with which this server trades codes for tokens; may be empty.
        audience: that access tokens have to be for; empty for not to be checked.
        header_type: scheme of ``Authorization``.
        userid_field: of the user's profile: what the user's id is made of.
        verification_ttl_seconds: that a token is trusted without asking again.
        state_ttl_seconds: that a login may take.
        state_length: random bytes of a login's state.
        allowed_scopes: that a login may ask for.
        trusted_callback_urls: where tokens may be sent to, with ``*`` for anything;
            empty for this server, its own machine and ``cors_origins``.
        realm: shown in ``WWW-Authenticate``.
    """

    name: str
    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    audience: str = ""
    header_type: str = "Bearer"
    userid_field: str = "sub"
    verification_ttl_seconds: int = 86400
    state_ttl_seconds: int = 3600
    state_length: int = 32
    allowed_scopes: tuple[str, ...] = ("openid", "email", "profile")
    trusted_callback_urls: tuple[str, ...] = ()
    realm: str = "Realm"


def _parse_word(text: str) -> str:
    word = values.parse_text(text).strip()
    if not word.isascii() or not word.replace("-", "").replace("_", "").isalnum():
        raise ValueError("one word of letters and digits")
    return word


def _parse_issuer(text: str) -> str:
    issuer = values.parse_text(text).strip()
    parts = urlsplit(issuer)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise ValueError("an address such as https://accounts.example.com")
    return issuer


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "issuer": _parse_issuer,
    "client_id": values.parse_text,
    "client_secret": values.parse_text,
    "audience": values.parse_text,
    "header_type": _parse_word,
    "userid_field": values.parse_text,
    "verification_ttl_seconds": values.whole_number(1),
    "state_ttl_seconds": values.whole_number(1),
    "state_length": values.whole_number(16, 256),
    "allowed_scopes": values.parse_words,
    "trusted_callback_urls": values.parse_words,
    "realm": values.parse_text,
}

OPTIONS = tuple(_PARSERS)
"""Names of all options."""


def parse_openid_options(
    name: str, given: Mapping[str, str], policies: Iterable[str]
) -> OpenIDOptions:
    """The options of one policy.

    Args:
        name: of the policy.
        given: texts by ``policy.option``, or as the environment spells it.
        policies: names of all policies: one may begin with another.

    Raises:
        ValueError: If one is unknown, missing or malformed; its text is a sentence.
    """
    found = {}
    for written, text in given.items():
        option = _option_of(name, written, policies)
        if option is None or not text.strip():
            continue
        if option not in _PARSERS:
            raise ValueError(
                f"multiauth.policy.{name}.{option} is no setting of this server: remove it"
                f"{suggestion(option, OPTIONS)}."
            )
        found[option] = _parse(name, option, text)
    missing = [option for option in ("issuer", "client_id") if not found.get(option)]
    if missing:
        raise ValueError(f"The policy {name} needs multiauth.policy.{name}.{missing[0]}: set it.")
    return OpenIDOptions(name, **found)


def _option_of(name: str, written: str, policies: Iterable[str]) -> str | None:
    """The option that a setting gives to a policy; None if it is another policy's."""
    spelled = normalise(written)
    owners = [one for one in policies if spelled.startswith(normalise(one) + "_")]
    if max(owners, key=len, default=None) != name:
        return None
    return spelled[len(name) + 1 :]


def _parse(name: str, option: str, text: str) -> Any:
    try:
        return _PARSERS[option](text)
    except ValueError as error:
        shown = "not understood" if option == "client_secret" else repr(text)
        raise ValueError(
            f"multiauth.policy.{name}.{option} is {shown}: it must be {error}."
        ) from None
