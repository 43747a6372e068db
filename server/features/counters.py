"""``/__counters__``: how much is stored."""

from handlers.counters import CountersEndpoint
from handlers.hello import READ_METHODS
from handlers.routes import Route
from server.core.paths import KINDS
from server.features.base import Context, Feature
from server.features.docs import kinto_docs


async def make(context: Context) -> Feature | None:
    """Where it is named among the features."""
    if "counters" not in context.settings.includes:
        return None
    endpoint = CountersEndpoint(context.storage, ("account", *KINDS))
    about = {"GET": "Count the objects and tombstones of each kind"}
    return Feature(
        routes=[
            Route("/__counters__", READ_METHODS, endpoint.plan, about, "Operation", is_open=True)
        ],
        capabilities={
            "counters_endpoint": {
                "description": "How many objects of each kind are stored is told.",
                "url": kinto_docs("counters.html"),
            }
        },
    )
