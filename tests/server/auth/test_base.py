from server.auth.base import Authenticator
from server.auth.basic import BasicAuthenticator


def test_basic_auth_is_a_policy() -> None:
    policy: Authenticator = BasicAuthenticator("basicauth", "secret")
    assert (policy.name, policy.challenge) == ("basicauth", 'Basic realm="Realm"')
