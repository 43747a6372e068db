import hashlib
from dataclasses import replace
from typing import Any

import pytest

from server.core.commands import Command, Replace, Target
from server.core.contents import parse_content
from server.core.errors import (
    AttachmentFixed,
    Forbidden,
    InvalidParameters,
    ModifiedMeanwhile,
    ObjectMissing,
    ParentMissing,
    Unavailable,
)
from server.core.paths import object_path
from server.core.permissions import Actor, Rules
from server.core.preconditions import parse_precondition
from server.service.attachments import Attachments
from server.service.file_rules import FileRule, FileRules
from server.storage.files.memory import MemoryFiles
from server.storage.memory import MemoryStorage

pytestmark = pytest.mark.gen_test

ALICE = Actor("basicauth:alice", frozenset({"basicauth:alice", "system.Everyone"}))
BOB = Actor("basicauth:bob", frozenset({"basicauth:bob", "system.Everyone"}))
RULES = Rules({"bucket:create": frozenset({"system.Everyone"})})
RECORD = object_path("/buckets/b/collections/c/records/r")


class World:
    """A collection, and what can be done with its files."""

    def __init__(self, **options: Any) -> None:
        self.storage = MemoryStorage(RULES)
        self.files = MemoryFiles()
        rules = FileRules(FileRule(**options))
        self.attachments = Attachments(self.storage, self.files, RULES, rules)

    async def put(self, uri: str, data: Any = None) -> None:
        path = object_path(uri)
        content = parse_content(path.kind.name, {"data": data or {}})
        await self.storage.commit(Command((Replace(Target(ALICE, path), content),)))

    async def attach(self, body: Any = None, actor: Actor = ALICE, **headers: str) -> Any:
        upload = self.attachments.begin(RECORD)
        await upload.begin("a.txt", None)
        await upload.write(b"con")
        await upload.write(b"tent")
        target = Target(actor, RECORD, parse_precondition(headers.get("match"), None))
        outcome, described = await self.attachments.attach(
            target, upload, body or {}, None, "http://host/v1"
        )
        await self.attachments.settle()
        return outcome, described

    async def names(self) -> list[str]:
        await self.attachments.settle()
        return [one.name for one in await self.files.page("", 100)]


async def make_world(**options: Any) -> World:
    world = World(**options)
    for uri in ("/buckets/b", "/buckets/b/collections/c"):
        await world.put(uri)
    return world


async def test_bytes_are_counted_and_hashed_on_their_way() -> None:
    world = await make_world()
    outcome, described = await world.attach()
    assert described["size"] == 7
    assert described["hash"] == hashlib.sha256(b"content").hexdigest()
    assert described["location"].startswith("http://host/v1/attachments/")
    assert outcome.object.data["attachment"] == described


@pytest.mark.parametrize(
    ("filename", "message"),
    [("", "Filename is required"), ("a.exe", "extension is not allowed")],
)
async def test_file_that_may_not_be_called_so_is_refused_before_it_comes(
    filename: str, message: str
) -> None:
    upload = (await make_world()).attachments.begin(RECORD)
    with pytest.raises(InvalidParameters, match=message):
        await upload.begin(filename, None)
    assert not upload.has_begun


async def test_file_that_gets_too_large_is_refused_as_soon_as_it_is() -> None:
    upload = (await make_world(max_bytes=5)).attachments.begin(RECORD)
    await upload.begin("a.txt", None)
    await upload.write(b"conte")
    with pytest.raises(InvalidParameters, match="exceeds the limit"):
        await upload.write(b"n")


async def test_file_that_was_discarded_takes_no_more() -> None:
    world = await make_world()
    upload = world.attachments.begin(RECORD)
    await upload.begin("a.txt", None)
    await upload.discard()
    await upload.write(b"more")
    await upload.discard()
    assert await world.names() == []


async def test_file_that_is_begun_after_its_sender_has_left_is_none() -> None:
    upload = (await make_world()).attachments.begin(RECORD)
    await upload.discard()
    await upload.begin("a.txt", None)
    assert not upload.has_begun


