import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from server.config import load_settings
from server.storage.files.base import FileStore
from server.storage.files.folder import FolderFiles
from server.storage.memory import MemoryStorage
from server.transfer.checks import Check
from server.transfer.entries import Entry, parse_item
from server.transfer.files import BadFile, Files, Origin, find_base, open_files
from server.transfer.lines import LineSource
from tests.server.transfer.canned import answering
from tests.server.transfer.conftest import WriteLines
from tests.server.transfer.stocks import PARENTS, RECORDS, find, load, row

pytestmark = pytest.mark.gen_test

CONTENT = "hello"
HASH = hashlib.sha256(CONTENT.encode()).hexdigest()
OLD = "https://old.example.org/files/"
NEW = "https://new.example.org/v1/attachments/"


def attachment(location: str, digest: str = HASH) -> dict[str, Any]:
    facts = {"filename": "a b.txt", "mimetype": "text/plain", "size": 5}
    return {"location": location, "hash": digest, **facts}


def entry_of(location: str, digest: str = HASH) -> Entry:
    value = row(f"{RECORDS}/r", 5, {}, attachment=attachment(location, digest))
    entry = parse_item(value, "line 1", ("line", 1))
    assert isinstance(entry, Entry)
    return entry


@asynccontextmanager
async def filed(storage: MemoryStorage, folder: Path) -> AsyncIterator[FileStore]:
    """A store, and a folder in which the file ``b/c/a b.txt`` lies."""
    (folder / "b" / "c").mkdir(parents=True)
    (folder / "b" / "c" / "a b.txt").write_text(CONTENT)
    yield await storage.files()


async def content_of(store: FileStore, name: str) -> str:
    file = await store.find(name)
    assert file is not None
    return b"".join([piece async for piece in store.read(file, 0, file.size)]).decode()


@pytest.mark.parametrize(
    ("location", "name"),
    [
        (f"{OLD}b/c/a%20b.txt", "b/c/a b.txt"),
        ("b/c/x.txt", "b/c/x.txt"),
        ("/b/c/x.txt", "b/c/x.txt"),
        ("https://elsewhere/b/c/x.txt", None),
        ("//elsewhere/x.txt", None),
        (f"{OLD}../secret", None),
        (f"{OLD}b//c", None),
        (OLD, None),
        ("", None),
    ],
)
async def test_name_of_a_file_is_what_follows_the_address(location: str, name: str | None) -> None:
    assert Origin(OLD).find_name(location) == name


async def test_name_of_a_file_in_a_folder_is_found_behind_any_address(
    storage: MemoryStorage, tmp_path: Path
) -> None:
    async with filed(storage, tmp_path):
        origin = Origin(str(tmp_path))
        assert origin.find_name(f"{NEW}b/c/a%20b.txt") == "b/c/a b.txt"
        assert origin.find_name(f"{NEW}b/c/other.txt") is None
        assert origin.find_name("../../etc/passwd") is None


async def test_file_is_fetched_with_its_source_credentials_and_stored_under_its_name(
    storage: MemoryStorage,
) -> None:
    store = await storage.files()
    async with answering((200, {}, CONTENT)) as (url, asked):
        files = Files(store, Origin(f"{url}/", {"Authorization": "Basic x"}), NEW)
        entry = entry_of(f"{url}/b/c/a%20b.txt")
        assert await files.bring(entry)
        assert not await files.bring(entry)
    assert [(uri, headers["Authorization"]) for _, uri, headers, _ in asked] == [
        ("/b/c/a%20b.txt", "Basic x")
    ]
    assert await content_of(store, "b/c/a b.txt") == CONTENT
    stored = await store.find("b/c/a b.txt")
    assert stored is not None
    assert (stored.uri, stored.hash, stored.filename) == (f"{RECORDS}/r", HASH, "a b.txt")
    told = files.rewrite(entry).content.fields
    assert told is not None
    assert told["attachment"] == attachment(f"{NEW}b/c/a%20b.txt")


async def test_location_stays_where_it_is_not_known_what_it_will_be(
    storage: MemoryStorage,
) -> None:
    entry = entry_of(f"{OLD}x.txt")
    assert Files(await storage.files(), Origin(OLD), None).rewrite(entry) is entry


