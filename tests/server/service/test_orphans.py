import json
import time
from typing import Any

import pytest

from server.core.commands import Command, Remove, Replace, Target
from server.core.contents import parse_content
from server.core.errors import Unavailable
from server.core.paths import object_path
from server.core.permissions import Actor, Rules
from server.service.file_rules import FileRule, FileRules
from server.service.orphans import SWEEP_SECONDS, Orphans, Trace, is_named, location_of
from server.storage.files.base import StoredFile
from server.storage.files.memory import MemoryFiles
from server.storage.memory import MemoryStorage

pytestmark = pytest.mark.gen_test

ALICE = Actor("basicauth:alice", frozenset({"basicauth:alice", "system.Everyone"}))
RULES = Rules({"bucket:create": frozenset({"system.Everyone"})})
HERE = "/buckets/b/collections/c/records"


class World:
    """Records, their files, and who collects those of nobody."""

    def __init__(self, **options: Any) -> None:
        self.storage = MemoryStorage(RULES)
        self.files = MemoryFiles()
        self.now = time.time_ns() // 1_000_000
        rules = FileRules(FileRule(**options))
        self.orphans = Orphans(self.storage, self.files, RULES, rules)

    async def put(self, uri: str, data: Any = None) -> None:
        kind = object_path(uri).kind.name
        content = parse_content(kind, {"data": data or {}})
        verdicts = await self.storage.commit(
            Command((Replace(Target(ALICE, object_path(uri)), content),))
        )
        assert not isinstance(verdicts[0], Exception), verdicts

    async def delete(self, uri: str) -> None:
        await self.storage.commit(Command((Remove(Target(ALICE, object_path(uri))),)))

    async def store(self, name: str, uri: str, age_seconds: float = 0) -> None:
        date = self.now - round(age_seconds * 1000)
        writer = await self.files.create()
        await writer.finish(StoredFile(name, 0, "", "text/plain", name, uri, date))

    async def names(self) -> list[str]:
        return [one.name for one in await self.files.page("", 100)]

    async def tell_all(self) -> None:
        for revision in self.storage.revisions:
            self.orphans.tell(revision)
        await self.orphans.settle()


async def make_world(**options: Any) -> World:
    world = World(**options)
    for uri in ("/buckets/b", "/buckets/b/collections/c"):
        await world.put(uri)
    return world


def naming(name: str) -> dict[str, Any]:
    return {"attachment": {"location": f"http://host/v1/attachments/{name}"}}


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://host/files/b/one%20two.txt", True),
        ("b/one%20two.txt", True),
        ("http://host/xb/one%20two.txt", False),
        ("http://host/b/one%20two.txt?x", False),
        (None, False),
    ],
)
def test_file_is_named_by_a_location_that_ends_in_its_name(
    location: str | None, expected: bool
) -> None:
    assert is_named(location, "b/one two.txt") is expected


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"attachment": None}, {"attachment": []}, {"attachment": {"location": 1}}],
)
def test_what_names_no_file_has_no_location(data: Any) -> None:
    assert location_of(data) is None


async def test_sweep_takes_old_files_that_no_record_names() -> None:
    world = await make_world()
    await world.put(f"{HERE}/r", naming("named"))
    for name in ("named", "replaced"):
        await world.store(name, f"{HERE}/r", SWEEP_SECONDS + 1)
    await world.store("never", f"{HERE}/none", SWEEP_SECONDS + 1)
    await world.store("nowhere", "/buckets/x/collections/c/records/r", SWEEP_SECONDS + 1)
    await world.store("young", f"{HERE}/r", SWEEP_SECONDS - 60)
    await world.orphans.sweep(world.now)
    assert await world.names() == ["named", "young"]
    await world.orphans.sweep(world.now)
    assert await world.names() == ["named", "young"]


