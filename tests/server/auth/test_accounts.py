import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest

from server.auth.accounts import (
    ACCOUNTS,
    Accounts,
    AccountsAuthenticator,
    Verdict,
    Verdicts,
    account_uri,
    parse_login,
)
from server.auth.passwords import Passwords, hash_password
from server.core.commands import Command, Part, Remove, Replace, Target
from server.core.contents import Content
from server.core.errors import InvalidAuth
from server.core.json_text import dump_json
from server.core.paths import object_path
from server.core.permissions import AUTHENTICATED, EVERYONE, Actor, Rules, make_actor
from server.storage.memory import MemoryStorage

pytestmark = pytest.mark.gen_test

ADMIN = make_actor("account:admin")
RULES = Rules(dict.fromkeys(("account:create", "account:write"), frozenset([ADMIN.user_id])))
URI = account_uri("alice")


class CountedPasswords(Passwords):
    """Counts what is checked.

    Attributes:
        checked: how often.
        gate: what a check waits for, if anything.
    """

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.checked = 0
        self.gate: asyncio.Event | None = None

    async def matches(self, password: str, hashed: str) -> bool:
        self.checked += 1
        if self.gate is not None:
            await self.gate.wait()
        return await super().matches(password, hashed)


class World:
    """Accounts in memory, and who checks them."""

    def __init__(self, seconds: float = 3600, *, only_validated: bool = False) -> None:
        self.storage = MemoryStorage(RULES)
        self.passwords = CountedPasswords()
        self.accounts = Accounts(
            self.storage, self.passwords, seconds, only_validated=only_validated
        )

    async def put(self, password: str, data: Mapping[str, Any] | None = None) -> None:
        fields = dict(data or {})
        secret = hash_password(password, 4)
        content = Content(fields, dump_json(fields), secret=secret)
        await self._do(Replace(Target(ADMIN, object_path(URI)), content))

    async def remove(self) -> None:
        await self._do(Remove(Target(ADMIN, object_path(URI))))

    async def _do(self, part: Part) -> None:
        (verdict,) = await self.storage.commit(Command((part,)))
        assert not isinstance(verdict, Exception), verdict

    async def knows(self, password: str) -> bool:
        return await self.accounts.check("alice", password) is not None


async def test_right_password_is_right_and_others_are_not() -> None:
    world = World()
    await world.put("pw")
    assert await world.knows("pw")
    assert not await world.knows("PW")
    assert not await world.knows("")
    assert await world.accounts.check("bob", "pw") is None


async def test_verdict_is_the_position_of_the_account() -> None:
    world = World()
    await world.put("pw")
    async with world.storage.snapshot() as snapshot:
        stored = (await snapshot.objects([URI]))[URI]
    assert await world.accounts.check("alice", "pw") == stored.position


async def test_second_login_costs_no_hash_whether_it_is_right_or_wrong() -> None:
    world = World()
    await world.put("pw")
    for _ in range(3):
        assert await world.knows("pw")
        assert not await world.knows("no")
    assert world.passwords.checked == 2


async def test_after_its_time_an_account_is_read_again_and_an_unchanged_hash_is_not_checked() -> (
    None
):
    world = World(seconds=0)
    await world.put("pw")
    assert await world.knows("pw")
    await world.put("new", {"n": 1})
    # Nobody was told: only the time that has passed lets it see.
    assert not await world.knows("pw")
    assert await world.knows("new")
    assert world.passwords.checked == 3
    assert await world.knows("new")
    assert world.passwords.checked == 3


async def test_account_that_changes_is_forgotten_at_once() -> None:
    world = World()
    await world.put("pw")
    assert await world.knows("pw")
    await world.put("new")
    assert await world.knows("pw"), "nobody was told yet"
    world.accounts.tell(world.storage.revisions[-1])
    assert not await world.knows("pw")
    assert await world.knows("new")
    await world.remove()
    world.accounts.tell(world.storage.revisions[-1])
    assert not await world.knows("new")


async def test_wrong_password_that_becomes_right_is_right() -> None:
    world = World()
    assert not await world.knows("pw")
    await world.put("pw")
    world.accounts.forget(URI)
    assert await world.knows("pw")


async def test_lost_changes_make_it_forget_all() -> None:
    world = World()
    await world.put("pw")
    assert await world.knows("pw")
    await world.put("new")
    world.accounts.lose()
    assert not await world.knows("pw")


async def test_of_many_who_say_the_same_at_once_one_is_checked() -> None:
    world = World()
    await world.put("pw")
    assert all(await asyncio.gather(*(world.knows("pw") for _ in range(50))))
    assert not any(await asyncio.gather(*(world.knows("no") for _ in range(50))))
    assert world.passwords.checked == 2