@pytest.mark.parametrize("value", ["text", {}, {"location": 3}, {"location": "x"}, None])
async def test_field_that_is_no_attachment_is_left_alone(
    storage: MemoryStorage, value: Any
) -> None:
    entry = parse_item(row(f"{RECORDS}/r", 5, attachment=value), "line 1", ("line", 1))
    assert isinstance(entry, Entry)
    files = Files(await storage.files(), Origin(OLD), NEW)
    assert files.rewrite(entry) is entry
    assert not await files.bring(entry)
    assert await files.differ(entry) == ""


async def test_file_that_is_not_the_one_that_is_told_of_is_refused(storage: MemoryStorage) -> None:
    store = await storage.files()
    async with answering((200, {}, "another")) as (url, _):
        files = Files(store, Origin(f"{url}/"), NEW)
        with pytest.raises(BadFile, match="not the one"):
            await files.bring(entry_of(f"{url}/x.txt"))
    assert await store.find("x.txt") is None


async def test_file_that_cannot_be_had_is_told(storage: MemoryStorage) -> None:
    store = await storage.files()
    async with answering((404, {}, "")) as (url, _):
        with pytest.raises(BadFile, match="cannot be had: Not Found"):
            await Files(store, Origin(f"{url}/"), NEW).bring(entry_of(f"{url}/x.txt"))
    with pytest.raises(BadFile, match="cannot be had"):
        await Files(store, Origin(f"{url}/"), NEW).bring(entry_of(f"{url}/x.txt"))
    with pytest.raises(BadFile, match="see --attachments"):
        await Files(store, Origin(), NEW).bring(entry_of("x.txt"))


async def test_another_file_of_the_name_is_not_overwritten(storage: MemoryStorage) -> None:
    store = await storage.files()
    other = hashlib.sha256(b"other").hexdigest()
    async with answering((200, {}, CONTENT), (200, {}, "other")) as (url, _):
        files = Files(store, Origin(f"{url}/"), NEW)
        await files.bring(entry_of("x.txt"))
        assert await files.differ(entry_of("x.txt", other)) == "its file is another"
        with pytest.raises(BadFile, match="another file"):
            await files.bring(entry_of("x.txt", other))
    assert await content_of(store, "x.txt") == CONTENT


async def test_files_are_loaded_with_their_records_and_compared(
    storage: MemoryStorage, tmp_path: Path, write_lines: WriteLines
) -> None:
    good = row(f"{RECORDS}/good", 5, {}, attachment=attachment(f"{OLD}b/c/a%20b.txt"))
    bad = row(f"{RECORDS}/bad", 6, {}, attachment=attachment(f"{OLD}b/c/a%20b.txt", "x"))
    async with filed(storage, tmp_path / "files") as store:
        files = Files(store, Origin(str(tmp_path / "files")), NEW)
        source = LineSource(write_lines(*PARENTS, good, bad))
        dry, _ = await load(storage, source, files=files, dry_run=True)
        assert (dry.tally.files, await store.find("b/c/a b.txt")) == (0, None)
        writer, told = await load(storage, source, files=files)
        assert writer.tally.files == 1
        (line,) = told
        assert line.startswith("line 4: ")
        stored = await find(storage, f"{RECORDS}/good")
        assert stored is not None
        assert stored.data["attachment"]["location"] == f"{NEW}b/c/a%20b.txt"
        differences: list[str] = []
        await Check(storage, source, False, differences.append, files).run()
        assert differences == [f"{RECORDS}/bad: its file is another"]


async def test_files_lie_in_the_database_or_in_the_folder_of_the_settings(
    storage: MemoryStorage, tmp_path: Path
) -> None:
    folder = load_settings({"KINTO_ATTACHMENT_BASE_PATH": str(tmp_path)})
    assert isinstance(await open_files(folder, storage), FolderFiles)
    assert await open_files(load_settings({}), storage) is await storage.files()


@pytest.mark.parametrize(
    ("environ", "base"),
    [
        ({}, None),
        ({"KINTO_ATTACHMENT_BASE_URL": "https://cdn/x"}, "https://cdn/x/"),
        (
            {"KINTO_HTTP_HOST": "new.example.org", "KINTO_HTTP_SCHEME": "https"},
            "https://new.example.org/v1/attachments/",
        ),
    ],
)
async def test_base_of_locations_is_told_by_the_settings(
    environ: dict[str, str], base: str | None
) -> None:
    assert find_base(load_settings(environ)) == base
