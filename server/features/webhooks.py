"""Webhooks that the server itself serves, where it has a database of its own."""

from server.config import StartupError
from server.features.base import Context, Feature
from server.webhooks.hooks import parse_hooks
from server.webhooks.workers import Worker


async def make(context: Context) -> Feature | None:
    """Where there are webhooks; what they are is checked in every server.

    Raises:
        StartupError: If one is not understood.
    """
    settings = context.settings.webhooks
    try:
        hooks = parse_hooks(settings.names, settings.options)
    except ValueError as error:
        raise StartupError(str(error)) from None
    if not hooks or not settings.in_server:
        return None
    return Feature(tasks=[Worker(context.storage, hooks).run])
