import time
from contextlib import AbstractAsyncContextManager

import pytest

from notifier import credentials as module
from notifier.credentials import Credentials
from server.core.commands import Command, Part, Remove, Replace, Target
from server.core.contents import Content
from server.core.errors import Unavailable
from server.core.objects import StoredObject
from server.core.paths import object_path
from server.core.permissions import ANONYMOUS, Actor, Rules, make_actor
from server.core.revisions import Revision
from server.storage.base import Snapshot
from server.storage.memory import MemoryStorage
from tests.conftest import ExpectedLogs

pytestmark = pytest.mark.gen_test

ADMIN = make_actor("account:admin")
RULES = Rules(dict.fromkeys(("account:create", "account:write"), frozenset([ADMIN.user_id])))
ALICE, BOB = "/accounts/alice", "/accounts/bob"


class Guest:
    """Somebody who was let in.

    Attributes:
        actor: who they are.
        expelled: how often they were let out.
    """

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.expelled = 0

    def expel(self) -> None:
        self.expelled += 1


class World(MemoryStorage):
    """Accounts in memory, and who was let in by them.

    Attributes:
        guests: who was let in.
        credentials: theirs.
        fails: whether the storage cannot be read.
    """

    def __init__(self) -> None:
        super().__init__(RULES)
        self.guests: list[Guest] = []
        self.credentials = Credentials(lambda: self.guests)
        self.fails = False

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:  # type: ignore[override]
        if self.fails:
            raise Unavailable("gone", 3)
        return super().snapshot()

    async def put(self, uri: str, secret: str | None) -> Revision:
        return await self._do(Replace(Target(ADMIN, object_path(uri)), Content(secret=secret)))

    async def remove(self, uri: str) -> Revision:
        return await self._do(Remove(Target(ADMIN, object_path(uri))))

    async def _do(self, part: Part) -> Revision:
        (verdict,) = await self.commit(Command((part,)))
        assert not isinstance(verdict, Exception), verdict
        return self.revisions[-1]

    async def account(self, uri: str) -> StoredObject:
        async with self.snapshot() as snapshot:
            return (await snapshot.objects([uri]))[uri]

    async def let_in(self, uri: str, *, expires: float | None = None) -> Guest:
        position = (await self.account(uri)).position
        name = uri.rpartition("/")[2]
        actor = Actor(f"account:{name}", frozenset(), None, expires, uri, position)
        self.guests.append(Guest(actor))
        return self.guests[-1]


@pytest.fixture
def world() -> World:
    return World()


async def test_new_password_lets_out_who_used_the_old_one(world: World) -> None:
    await world.put(ALICE, "old")
    await world.put(BOB, "other")
    alice, bob = await world.let_in(ALICE), await world.let_in(BOB)
    world.credentials.tell(await world.put(ALICE, "new"))
    assert (alice.expelled, bob.expelled) == (1, 0)


async def test_change_of_something_else_lets_nobody_out(world: World) -> None:
    await world.put(ALICE, "old")
    alice = await world.let_in(ALICE)
    world.credentials.tell(await world.put(ALICE, None))
    world.credentials.tell(await world.put(BOB, "new"))
    assert alice.expelled == 0
    assert not world.credentials.are_over(alice.actor)


async def test_deleted_account_lets_its_user_out(world: World) -> None:
    await world.put(ALICE, "old")
    alice = await world.let_in(ALICE)
    world.credentials.tell(await world.remove(ALICE))
    assert alice.expelled == 1


async def test_who_used_the_new_password_before_the_news_came_stays(world: World) -> None:
    await world.put(ALICE, "old")
    change = await world.put(ALICE, "new")
    alice = await world.let_in(ALICE)
    world.credentials.tell(change)
    assert alice.expelled == 0


async def test_who_was_known_before_a_change_and_comes_after_it_is_over(world: World) -> None:
    await world.put(ALICE, "old")
    alice = (await world.let_in(ALICE)).actor
    world.guests.clear()
    assert not world.credentials.are_over(alice)
    world.credentials.tell(await world.put(ALICE, "new"))
    assert world.credentials.are_over(alice)
    assert not world.credentials.are_over((await world.let_in(ALICE)).actor)


async def test_only_the_latest_changes_are_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CHANGES", 1)
    actors = {}
    for uri in (ALICE, BOB):
        await world.put(uri, "old")
        actors[uri] = (await world.let_in(uri)).actor
        world.credentials.tell(await world.put(uri, "new"))
    assert not world.credentials.are_over(actors[ALICE])
    assert world.credentials.are_over(actors[BOB])


async def test_time_lets_out_whose_is_up(world: World) -> None:
    await world.put(ALICE, "x")
    past = await world.let_in(ALICE, expires=time.time() - 1)
    future = await world.let_in(ALICE, expires=time.time() + 60)
    nobody = Guest(ANONYMOUS)
    world.guests.append(nobody)
    world.credentials.tick()
    assert (past.expelled, future.expelled, nobody.expelled) == (1, 0, 0)


async def test_when_changes_were_missed_everybody_is_looked_at(world: World) -> None:
    for uri in (ALICE, BOB, "/accounts/carol"):
        await world.put(uri, "old")
    alice, bob, carol = [await world.let_in(u) for u in (ALICE, BOB, "/accounts/carol")]
    anonymous = Guest(ANONYMOUS)
    world.guests.append(anonymous)
    await world.put(ALICE, "new")
    await world.remove(BOB)
    await world.credentials.check(world)
    assert [one.expelled for one in world.guests] == [0] * 4
    world.credentials.lose()
    await world.credentials.check(world)
    assert [one.expelled for one in (alice, bob, carol, anonymous)] == [1, 1, 0, 0]
    await world.credentials.check(world)
    assert alice.expelled == 1


async def test_key_of_which_nobody_noted_the_position_is_over_when_it_is_gone(
    world: World,
) -> None:
    await world.put(ALICE, "old")
    guest = Guest(Actor("account:alice", frozenset(), source=ALICE))
    world.guests.append(guest)
    world.credentials.lose()
    await world.credentials.check(world)
    assert guest.expelled == 0
    await world.remove(ALICE)
    world.credentials.lose()
    await world.credentials.check(world)
    assert guest.expelled == 1


async def test_doubt_stays_until_the_accounts_can_be_read(world: World) -> None:
    await world.put(ALICE, "old")
    alice = await world.let_in(ALICE)
    await world.put(ALICE, "new")
    world.credentials.lose()
    world.fails = True
    await world.credentials.check(world)
    assert alice.expelled == 0
    world.fails = False
    await world.credentials.check(world)
    assert alice.expelled == 1


async def test_who_cannot_be_let_out_does_not_keep_the_others(
    world: World, expected_logs: ExpectedLogs
) -> None:
    expected_logs("somebody could not be let out")
    await world.put(ALICE, "old")
    broken, alice = await world.let_in(ALICE), await world.let_in(ALICE)

    def fail() -> None:
        raise ConnectionResetError

    broken.expel = fail  # type: ignore[method-assign]
    world.credentials.tell(await world.put(ALICE, "new"))
    assert alice.expelled == 1
