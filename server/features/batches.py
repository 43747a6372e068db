"""Batches that are done as a whole or not at all."""

from server.features.base import Context, Feature
from server.features.docs import our_docs


async def make(context: Context) -> Feature:
    """Always: it tells clients that they may ask for one."""
    return Feature(
        capabilities={
            "atomic_batches": {
                "description": "A batch is done as a whole or not at all, if it says atomic.",
                "url": our_docs("reference/api.html#atomic-batches"),
            }
        }
    )
