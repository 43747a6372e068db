import dataclasses

import pytest
from click.testing import CliRunner
from tornado.ioloop import IOLoop

from server.app import open_storage
from server.config import Settings, load_settings
from server.purging import purge, purge_command
from server.storage.base import StorageError, StorageOptions
from server.storage.memory import MemoryStorage, open_memory
from tests.server.storage.scenes import RULES, Scene, delete, put
from tests.servers import run_alone


@pytest.fixture
def storage(io_loop: IOLoop) -> MemoryStorage:
    opened: MemoryStorage = io_loop.run_sync(lambda: open_memory(StorageOptions(RULES)))
    return opened


def keeping(count: int | None) -> Settings:
    settings = load_settings({})
    history = dataclasses.replace(settings.history, max_count=count)
    return dataclasses.replace(settings, history=history)


async def fill(storage: MemoryStorage) -> None:
    scene = Scene(storage, lambda: pytest.fail("nobody looks into it"))
    await scene.commit(put("/buckets/b"), put("/buckets/b/collections/c"))
    await scene.fill("/buckets/b/collections/c", {"n": 1}, {"n": 2}, {"n": 3})


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("dry", "left", "line"), [(False, 4, "2 entries of the log trimmed."), (True, 5, "would be")]
)
async def test_purge_says_what_went_from_which_bucket(
    dry: bool, left: int, line: str, storage: MemoryStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(storage)
    await purge(storage, keeping(1), dry_run=dry)
    shown = capsys.readouterr().out
    assert "b: 2" in shown
    assert line in shown
    # Of the collection the last that was trimmed stays, as a mark.
    assert len(storage.revisions) == left


@pytest.mark.gen_test
async def test_purge_without_limits_takes_nothing_from_the_log(
    storage: MemoryStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(storage)
    await purge(storage, keeping(None), dry_run=False)
    assert "kept for ever" in capsys.readouterr().out
    assert len(storage.revisions) == 5


def test_command_purges_the_database_of_the_settings(mongo_uri: str, mongo_database: str) -> None:
    environ = {
        "MONGODB_URI": mongo_uri,
        "KINTO_MONGODB_DATABASE": mongo_database,
        "KINTO_HISTORY_MAX_COUNT": "0",
        "KINTO_INI": "",
    }

    async def prepare() -> None:
        opened = await open_storage(load_settings(environ))
        scene = Scene(opened, lambda: pytest.fail("nobody looks into it"))
        await scene.commit(put("/buckets/b"), put("/buckets/b/collections/c"))
        await scene.fill("/buckets/b/collections/c", {"n": 1})
        await scene.do(delete("/buckets/b/collections/c/records/r0"))
        await opened.close()

    run_alone(prepare())
    result = CliRunner().invoke(purge_command, [], env=environ)
    assert result.exit_code == 0, result.output
    assert "2 entries of the log trimmed." in result.output
    result = CliRunner().invoke(purge_command, [], env=environ)
    assert "0 entries of the log trimmed." in result.output


def test_command_needs_a_database_that_lasts() -> None:
    environ = {"KINTO_STORAGE_BACKEND": "memory", "MONGODB_URI": "", "KINTO_INI": ""}
    result = CliRunner().invoke(purge_command, [], env=environ)
    assert isinstance(result.exception, StorageError)
