"""``/__flush__``: remove everything."""

from handlers.flush import METHODS, FlushEndpoint
from handlers.routes import Route
from server.features.base import Context, Feature
from server.features.docs import kinto_docs


async def make(context: Context) -> Feature | None:
    """Where it is named among the features."""
    settings = context.settings
    if "flush" not in settings.includes:
        return None
    endpoint = FlushEndpoint(context.storage, settings.flush_principals)
    about = {"POST": "Remove everything"}
    return Feature(
        routes=[Route("/__flush__", METHODS, endpoint.plan, about, "Operation")],
        capabilities={
            "flush_endpoint": {
                "description": "Everything can be removed at once.",
                "url": kinto_docs("flush.html"),
            }
        },
    )
