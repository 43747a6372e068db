import json
import subprocess
import sys
from pathlib import Path

import pytest

from server.config import load_settings
from server.core.paths import ROOT as ROOT_URI
from server.storage.base import StorageError
from server.storage.mongo.data_folders import DataFolder
from server.transfer.targets import open_target
from tests.conftest import StartServer
from tests.processes import ROOT
from tests.system.clients import Client


@pytest.mark.gen_test(timeout=60)
async def test_storage_in_memory_is_refused() -> None:
    settings = load_settings({"KINTO_STORAGE_BACKEND": "memory"})
    with pytest.raises(StorageError, match="ends with its process"):
        async with open_target(settings):
            pass


@pytest.mark.gen_test(timeout=60)
async def test_mongodb_that_is_named_is_opened(mongo_uri: str, mongo_database: str) -> None:
    settings = load_settings({"MONGODB_URI": mongo_uri, "KINTO_MONGODB_DATABASE": mongo_database})
    async with open_target(settings) as storage, storage.snapshot() as snapshot:
        assert ROOT_URI in await snapshot.objects([ROOT_URI])


@pytest.mark.gen_test(timeout=60)
async def test_private_mongodb_runs_as_long_as_it_is_used(tmp_path: Path) -> None:
    settings = load_settings({}, data_dir=tmp_path / "data")
    for _ in range(2):
        async with open_target(settings) as storage:
            assert await storage.check()


def test_mongodb_of_a_running_server_is_used_and_its_clients_see_what_is_loaded(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server("--data", str(tmp_path / "data"))
    line = {"uri": "/buckets/b", "data": {"n": 1}, "permissions": {"read": ["system.Everyone"]}}
    (tmp_path / "in.jsonl").write_text(json.dumps(line))
    command = [sys.executable, "-m", "server", "import", "in.jsonl", "--data", "data"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    client = Client(server.url)
    try:
        assert client.get("/buckets/b").data["n"] == 1
    finally:
        client.close()


@pytest.mark.gen_test(timeout=60)
async def test_folder_whose_server_does_not_answer_is_told(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.lock()
    try:
        with pytest.raises(StorageError, match="is used by another server"):
            async with open_target(load_settings({}, data_dir=folder.path)):
                pass
    finally:
        folder.unlock()
