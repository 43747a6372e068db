from typing import Any

import pytest

from server.webhooks.hooks import Hook, is_private_name, is_public, parse_hooks
from tests.server.storage.scenes import make_revision

GIVEN = {"audit.url": "https://a.example/hook", "audit.secret": "s"}


def test_webhook_has_what_its_options_say_and_defaults() -> None:
    assert parse_hooks(["audit"], GIVEN) == [Hook("audit", "https://a.example/hook", "s")]
    more = {
        **GIVEN,
        "audit.use": "webhook",
        "audit.actions": "create delete",
        "audit.resources": "record /buckets/blog",
        "audit.timeout_seconds": "2.5",
        "audit.allow_private": "true",
    }
    (hook,) = parse_hooks(["audit"], more)
    assert hook.actions == {"create", "delete"}
    assert hook.resources == {"record", "/buckets/blog"}
    assert (hook.timeout_seconds, hook.allows_private) == (2.5, True)


def test_options_from_the_environment_are_found_by_their_spelling() -> None:
    given = {"my_audit_url": "https://a.example/", "my_audit_secret": "s"}
    assert [one.name for one in parse_hooks(["my-audit"], given)] == ["my-audit"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"audit.url": ""}, "audit.url is missing"),
        ({"audit.secret": ""}, "audit.secret is missing"),
        ({"audit.url": "ftp://a.example/"}, "must be an address"),
        ({"audit.url": "nonsense"}, "must be an address"),
        ({"audit.url": "https://u:p@a.example/"}, "user or password"),
        ({"audit.url": "http://127.0.0.1/"}, "allow_private"),
        ({"audit.url": "http://localhost:8080/"}, "allow_private"),
        ({"audit.url": "http://[::1]/"}, "allow_private"),
        ({"audit.url": "http://10.1.2.3/"}, "allow_private"),
        ({"audit.use": "kinto.listeners.redis"}, "cannot be offered"),
        ({"audit.actions": "read"}, "some of create, update, delete"),
        ({"audit.resources": "records"}, "name some of bucket"),
        ({"audit.timeout_seconds": "0"}, "above 0"),
        ({"audit.secrets": "x"}, "did you mean secret?"),
        ({"other.url": "x"}, "of no webhook"),
    ],
)
def test_what_is_not_understood_is_one_sentence(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        parse_hooks(["audit"], {**GIVEN, **options})


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_address_is_public_or_not(address: str, *, public: bool) -> None:
    assert is_public(address) is public


def test_name_of_this_machine_is_private_and_others_have_to_be_looked_up() -> None:
    assert is_private_name("LOCALHOST.")
    assert is_private_name("a.localhost")
    assert is_private_name("::1")
    assert not is_private_name("a.example")
    assert not is_private_name("93.184.216.34")


@pytest.mark.parametrize(
    ("options", "changed", "wanted"),
    [
        ({}, {}, True),
        ({"actions": frozenset(["create"])}, {}, False),
        ({"resources": frozenset(["group"])}, {}, True),
        ({"resources": frozenset(["record"])}, {}, False),
        ({"resources": frozenset(["/buckets/b"])}, {}, True),
        ({"resources": frozenset(["/buckets/b/groups/g"])}, {}, True),
        ({"resources": frozenset(["/buckets/b/groups/gg"])}, {}, False),
        ({"resources": frozenset(["/buckets/bb"])}, {}, False),
        ({}, {"uri": "/accounts/alice", "list": "/accounts", "bucket": "/"}, False),
    ],
)
def test_webhook_wants_what_its_options_say(
    options: dict[str, Any], changed: dict[str, Any], *, wanted: bool
) -> None:
    hook = Hook("audit", "https://a.example/", "s", **options)
    assert hook.wants(make_revision(**changed)) is wanted
