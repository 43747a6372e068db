import asyncio
import os
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from server.storage.mongo import embedded
from server.storage.mongo.data_folders import FolderInUse
from server.storage.mongo.embedded import EmbeddedError, find_mongod, find_running, start_mongod
from tests.processes import die_with_parent, free_port, mongod_binary

pytestmark = pytest.mark.gen_test(timeout=60)


async def write_in_transaction(uri: str, value: int) -> list[int]:
    """Add a value in a transaction; all values then."""
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        collection = client.get_database("test").get_collection("values")
        async with client.start_session() as session, await session.start_transaction():
            await collection.insert_one({"value": value}, session=session)
        return [document["value"] async for document in collection.find().sort("value")]


def program(folder: Path, *lines: str) -> str:
    """A shell script that stands for a mongod."""
    path = folder / "mongod"
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(0o755)
    return str(path)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_data_survive_a_restart_and_a_move_of_the_folder(tmp_path: Path) -> None:
    mongo = await start_mongod(tmp_path / "a b")
    assert await write_in_transaction(mongo.uri, 1) == [1]
    await mongo.stop()
    mongo = await start_mongod(tmp_path / "a b")
    assert await write_in_transaction(mongo.uri, 2) == [1, 2]
    await mongo.stop()
    (tmp_path / "a b").rename(tmp_path / "c")
    mongo = await start_mongod(tmp_path / "c")
    assert await write_in_transaction(mongo.uri, 3) == [1, 2, 3]
    await mongo.stop()
    assert not is_running(mongo.pid)


async def test_only_this_user_can_reach_it(tmp_path: Path) -> None:
    mongo = await start_mongod(tmp_path)
    async with AsyncMongoClient[dict[str, Any]](mongo.uri) as client:
        options = await client.admin.command("getCmdLineOpts")
    await mongo.stop()
    address = Path(options["parsed"]["net"]["bindIp"])
    assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700


async def test_mongod_of_a_running_server_is_found_by_others(tmp_path: Path) -> None:
    assert await find_running(tmp_path) is None
    mongo = await start_mongod(tmp_path)
    assert await find_running(tmp_path) == mongo.uri
    await mongo.stop()
    assert await find_running(tmp_path) is None


async def test_folder_in_use_is_refused_and_its_mongod_left_alone(tmp_path: Path) -> None:
    mongo = await start_mongod(tmp_path)
    with pytest.raises(FolderInUse, match="used by another server"):
        await start_mongod(tmp_path)
    assert await write_in_transaction(mongo.uri, 1) == [1]
    await mongo.stop()


async def test_mongod_that_a_killed_server_left_is_ended_first(tmp_path: Path) -> None:
    database = tmp_path / "db"
    database.mkdir()
    port = free_port()
    leftover = await asyncio.create_subprocess_exec(
        *[mongod_binary(), "--dbpath", str(database), "--port", str(port)],
        *["--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", "kintoun"],
        stdout=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        await asyncio.sleep(0.01)
    mongo = await start_mongod(tmp_path)
    assert await leftover.wait() == 0
    assert await write_in_transaction(mongo.uri, 1) == [1]
    await mongo.stop()


async def test_end_of_mongod_is_noticed(tmp_path: Path) -> None:
    mongo = await start_mongod(tmp_path)
    os.kill(mongo.pid, 9)
    assert await mongo.wait() == -9
    await mongo.stop()


async def test_missing_library_is_named_with_its_package(tmp_path: Path) -> None:
    words = "mongod: error while loading shared libraries: libcurl.so.4: cannot open"
    binary = program(tmp_path, f"echo '{words}' >&2", "exit 127")
    with pytest.raises(EmbeddedError, match=r"needs libcurl\.so\.4.* apt-get install libcurl4"):
        await start_mongod(tmp_path, binary=binary)


async def test_program_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    binary = program(tmp_path, "echo first", "echo 'Illegal instruction' >&2", "exit 1")
    with pytest.raises(EmbeddedError, match=r"\(Illegal instruction\): see .*mongod\.log"):
        await start_mongod(tmp_path, binary=binary)


async def test_program_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="nowhere cannot be started"):
        await start_mongod(tmp_path, binary="/nowhere")


async def test_damaged_data_are_reported_with_mongods_own_reason(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "storage.bson").write_bytes(b"damaged")
    with pytest.raises(EmbeddedError, match=r"\(Unable to read the storage .+\): see"):
        await start_mongod(tmp_path)


async def test_start_that_fails_gives_the_folder_free(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError):
        await start_mongod(tmp_path, binary="/nowhere")
    mongo = await start_mongod(tmp_path)
    await mongo.stop()


async def test_start_that_is_given_up_leaves_no_mongod(tmp_path: Path) -> None:
    binary = program(tmp_path, f"echo $$ > '{tmp_path}/pid'", "exec sleep 60")
    starting = asyncio.ensure_future(start_mongod(tmp_path, binary=binary))
    while True:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_long_log_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "mongod.log"
    with log.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    embedded.keep_log_small(log)
    assert not log.exists()
    assert (tmp_path / "mongod.log.1").exists()


def test_machine_without_mongod_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(EmbeddedError, match="install MongoDB 6 or newer, or set MONGODB_URI"):
        find_mongod()


def test_carried_mongod_is_made_executable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    carried = tmp_path / "fiftyone" / "db" / "bin" / "mongod"
    carried.parent.mkdir(parents=True)
    carried.write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_mongod() == str(carried)
    assert os.access(carried, os.X_OK)


def test_mongod_on_the_path_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = program(tmp_path, "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_mongod() == own


def test_socket_folder_that_others_can_enter_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest's own folders are too long for a socket.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        Path(folder, f"kintoun-{os.geteuid()}").mkdir(mode=0o755)
        with pytest.raises(EmbeddedError, match="not a folder of this user alone"):
            embedded.socket_path(Path("/data"))


def test_temporary_folder_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(EmbeddedError, match="set TMPDIR"):
        embedded.socket_path(Path("/data"))


def test_temporary_folder_too_long_for_a_socket_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 100)))
    assert str(embedded.socket_path(Path("/data"))).startswith("/tmp/kintoun-")