async def test_sweep_goes_through_all_pages() -> None:
    world = await make_world()
    for number in range(450):
        await world.store(f"{number}", f"{HERE}/r", SWEEP_SECONDS + 1)
    await world.put(f"{HERE}/r", naming("7"))
    await world.orphans.sweep(world.now)
    assert await world.names() == ["7"]


async def test_file_of_a_collection_that_was_made_again_is_an_orphan() -> None:
    world = await make_world()
    await world.put(f"{HERE}/r", naming("old"))
    await world.store("old", f"{HERE}/r")
    await world.delete("/buckets/b/collections/c")
    await world.put("/buckets/b/collections/c")
    await world.orphans.sweep(world.now + 2 * SWEEP_SECONDS * 1000)
    assert await world.names() == []


async def test_file_that_somebody_wants_to_keep_is_kept() -> None:
    world = await make_world(keeps=True)
    await world.put(f"{HERE}/r", naming("old"))
    await world.store("old", f"{HERE}/r", SWEEP_SECONDS + 1)
    await world.delete("/buckets/b")
    await world.tell_all()
    await world.orphans.sweep(world.now)
    assert await world.names() == ["old"]


async def test_file_that_a_record_is_about_to_name_is_left_alone() -> None:
    world = await make_world()
    await world.store("new", f"{HERE}/r", 1)
    world.orphans.busy.add("new")
    await world.delete("/buckets/b")
    await world.tell_all()
    assert await world.names() == ["new"]


async def test_change_of_a_record_leads_to_the_file_it_named_and_to_no_other() -> None:
    world = await make_world()
    await world.put(f"{HERE}/r", naming("old"))
    await world.put(f"{HERE}/r", naming("new"))
    for name in ("old", "new", "coming"):
        await world.store(name, f"{HERE}/r", 1)
    await world.tell_all()
    assert await world.names() == ["coming", "new"]


async def test_record_that_names_a_file_again_keeps_it() -> None:
    world = await make_world()
    await world.put(f"{HERE}/r", naming("old"))
    await world.put(f"{HERE}/r", {})
    await world.put(f"{HERE}/r", naming("old"))
    await world.store("old", f"{HERE}/r", 1)
    await world.tell_all()
    assert await world.names() == ["old"]


async def test_file_that_came_after_its_parent_was_deleted_is_left_alone() -> None:
    world = await make_world()
    await world.store("later", f"{HERE}/r", -60)
    await world.store("before", f"{HERE}/r", 60)
    await world.delete("/buckets/b")
    await world.tell_all()
    assert await world.names() == ["later"]


async def test_what_is_said_of_no_file_leads_nowhere() -> None:
    world = await make_world()
    await world.put(f"{HERE}/r", {"text": json.dumps({"attachment": 1})})
    await world.put(f"{HERE}/r", {"attachment": "none"})
    await world.delete(f"{HERE}/r")
    await world.put("/buckets/b/groups/g", {"members": []})
    await world.delete("/buckets/b/groups/g")
    for revision in world.storage.revisions:
        world.orphans.tell(revision)
    assert world.orphans._traces == {}


async def test_database_that_is_away_leaves_the_rest_to_the_sweep() -> None:
    world = await make_world()
    await world.store("old", f"{HERE}/r", SWEEP_SECONDS + 1)
    page = world.files.page

    async def fail(*arguments: Any) -> Any:
        raise Unavailable("away", 3)

    world.files.page = fail  # type: ignore[assignment,method-assign]
    world.orphans.look(Trace("/buckets/b", world.now, None))
    await world.orphans.settle()
    await world.orphans._sweep_in_turn()
    world.files.page = page  # type: ignore[method-assign]
    await world.orphans.sweep(world.now)
    assert await world.names() == []


async def test_one_of_many_processes_sweeps() -> None:
    world = await make_world()
    for expected in ([], ["second"]):
        await world.store("second" if expected else "first", f"{HERE}/r", SWEEP_SECONDS + 1)
        await world.orphans._sweep_in_turn()
        assert await world.names() == expected
