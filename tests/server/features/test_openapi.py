import pytest

from server.features import openapi
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_descriptions_are_always_offered_and_to_everybody() -> None:
    feature = await openapi.make(make_context())
    assert [route.template for route in feature.routes] == [
        "/__api__",
        "/__asyncapi__",
        "/docs",
        "/docs/{file}",
    ]
    assert all(route.is_open for route in feature.routes)


async def test_ways_to_sign_in_are_told_by_name() -> None:
    given = {
        "includes": "openid api_keys accounts",
        "multiauth__policies": "account google",
        "multiauth__policy__google__use": "kinto.plugins.openid.OpenIDConnectPolicy",
        "multiauth__policy__google__issuer": "https://issuer.example",
        "multiauth__policy__google__client_id": "id",
        "multiauth__policy__google__header_type": "Token",
    }
    found = openapi.security_of(make_context(**given).settings)
    assert {name: one["scheme"] for name, one in found.items()} == {
        "account": "basic",
        "google": "token",
        "api_key": "bearer",
    }
