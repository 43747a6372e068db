"""Webhooks as the settings describe them. Pure."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlsplit

from server.core.paths import KINDS, object_path
from server.core.revisions import Action, Revision
from server.settings_names import normalise, suggestion
from server.settings_values import parse_duration, parse_flag, parse_text, parse_words

ACTIONS: tuple[str, ...] = get_args(Action)

_WEBHOOK_USES = ("webhook", "")


@dataclass(frozen=True, slots=True)
class Hook:
    """Somebody who is told of changes.

    Attributes:
        name: as the settings have it.
        url: that the changes are posted to.
        secret: that signs them.
        actions: of which it is told.
        resources: names of kinds, and URIs of objects with all that lies in them, of
            which it is told; empty for everything in every bucket.
        timeout_seconds: within which it has to answer.
        allows_private: whether it may be on this machine or in a private network.
    """

    name: str
    url: str
    secret: str
    actions: frozenset[str] = frozenset(ACTIONS)
    resources: frozenset[str] = frozenset()
    timeout_seconds: float = 10
    allows_private: bool = False

    def wants(self, revision: Revision) -> bool:
        """Whether it is to be told of an entry of the log."""
        if revision.action not in self.actions:
            return False
        kind = object_path(revision.uri).kind
        if not kind.is_shared:
            # Who the users are is nobody's business.
            return False
        if not self.resources or kind.name in self.resources:
            return True
        return any(is_within(revision.uri, one) for one in self.resources)


def is_within(uri: str, place: str) -> bool:
    """Whether an object is that of a URI, or lies in it."""
    return uri == place or uri.startswith(place + "/")


def is_public(address: str) -> bool:
    """Whether an IP address is of the public internet."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_global and not (mapped or found).is_multicast


def parse_hooks(names: Iterable[str], options: Mapping[str, str]) -> list[Hook]:
    """The webhooks of the settings.

    Args:
        names: of the webhooks.
        options: text by ``name.option``, or by ``name_option`` as the environment
            spells it.

    Raises:
        ValueError: If one is not understood; its text is a sentence.
    """
    left = dict(options)
    hooks = [_parse_hook(name, left) for name in dict.fromkeys(names)]
    for key in left:
        raise ValueError(
            f"event_listeners.{key} is of no webhook that event_listeners names: remove it, or"
            " name the webhook."
        )
    return hooks


def _parse_hook(name: str, left: dict[str, str]) -> Hook:
    given = _take_options(name, left)
    use = given.pop("use", "")
    if use not in _WEBHOOK_USES:
        raise ValueError(
            f"event_listeners.{name}.use is {use!r}, which cannot be offered: use webhook."
        )
    for required in ("url", "secret"):
        if not given.get(required):
            raise ValueError(f"event_listeners.{name}.{required} is missing.")
    hook = Hook(name, **{_FIELDS[key][0]: _parse(name, key, text) for key, text in given.items()})
    _check_url(hook)
    _check_resources(hook)
    return hook


def _take_options(name: str, left: dict[str, str]) -> dict[str, str]:
    given = {}
    prefixes = (f"{name}.", f"{normalise(name)}_")
    for key in list(left):
        prefix = next((one for one in prefixes if key.startswith(one)), None)
        if prefix is None:
            continue
        option = key.removeprefix(prefix)
        if option not in _FIELDS and option != "use":
            hint = suggestion(option, _FIELDS)
            raise ValueError(f"event_listeners.{name} has no option {option}: remove it{hint}.")
        given[option] = parse_text(left.pop(key).strip())
    return given


def _parse(name: str, option: str, text: str) -> Any:
    try:
        return _FIELDS[option][1](text)
    except ValueError as error:
        raise ValueError(
            f"event_listeners.{name}.{option} is {text!r}: it must be {error}."
        ) from None


def _parse_actions(text: str) -> frozenset[str]:
    words = frozenset(parse_words(text))
    if not words or not words <= set(ACTIONS):
        raise ValueError(f"some of {', '.join(ACTIONS)}")
    return words


_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "url": ("url", str),
    "secret": ("secret", str),
    "actions": ("actions", _parse_actions),
    "resources": ("resources", lambda text: frozenset(parse_words(text))),
    "timeout_seconds": ("timeout_seconds", parse_duration),
    "allow_private": ("allows_private", parse_flag),
}
"""Options: the field of ``Hook``, and what makes its value."""


def _check_url(hook: Hook) -> None:
    parts = urlsplit(hook.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"event_listeners.{hook.name}.url is {hook.url!r}: it must be an address such as"
            " https://example.org/hook."
        )
    if parts.username or parts.password:
        raise ValueError(
            f"event_listeners.{hook.name}.url has a user or password in it: the signature tells"
            " who sends."
        )
    if not hook.allows_private and is_private_name(parts.hostname):
        raise ValueError(
            f"event_listeners.{hook.name}.url is on this machine or in a private network: if that"
            f" is meant, set event_listeners.{hook.name}.allow_private to true."
        )


def is_private_name(host: str) -> bool:
    """Whether a host is certainly private, without asking for its address."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return not is_public(name)


def _check_resources(hook: Hook) -> None:
    for one in hook.resources:
        if one not in KINDS and not one.startswith("/buckets/"):
            raise ValueError(
                f"event_listeners.{hook.name}.resources has {one!r}: name some of"
                f" {', '.join(KINDS)}, or URIs such as /buckets/blog."
            )
