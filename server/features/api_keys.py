"""``/api-keys``: bearer credentials that users make for their programs."""

from handlers.api_keys import ApiKeyRequests
from server.auth.api_keys import ApiKeyAuthenticator
from server.features.base import Context, Feature
from server.features.docs import our_docs
from server.service.orphan_keys import OrphanKeys


async def make(context: Context) -> Feature | None:
    """Where it is named among the features."""
    if "api_keys" not in context.settings.includes:
        return None
    policies = context.settings.policies
    keys = ApiKeyAuthenticator(context.storage, policies)
    accounts = [name for name, kind in policies.items() if kind == "accounts"]
    orphans = OrphanKeys(context.storage, accounts)
    requests = ApiKeyRequests(context.storage, keys, context.defaults)
    return Feature(
        kinds={"api_key": requests.prepare},
        policies={keys.name: keys},
        capabilities={
            "api_keys": {
                "description": "Users can make bearer keys for programs, and limit them.",
                "url": our_docs("how-to/api-keys.html"),
            }
        },
        watchers=[keys, orphans],
        tasks=[orphans.run],
    )
