import hashlib
import hmac
import uuid

import pytest

from server.core.commands import Ensure
from server.core.errors import MissingAuth
from server.core.paths import object_path, parse_path
from server.core.permissions import ANONYMOUS, make_actor
from server.service.default_bucket import DefaultBuckets, is_alias, what_to_make

ALICE = make_actor("basicauth:alice")
BOB = make_actor("basicauth:bob")


def test_bucket_of_a_user_is_named_as_kinto_names_it() -> None:
    digest = hmac.new(b"secret", b"basicauth:alice", hashlib.sha256).hexdigest()
    assert DefaultBuckets("secret").bucket_of(ALICE) == str(uuid.UUID(digest[:32]))


def test_each_user_and_each_secret_has_another_bucket() -> None:
    names = {DefaultBuckets(s).bucket_of(one) for s in ("", "s") for one in (ALICE, BOB)}
    assert len(names) == 4


@pytest.mark.parametrize(
    ("path", "alias"),
    [
        ("/buckets/default", True),
        ("/buckets/default/collections", True),
        ("/buckets/default2", False),
        ("/buckets", False),
        ("/buckets/b/collections/default", False),
    ],
)
def test_alias_is_the_bucket_and_all_in_it(path: str, alias: bool) -> None:
    assert is_alias(path) is alias


def test_alias_is_resolved_for_its_user_only() -> None:
    buckets = DefaultBuckets("")
    own = f"/buckets/{buckets.bucket_of(ALICE)}"
    assert buckets.resolve("/buckets/default", ALICE) == own
    assert buckets.resolve("/buckets/default/groups/g", ALICE) == f"{own}/groups/g"
    with pytest.raises(MissingAuth):
        buckets.resolve("/buckets/default", ANONYMOUS)


@pytest.mark.parametrize(
    ("path", "read", "written"),
    [
        ("/buckets/b", "/buckets/b", "/buckets/b"),
        ("/buckets/b/collections", "/buckets/b", "/buckets/b"),
        ("/buckets/b/collections/c", "/buckets/b/collections/c", "/buckets/b"),
        ("/buckets/b/groups/g", "/buckets/b", "/buckets/b"),
        (
            "/buckets/b/collections/c/records",
            "/buckets/b/collections/c",
            "/buckets/b/collections/c",
        ),
        (
            "/buckets/b/collections/c/records/r",
            "/buckets/b/collections/c",
            "/buckets/b/collections/c",
        ),
    ],
)
def test_parents_are_taken_for_granted_and_what_is_read_but_not_what_is_written(
    path: str, read: str, written: str
) -> None:
    found = parse_path(path)
    assert what_to_make(ALICE, found, writes=False) == Ensure(ALICE, object_path(read))
    assert what_to_make(ALICE, found, writes=True) == Ensure(ALICE, object_path(written))


@pytest.mark.parametrize("path", ["/buckets/b/collections/bad id", "/buckets/b/groups/-"])
def test_nothing_is_made_for_what_cannot_exist(path: str) -> None:
    assert what_to_make(ALICE, parse_path(path), writes=False) is None
