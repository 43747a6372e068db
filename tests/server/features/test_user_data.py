import pytest

from handlers.messages import ApiRequest
from handlers.routes import Place
from server.core.errors import Forbidden, MethodNotAllowed
from server.core.permissions import make_actor
from server.features import user_data
from server.features.base import Feature
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


def plan(feature: Feature) -> object:
    (route,) = feature.routes
    place = Place({"principal": "account:bob"})
    actor = make_actor("account:alice")
    path = "/__user_data__/account:bob"
    return route.plan(ApiRequest("DELETE", path, [], {}, b"", actor, "", 0), place)


async def test_nobody_may_forget_users_unless_a_setting_says_who() -> None:
    with pytest.raises(Forbidden):
        plan(await user_data.make(make_context()))
    assert plan(await user_data.make(make_context(user_data_delete_principals="account:alice")))


async def test_endpoint_can_be_switched_off() -> None:
    given = {
        "user_data_delete_principals": "account:alice",
        "object_user_data_delete_enabled": "false",
    }
    with pytest.raises(MethodNotAllowed):
        plan(await user_data.make(make_context(**given)))
