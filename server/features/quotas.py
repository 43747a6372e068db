"""Quotas: how much may be stored. What they refuse, the ledger decides (``core.quotas``)."""

from server.core.quotas import Quotas
from server.features.base import Context, Feature
from server.features.docs import our_docs
from server.settings_quotas import QuotaSettings


async def make(context: Context) -> Feature | None:
    """Where it is named among the features."""
    if "quotas" not in context.settings.includes:
        return None
    return Feature(
        capabilities={
            "quotas": {
                "description": "Quotas Management on buckets and collections.",
                "url": our_docs("how-to/quotas.html"),
            }
        }
    )


def make_quotas(settings: QuotaSettings) -> Quotas:
    """What the settings say."""
    return Quotas(settings.limits("bucket"), settings.limits("collection"))
