"""All features, in the order in which they are made."""

from server.features import (
    accounts,
    api_keys,
    attachments,
    basics,
    batches,
    counters,
    discovery,
    flush,
    history,
    metrics,
    openapi,
    openid,
    quotas,
    revisions,
    schemas,
    shares,
    user_data,
    webhooks,
)
from server.features.base import Context, Feature, MakeFeature

_FEATURES: tuple[MakeFeature, ...] = (
    basics.make,
    attachments.make,
    batches.make,
    schemas.make,
    quotas.make,
    accounts.make,
    api_keys.make,
    openid.make,
    discovery.make,
    flush.make,
    shares.make,
    revisions.make,
    history.make,
    counters.make,
    metrics.make,
    user_data.make,
    openapi.make,
    webhooks.make,
)


async def make_features(context: Context) -> list[Feature]:
    """Those that are switched on."""
    made = [await make(context) for make in _FEATURES]
    return [feature for feature in made if feature is not None]
