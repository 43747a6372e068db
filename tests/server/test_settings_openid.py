import pytest

from server.settings_openid import OPTIONS, OpenIDOptions, parse_openid_options
from tests.processes import ROOT

NEEDED = {"sso.issuer": "https://idp", "sso.client_id": "me"}


def parse(**given: str) -> OpenIDOptions:
    more = {f"sso.{name}": text for name, text in given.items()}
    return parse_openid_options("sso", {**NEEDED, **more}, ["sso"])


def test_what_is_not_said_is_as_in_kinto() -> None:
    options = parse()
    assert options == OpenIDOptions("sso", "https://idp", "me")
    assert (options.userid_field, options.header_type) == ("sub", "Bearer")
    assert options.verification_ttl_seconds == 86400
    assert (options.state_ttl_seconds, options.state_length) == (3600, 32)


def test_names_from_the_environment_are_understood_and_those_of_other_policies_left() -> None:
    given = {
        "my_sso_issuer": "https://one",
        "my_sso_client_id": '"1"',
        "my_sso_two_issuer": "https://two",
        "my_sso_two_client_id": "2",
        "my_sso_two_trusted_callback_urls": "https://a/* https://b/*",
    }
    names = ["my-sso", "my-sso-two"]
    one, two = (parse_openid_options(name, given, names) for name in names)
    assert (one.issuer, one.client_id) == ("https://one", "1")
    assert (two.issuer, two.client_id) == ("https://two", "2")
    assert two.trusted_callback_urls == ("https://a/*", "https://b/*")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"issuer": ""}, "needs multiauth.policy.sso.issuer"),
        ({"client_id": " "}, "needs multiauth.policy.sso.client_id"),
        ({"issuer": "idp"}, "it must be an address"),
        ({"issuer": "ftp://idp"}, "it must be an address"),
        ({"audiance": "x"}, "did you mean audience?"),
        ({"state_length": "8"}, "from 16 to 256"),
        ({"verification_ttl_seconds": "0"}, "1 or more"),
        ({"header_type": "Bearer token"}, "one word"),
    ],
)
def test_option_that_is_missing_unknown_or_malformed_is_told(
    given: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=r"multiauth\.policy\.sso\.") as caught:
        parse(**given)
    assert words in str(caught.value)


def test_secret_is_not_shown() -> None:
    options = parse(client_secret="xyzzy")
    assert options.client_secret == "xyzzy"
    assert "xyzzy" not in repr(options)


@pytest.mark.parametrize("option", OPTIONS)
def test_option_is_documented(option: str) -> None:
    assert f"| `{option}` |" in (ROOT / "docs/how-to/openid.md").read_text()
