"""``/permissions``: everything that somebody has a permission on."""

from handlers.hello import READ_METHODS
from handlers.routes import Route
from handlers.shares import PermissionsEndpoint
from server.features.base import Context, Feature
from server.features.docs import kinto_docs


async def make(context: Context) -> Feature | None:
    """Where the setting is on."""
    if not context.settings.experimental_permissions_endpoint:
        return None
    endpoint = PermissionsEndpoint(context.lists.options)
    about = {"GET": "List everything that you have a permission on", "HEAD": "Count it"}
    return Feature(
        routes=[Route("/permissions", READ_METHODS, endpoint.plan, about, "Permissions")],
        capabilities={
            "permissions_endpoint": {
                "description": "Lists all that a user has a permission on.",
                "url": kinto_docs("permissions.html#list-every-permissions"),
            }
        },
    )
