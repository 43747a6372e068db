import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest

from server.core.commands import Command, Remove, Replace, Target
from server.core.contents import Content
from server.core.errors import Unavailable
from server.core.json_text import dump_json
from server.core.objects import StoredObject
from server.core.paths import object_path
from server.core.permissions import Rules, make_actor
from server.service import account_mails as module
from server.service.account_mails import AccountMailOptions, AccountMails, Template
from server.service.mails import Mail, Mailer, MailOptions
from server.storage.memory import MemoryStorage
from tests.conftest import ExpectedLogs

pytestmark = pytest.mark.gen_test

ADMIN = make_actor("account:admin")
RULES = Rules(dict.fromkeys(("account:create", "account:write"), frozenset([ADMIN.user_id])))
BOB = "bob@example.org"
URI = f"/accounts/{BOB}"
OPTIONS = AccountMailOptions(
    "kinto@example.org",
    Template("Hello {name}", "{form}?{activation-key}"),
    Template("Welcome {id}", "{name}"),
    Template("New", "{reset-password}"),
    60,
    60,
)


class Postman(Mailer):
    """Keeps the mails.

    Attributes:
        mails: that were given to him.
    """

    def __init__(self) -> None:
        super().__init__(MailOptions(mailer="testing"))
        self.mails: list[Mail] = []

    async def send(self, mail: Mail) -> bool:
        self.mails.append(mail)
        return True


class World:
    """An account in memory, and the mails to its user."""

    def __init__(self) -> None:
        self.storage = MemoryStorage(RULES)
        self.postman = Postman()
        self.mails = AccountMails(self.storage, self.postman, OPTIONS)

    async def put(self, data: Mapping[str, Any], secret: str = "hash") -> None:
        content = Content(data, dump_json(dict(data)), secret=secret)
        await self.storage.commit(Command((Replace(Target(ADMIN, object_path(URI)), content),)))

    async def account(self) -> StoredObject:
        async with self.storage.snapshot() as snapshot:
            return (await snapshot.objects([URI]))[URI]

    async def take(self) -> Mail:
        """The one mail that was sent."""
        await self.mails.wait()
        (mail,) = self.postman.mails
        self.postman.mails.clear()
        return mail


async def test_key_is_mailed_and_known_until_it_is_used_up() -> None:
    world = World()
    context = {"name": "Bob", "form": "https://x/", "activation-key": "forged", "n": {}}
    world.mails.activate({"id": BOB, "email-context": context})
    mail = await world.take()
    assert (mail.sender, mail.recipient, mail.subject) == ("kinto@example.org", BOB, "Hello Bob")
    match = re.fullmatch(r"https://x/\?([0-9a-f-]{36})", mail.body)
    assert match
    assert await world.mails.is_key(BOB, match[1])
    assert not await world.mails.is_key(BOB, match[1][:-1])
    assert not await world.mails.is_key("eve@example.org", match[1])
    await world.mails.drop_key(BOB)
    assert not await world.mails.is_key(BOB, match[1])


async def test_neither_key_nor_password_is_kept_in_clear() -> None:
    world = World()
    await world.put({})
    world.mails.activate({"id": BOB})
    key = (await world.take()).body.rpartition("?")[2]
    world.mails.reset(BOB, URI, {})
    password = (await world.take()).body
    for name in (f"accounts:key:{BOB}", f"accounts:reset:{BOB}"):
        kept = await world.storage.kept(name)
        assert kept
        assert key not in kept
        assert password not in kept


async def test_confirmation_is_made_of_the_account_and_its_context() -> None:
    world = World()
    world.mails.confirm({"id": BOB, "email-context": {"name": "Bob", "id": "forged"}})
    mail = await world.take()
    assert (mail.subject, mail.body) == (f"Welcome {BOB}", "Bob")


async def test_temporary_password_is_good_until_the_own_one_changes() -> None:
    world = World()
    await world.put({})
    world.mails.reset(BOB, URI, {})
    mail = await world.take()
    assert await world.mails.is_temporary(await world.account(), mail.body)
    assert not await world.mails.is_temporary(await world.account(), "guess")
    await world.put({"n": 1}, secret="other")
    assert not await world.mails.is_temporary(await world.account(), mail.body)


async def test_nobody_is_mailed_without_an_account() -> None:
    world = World()
    world.mails.reset(BOB, URI, {})
    await world.put({})
    await world.storage.commit(Command((Remove(Target(ADMIN, object_path(URI))),)))
    world.mails.reset(BOB, URI, {})
    await world.mails.wait()
    assert world.postman.mails == []


async def test_who_never_confirmed_gets_a_key_once_more() -> None:
    world = World()
    await world.put({"validated": False, "email-context": {"form": "old"}})
    world.mails.reset(BOB, URI, {"form": "new"})
    form, _, key = (await world.take()).body.partition("?")
    assert form == "new"
    assert await world.mails.is_key(BOB, key)


async def test_mailbox_is_not_flooded() -> None:
    world = World()
    await world.put({})
    for _ in range(5):
        world.mails.reset(BOB, URI, {})
    assert (await world.take()).subject == "New"


async def test_flood_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNDER_WAY", 2)
    world = World()
    for _ in range(2):
        world.mails.reset(BOB, URI, {})
    with pytest.raises(Unavailable):
        world.mails.reset(BOB, URI, {})
    await world.mails.wait()
    world.mails.reset(BOB, URI, {})
    await world.mails.wait()


async def test_mails_under_way_are_given_up_only_if_they_do_not_end(
    monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    expected_logs("1 mails to users were given up")
    monkeypatch.setattr(module, "END_SECONDS", 0.05)
    world = World()
    world.mails.confirm({"id": BOB})
    await world.mails.close()
    assert len(world.postman.mails) == 1
    assert expected_logs.records == []

    async def never(mail: Mail) -> bool:
        await asyncio.Event().wait()
        return True

    world.postman.send = never  # type: ignore[method-assign]
    world.mails.confirm({"id": BOB})
    await world.mails.close()
    assert len(expected_logs.records) == 1


async def test_failure_is_logged_and_hurts_nobody(expected_logs: ExpectedLogs) -> None:
    expected_logs("a mail to a user could not be made")
    world = World()

    async def gone(name: str, value: str, seconds: int | None) -> None:
        raise Unavailable("The database is gone.", 3)

    world.storage.keep = gone  # type: ignore[method-assign]
    world.mails.activate({"id": BOB})
    world.mails.activate({})
    await world.mails.wait()
    assert len(expected_logs.records) == 2
    assert world.postman.mails == []
