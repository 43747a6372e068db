"""All features, in the order in which they are made."""

from server.features import basics, flush, shares
from server.features.base import Context, Feature, MakeFeature

_FEATURES: tuple[MakeFeature, ...] = (basics.make, flush.make, shares.make)


async def make_features(context: Context) -> list[Feature]:
    """Those that are switched on."""
    made = [await make(context) for make in _FEATURES]
    return [feature for feature in made if feature is not None]