async def test_who_leaves_does_not_take_the_check_from_the_others() -> None:
    world = World()
    await world.put("pw")
    world.passwords.gate = asyncio.Event()
    first, second = (asyncio.ensure_future(world.knows("pw")) for _ in range(2))
    while not world.passwords.checked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    first.cancel()
    world.passwords.gate.set()
    assert await second
    assert world.passwords.checked == 1


@pytest.mark.parametrize("everything", [True, False])
async def test_check_that_a_change_overtakes_does_not_count_afterwards(everything: bool) -> None:
    world = World()
    await world.put("pw")
    world.passwords.gate = asyncio.Event()
    early = asyncio.ensure_future(world.knows("pw"))
    while not world.passwords.checked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await world.put("new")
    if everything:
        world.accounts.lose()
    else:
        world.accounts.forget(URI)
    late = asyncio.ensure_future(world.knows("pw"))
    world.passwords.gate.set()
    # It was right when it was asked for; but nobody may live on it.
    assert await early
    assert not await late
    assert not await world.knows("pw")


async def test_failed_check_is_told_to_all_who_wait_and_not_remembered() -> None:
    world = World()
    await world.put("pw")

    async def fail(password: str, hashed: str) -> bool:
        raise ConnectionError

    world.passwords.matches = fail  # type: ignore[method-assign]
    results = await asyncio.gather(*(world.knows("pw") for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in results] == [ConnectionError] * 2
    del world.passwords.matches
    assert await world.knows("pw")


async def test_account_with_an_address_that_is_not_confirmed_is_as_none() -> None:
    world = World(only_validated=True)
    await world.put("pw", {"validated": False})
    assert not await world.knows("pw")
    await world.put("pw", {"validated": True})
    world.accounts.forget(URI)
    assert await world.knows("pw")
    # One from the time before.
    await world.put("pw", {})
    world.accounts.forget(URI)
    assert await world.knows("pw")
    lenient = Accounts(world.storage, world.passwords, 1, only_validated=False)
    await world.put("pw", {"validated": False})
    assert await lenient.check("alice", "pw") is not None


async def test_what_is_remembered_tells_no_password() -> None:
    world = World()
    await world.put("correct horse")
    assert await world.knows("correct horse")
    assert not await world.knows("wrong horse")
    remembered = [vars(one) for one in (world.accounts._right, world.accounts._wrong)]
    assert URI in repr(remembered)
    assert "horse" not in repr(remembered)


def verdict(*, right: bool = True) -> Verdict:
    return Verdict(right, "", 0, 0)


async def test_verdicts_are_bounded_and_the_oldest_goes_first() -> None:
    verdicts = Verdicts(2)
    a, b, c = ("/accounts/a", b"1"), ("/accounts/a", b"2"), ("/accounts/c", b"3")
    verdicts.put(a, verdict())
    verdicts.put(b, verdict())
    assert verdicts.get(a)
    verdicts.put(c, verdict())
    assert verdicts.get(b) is None
    assert verdicts.get(a)
    assert verdicts.get(c)
    verdicts.forget("/accounts/a")
    verdicts.forget("/accounts/a")
    assert len(verdicts) == 1
    verdicts.drop(c)
    verdicts.drop(c)
    assert len(verdicts) == 0
    assert verdicts._digests == {}


def header(credentials: bytes) -> str:
    return "Basic " + b64encode(credentials).decode()


async def test_user_of_an_account_is_told_with_where_they_come_from() -> None:
    world = World()
    await world.put("p:w")
    policy = AccountsAuthenticator("people", world.accounts)
    actor = await policy.authenticate(header(b"alice:p:w"))
    assert actor == Actor(
        "people:alice", frozenset(["people:alice", AUTHENTICATED, EVERYONE]), source=URI
    )
    assert actor.as_of > 0
    assert await policy.authenticate(header(b"alice:no")) is None
    assert await policy.authenticate("Bearer x") is None
    with pytest.raises(InvalidAuth):
        await policy.authenticate("Basic !")


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (b"alice:x", ("alice", "x")),
        (b"a.b+c@d-e_f:", ("a.b+c@d-e_f", "")),
        ("alice:é".encode(), ("alice", "é")),
        ("alice:é".encode("latin-1"), ("alice", "é")),
        (b"a/b:x", None),
        ("é:x".encode(), None),
        (b"@x:x", None),
        (b"a" * 1025 + b":x", None),
        (b"alice\n:x", None),
    ],
)
async def test_login_names_what_could_be_an_account(credentials: bytes, expected: Any) -> None:
    assert parse_login(header(credentials)) == expected
    assert ACCOUNTS == "/accounts"
