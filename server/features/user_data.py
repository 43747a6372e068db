"""``/__user_data__``: forget a user."""

from handlers.routes import Route
from handlers.user_data import METHODS, UserDataEndpoint
from server.features.base import Context, Feature


async def make(context: Context) -> Feature:
    """Always; where no setting says who may, nobody may."""
    settings = context.settings
    allowed = settings.principals.get("user-data:delete", frozenset())
    is_disabled = ("object", "user_data", "DELETE") in settings.disabled_endpoints
    endpoint = UserDataEndpoint(context.storage, allowed, is_disabled=is_disabled)
    about = {"DELETE": "Delete what is a user's alone, and their name from everything else"}
    route = Route("/__user_data__/{principal}", METHODS, endpoint.plan, about, "Operation")
    return Feature(routes=[route])
