import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from server.auth.api_keys import (
    VERDICT_SECONDS,
    ApiKeyAuthenticator,
    KeySecret,
    accounts_position,
    key_uri,
    make_key,
    parse_key,
    parse_secret,
    was_deleted,
)
from server.core.commands import Change, Command, Create, Remove, Target
from server.core.contents import Content
from server.core.json_text import dump_json
from server.core.patches import parse_patch
from server.core.paths import object_path
from server.core.permissions import AUTHENTICATED, EVERYONE, Rules, Scope, make_actor
from server.storage.memory import MemoryStorage

pytestmark = pytest.mark.gen_test

RULES = Rules(
    {
        "api_key:create": frozenset({AUTHENTICATED}),
        "account:create": frozenset({EVERYONE}),
    }
)
POLICIES = {"account": "accounts", "basicauth": "basicauth"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """Keys in memory, of users that are named by their whole ids."""

    def __init__(self) -> None:
        self.storage = MemoryStorage(RULES)
        self.clock = Clock()
        self.policy = ApiKeyAuthenticator(self.storage, POLICIES, self.clock)

    async def commit(self, part: Any) -> Any:
        (verdict,) = await self.storage.commit(Command((part,)))
        assert not isinstance(verdict, Exception), verdict
        return verdict

    async def make(self, uri: str, owner: str, fields: dict[str, Any], secret: str = "") -> None:
        path = object_path(uri)
        content = Content(fields, dump_json(fields), permissions={"write": (owner,)}, secret=secret)
        await self.commit(Create(Target(make_actor(owner), path), content))

    async def sign_up(self, name: str) -> None:
        await self.make(f"/accounts/{name}", f"account:{name}", {}, "hash")

    async def remove(self, uri: str, owner: str) -> None:
        await self.commit(Remove(Target(make_actor(owner), object_path(uri))))

    async def key(self, owner: str, key_id: str = "k", **fields: Any) -> str:
        """A key with everything that is needed to make one: its header."""
        key, digest = make_key(key_id)
        async with self.storage.snapshot() as snapshot:
            since = await accounts_position(snapshot)
        said = {"scopes": [{"uri": "/buckets/b", "access": "read"}], **fields}
        await self.make(key_uri(key_id), owner, said, KeySecret(digest, since).spell())
        return f"Bearer {key}"

    async def user(self, authorization: str) -> str | None:
        actor = await self.policy.authenticate(authorization)
        return actor.user_id if actor else None


async def test_key_makes_of_its_bearer_the_owner_within_the_scopes() -> None:
    at = Scene()
    key = await at.key("basicauth:a", expires=5_000_000)
    actor = await at.policy.authenticate(key)
    assert actor is not None
    assert actor.user_id == "basicauth:a"
    assert actor.principals == make_actor("basicauth:a").principals
    assert actor.scopes == (Scope("/buckets/b", writes=False),)
    assert (actor.expires, actor.source) == (5000, "/api-keys/k")
    assert actor.as_of > 0


async def test_key_expires_also_while_it_is_remembered() -> None:
    at = Scene()
    key = await at.key("basicauth:a", expires=1_010_000)
    assert await at.user(key) == "basicauth:a"
    at.clock.now = 1010
    assert await at.user(key) is None


async def test_two_keys_are_never_the_same_and_one_secret_is_never_spelled_the_same() -> None:
    assert len({make_key("k")[0] for _ in range(100)}) == 100
    secret = KeySecret("d", 7)
    assert secret.spell() != secret.spell()
    assert parse_secret(secret.spell()) == secret


@pytest.mark.parametrize("text", ["", "d", "d:x:1", ":7:1"])
async def test_secret_of_something_else_is_none(text: str) -> None:
    assert parse_secret(text) is None


@pytest.mark.parametrize(
    ("token", "found"),
    [
        ("kin_a_b", ("a", "b")),
        ("kin_a_b_c", ("a_b", "c")),
        ("kin_a", None),
        ("kin_a_", None),
        ("kin__b", None),
        ("a_b", None),
        ("kin_a_\xe9", None),
        ("", None),
    ],
)
async def test_key_is_cut_into_id_and_secret(token: str, found: tuple[str, str] | None) -> None:
    assert parse_key(token) == found


async def test_key_of_a_policy_that_is_no_more_is_nobodys() -> None:
    at = Scene()
    assert await at.user(await at.key("gone:a")) is None


async def test_key_of_an_account_is_good_only_while_that_very_account_is_there() -> None:
    at = Scene()
    await at.sign_up("a")
    key = await at.key("account:a")
    assert await at.user(key) == "account:a"
    await at.remove("/accounts/a", "account:a")
    at.policy.lose()
    assert await at.user(key) is None
    await at.sign_up("a")
    assert await at.user(key) is None
    assert await at.user(await at.key("account:a", "new")) == "account:a"
    assert await at.user(await at.key("account:never", "other")) is None


async def test_deletion_is_found_however_many_entries_the_log_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.auth.api_keys._LOG_PAGE", 2)
    at = Scene()
    await at.sign_up("a")
    target = Target(make_actor("account:a"), object_path("/accounts/a"))
    for number in range(4):
        patch = parse_patch("application/json", {"data": {"n": number}}, ())
        await at.commit(Change(target, patch))
    async with at.storage.snapshot() as snapshot:
        assert not await was_deleted(snapshot, "/accounts/a", 0)
    await at.remove("/accounts/a", "account:a")
    async with at.storage.snapshot() as snapshot:
        assert await was_deleted(snapshot, "/accounts/a", 0)
        assert not await was_deleted(snapshot, "/accounts/b", 0)


class CountingStorage(MemoryStorage):
    """Counts its readers, and keeps them waiting while it is told to."""

    def __init__(self) -> None:
        super().__init__(RULES)
        self.reads = 0
        self.open = asyncio.Event()
        self.open.set()

    @asynccontextmanager
    async def snapshot(self) -> Any:
        self.reads += 1
        async with super().snapshot() as snapshot:
            yield snapshot
            await self.open.wait()


async def counting_scene() -> tuple[Scene, CountingStorage, str]:
    at, storage = Scene(), CountingStorage()
    at.storage = storage
    at.policy = ApiKeyAuthenticator(storage, POLICIES, at.clock)
    key = await at.key("basicauth:a")
    storage.reads = 0
    return at, storage, key


async def test_key_is_read_once_for_many_requests_and_again_after_a_while() -> None:
    at, storage, key = await counting_scene()
    await asyncio.gather(*(at.user(key) for _ in range(5)))
    await at.user(key)
    assert storage.reads == 1
    at.clock.now += VERDICT_SECONDS
    await at.user(key)
    assert storage.reads == 2


async def test_key_that_the_log_tells_of_is_read_again() -> None:
    at, storage, key = await counting_scene()
    await at.user(key)
    feed = await storage.feed()
    await at.remove("/api-keys/k", "basicauth:a")
    (change,) = await feed.read()
    at.policy.tell(replace(change.revision, uri="/buckets/b", action="update"))
    at.policy.tell(replace(change.revision, uri="/api-keys/other"))
    assert await at.user(key) == "basicauth:a"
    at.policy.tell(change.revision)
    assert await at.user(key) is None


async def test_deletion_of_an_account_makes_all_keys_be_read_again() -> None:
    at, storage, key = await counting_scene()
    await at.sign_up("a")
    await at.user(key)
    feed = await storage.feed()
    await at.remove("/accounts/a", "account:a")
    (change,) = await feed.read()
    reads = storage.reads
    at.policy.tell(change.revision)
    await at.user(key)
    assert storage.reads == reads + 1


async def test_what_was_read_before_a_revocation_is_not_remembered_after_it() -> None:
    at, storage, key = await counting_scene()
    storage.open.clear()
    early = asyncio.ensure_future(at.user(key))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert storage.reads == 1
    await at.remove("/api-keys/k", "basicauth:a")
    at.policy.forget("k")
    storage.open.set()
    assert await at.user(key) is None
    assert await early == "basicauth:a"
    assert await at.user(key) is None
