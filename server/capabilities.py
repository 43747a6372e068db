"""What the hello view announces: one entry a feature that is switched on."""

from typing import Any

from server.config import Settings

_DOCS = "https://docs.kinto-storage.org/en/stable/api/1.x/"

_TEXTS = {
    "basicauth": (
        "Users are told apart by the name and password they send.",
        _DOCS + "authentication.html",
    ),
    "default_bucket": (
        "Every user has a bucket of their own, called default, made at its first use.",
        _DOCS + "buckets.html#personal-bucket-default",
    ),
    "flush_endpoint": ("Everything can be removed at once.", _DOCS + "flush.html"),
    "permissions_endpoint": (
        "Lists all that a user has a permission on.",
        _DOCS + "permissions.html#list-every-permissions",
    ),
}


def describe(settings: Settings) -> dict[str, dict[str, Any]]:
    """The capabilities by name, each with its description and url."""
    names = []
    if "basicauth" in settings.policies.values():
        names.append("basicauth")
    if "default_bucket" in settings.includes:
        names.append("default_bucket")
    if "flush" in settings.includes:
        names.append("flush_endpoint")
    if settings.experimental_permissions_endpoint:
        names.append("permissions_endpoint")
    return {name: {"description": _TEXTS[name][0], "url": _TEXTS[name][1]} for name in names}
