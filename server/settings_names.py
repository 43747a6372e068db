"""What Kinto calls its settings and features, and what becomes of each here.

Names are compared in their environment spelling without the prefix: lower
case, with ``_`` for ``.`` and ``-``.
"""

import difflib
import re
from collections.abc import Iterable

FEATURES = (
    "accounts",
    "api_keys",
    "attachments",
    "counters",
    "default_bucket",
    "discovery",
    "flush",
    "history",
    "openid",
    "prometheus",
    "quotas",
)
"""What ``includes`` can name, without Kinto's prefix ``kinto.plugins.``."""

_ALIASES = {"kinto_attachment": "attachments"}

POLICIES = {
    "kinto.core.authentication.BasicAuthAuthenticationPolicy": "basicauth",
    "kinto.plugins.accounts.AccountsPolicy": "accounts",
    "kinto.plugins.accounts.authentication.AccountsAuthenticationPolicy": "accounts",
    "kinto.plugins.openid.OpenIDConnectPolicy": "openid",
}
"""What ``multiauth.policy.NAME.use`` can name, and the built-in policy that it is."""

DEFAULT_USES = {"basicauth": "basicauth", "account": "accounts"}
"""Policies that need no ``use``."""

PRINCIPALS = {
    f"{resource}_{permission}_principals": f"{resource}:{permission}"
    for resource, permissions in (
        ("bucket", ("create", "read", "write")),
        ("group", ("create", "read", "write")),
        ("collection", ("create", "read", "write")),
        ("record", ("create", "read", "write")),
        ("account", ("create", "read", "write")),
        ("permissions", ("read",)),
        ("history", ("read", "write")),
        ("user-data", ("delete",)),
    )
    for permission in permissions
}
"""Names of the settings that grant a permission everywhere, and what they grant."""

ENDPOINT = re.compile(
    r"(plural|object)_(bucket|collection|group|record|permissions|user_data)"
    r"_(get|head|post|put|patch|delete|options)_enabled"
)
"""Switches of endpoints: plural or object, resource, method."""

CACHE_EXPIRES = re.compile(r"(.+[._])?(bucket|collection|group|record)_cache_expires_seconds")

_BACKEND = (
    "backend|url|hosts|prefix|max_size_bytes|pool_size|max_overflow|pool_recycle|pool_timeout"
    "|max_backlog|poolclass|echo|strict_json"
)
_IGNORED = re.compile(
    rf"(cache|permission)_({_BACKEND})|storage_(?!backend|max_fetch)({_BACKEND})"
    r"|(sentry|statsd|newrelic|prometheus|profiler|account|history|event_listeners|attachment"
    r"|signer|changes|emailer|megaphone|slack|fxa|mail|mailer)_.+"
    r"|multiauth_(policy_.+|groupfinder|authorization_policy)"
    r"|metrics_matchdict_fields|transaction_per_request|tm_annotate_user|json_renderer"
    r"|initialization_sequence|http_api_version|settings_prefix|admin_assets_path"
    r"|logging_renderer|oidc_.+"
)
_ORCHESTRATION = re.compile(
    r"(.+_)?service_(host|port)(_.+)?|(.+_)?port_\d+_(tcp|udp)(_(proto|port|addr))?"
)


def normalise(name: str) -> str:
    """The spelling in which names are compared."""
    return re.sub(r"[.-]", "_", name).lower()


def is_ignored(name: str) -> bool:
    """Whether it is a setting of Kinto, or of a plugin of it, that means nothing here.

    Args:
        name: normalised.
    """
    return _IGNORED.fullmatch(name) is not None


def is_of_orchestration(name: str, text: str) -> bool:
    """Whether Kubernetes or Docker set the variable, for a service that is named kinto.

    Args:
        name: normalised, without ``kinto_``.
        text: the variable's value.
    """
    return _ORCHESTRATION.fullmatch(name) is not None or (
        name == "port" and text.startswith(("tcp://", "udp://"))
    )


def suggestion(word: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` for the nearest of ``known``; empty if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f" (did you mean {near[0]}?)" if near else ""


def find_feature(word: str) -> str:
    """The built-in feature that ``includes`` names, with or without Kinto's prefix.

    Raises:
        ValueError: If there is none; its text is a sentence.
    """
    name = word.removeprefix("kinto.plugins.")
    name = _ALIASES.get(name, name)
    if name in FEATURES:
        return name
    raise ValueError(
        f"{word} in includes cannot be offered: remove it, or name one of {', '.join(FEATURES)}"
        f"{suggestion(name, FEATURES)}."
    )


def find_policy(name: str, use: str | None) -> str:
    """The built-in policy behind a name of ``multiauth.policies``.

    Args:
        name: the policy's name; it prefixes the ids of users.
        use: text of ``multiauth.policy.NAME.use``; None if not given.

    Raises:
        ValueError: If there is none; its text is a sentence.
    """
    found = POLICIES.get(use, use) if use else DEFAULT_USES.get(name)
    if found is not None and found in POLICIES.values():
        return found
    known = ", ".join(POLICIES.values())
    asked = f"{name} ({use})" if use else name
    raise ValueError(
        f"The policy {asked} in multiauth.policies cannot be offered: use one of {known}"
        f"{suggestion(name, POLICIES.values())}."
    )
