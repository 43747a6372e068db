"""Checking objects by JSON Schema; what is refused, the ledger decides (``core.schemas``)."""

from handlers.routes import Route
from handlers.schemas import METHODS, SchemaCheckEndpoint
from server.features.base import Context, Feature
from server.features.docs import kinto_docs

_CHECK = "/buckets/{bucket_id}/collections/{collection_id}/schema:check"


async def make(context: Context) -> Feature | None:
    """Where the setting is on."""
    if not context.settings.experimental_collection_schema_validation:
        return None
    endpoint = SchemaCheckEndpoint(context.rules)
    about = {"POST": "Count the records that a schema would refuse"}
    return Feature(
        routes=[Route(_CHECK, METHODS, endpoint.plan, about, "Schemas")],
        capabilities={
            "schema": {
                "description": "Validates collection records with JSON schemas.",
                "url": kinto_docs("collections.html#collection-json-schema"),
            }
        },
    )