@pytest.mark.parametrize(
    ("body", "actor", "match", "error"),
    [
        ({"data": []}, ALICE, None, InvalidParameters),
        ({"data": {"id": "other"}}, ALICE, None, InvalidParameters),
        ({}, BOB, None, Forbidden),
        ({}, ALICE, '"12"', ModifiedMeanwhile),
    ],
)
async def test_nothing_is_left_of_a_file_whose_record_is_refused(
    body: Any, actor: Actor, match: str | None, error: type[Exception]
) -> None:
    world = await make_world()
    given = {} if match is None else {"match": match}
    with pytest.raises(error):
        await world.attach(body, actor, **given)
    await world.attachments.settle()
    assert await world.names() == []
    assert world.attachments.orphans.busy == set()


@pytest.mark.parametrize(
    ("actor", "uri", "match", "error"),
    [
        (BOB, RECORD.uri, None, Forbidden),
        (ALICE, "/buckets/b/collections/none/records/r", None, ParentMissing),
        (ALICE, RECORD.uri, '"12"', ModifiedMeanwhile),
        (ALICE, "/buckets/b/collections/c/records/b d", None, InvalidParameters),
    ],
)
async def test_who_would_send_a_file_in_vain_is_told_before(
    actor: Actor, uri: str, match: str | None, error: type[Exception]
) -> None:
    world = await make_world()
    target = Target(actor, object_path(uri), parse_precondition(match, None))
    with pytest.raises(error):
        await world.attachments.check_writable(target)


async def test_old_state_of_the_record_is_shown_to_who_believed_in_another() -> None:
    world = await make_world()
    await world.put(RECORD.uri, {"title": "here"})
    target = Target(ALICE, RECORD, parse_precondition(None, "*"))
    with pytest.raises(ModifiedMeanwhile) as caught:
        await world.attachments.check_writable(target)
    assert caught.value.details["existing"]["title"] == "here"


async def test_data_that_leave_the_file_alone_are_no_change_of_it() -> None:
    world = await make_world()
    _, described = await world.attach()
    for data in ({"attachment": described}, {"attachment": None}, {}, None):
        await world.attachments.check_unchanged(ALICE, RECORD, data)
    with pytest.raises(AttachmentFixed):
        await world.attachments.check_unchanged(ALICE, RECORD, {"attachment": {"size": 1}})
    await world.attachments.check_unchanged(BOB, RECORD, {"attachment": {"size": 1}})


async def test_file_is_that_of_the_record_that_names_it() -> None:
    world = await make_world()
    await world.attach()
    (name,) = await world.names()
    file = await world.attachments.find(name)
    assert file is not None
    await world.attachments.check_readable(ALICE, file)
    with pytest.raises(Forbidden):
        await world.attachments.check_readable(BOB, file)
    with pytest.raises(Forbidden):
        await world.attachments.check_readable(replace(ALICE, scopes=()), file)
    await world.put(RECORD.uri, {})
    with pytest.raises(ObjectMissing):
        await world.attachments.check_readable(ALICE, file)


async def test_old_file_goes_and_the_new_one_stays() -> None:
    world = await make_world()
    await world.attach()
    first = await world.names()
    await world.attach()
    second = await world.names()
    assert len(second) == 1
    assert first != second


async def test_store_that_fails_at_the_end_leaves_nothing() -> None:
    world = await make_world()
    upload = world.attachments.begin(RECORD)
    await upload.begin("a.txt", None)
    assert upload._writer is not None
    discarded = []

    async def fail(file: Any) -> None:
        raise Unavailable("away", 3)

    async def note() -> None:
        discarded.append(True)

    upload._writer.finish = fail  # type: ignore[method-assign]
    upload._writer.discard = note  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await world.attachments.attach(Target(ALICE, RECORD), upload, {}, None, "http://host/v1")
    assert discarded == [True]
    assert world.attachments.orphans.busy == set()


async def test_file_that_cannot_be_removed_is_left_to_the_sweep() -> None:
    world = await make_world()

    async def fail(name: str) -> None:
        raise Unavailable("away", 3)

    world.files.remove = fail  # type: ignore[method-assign]
    with pytest.raises(Forbidden):
        await world.attach(actor=BOB)
    assert len(await world.names()) == 1
