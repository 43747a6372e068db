import asyncio

import pytest

from server.core.errors import Unavailable
from server.core.sorting import SortKey, full_order
from server.storage.base import LogPage
from server.storage.mongo import storage as mongo_storage
from server.storage.mongo.driver import ConnectionFailure, OperationFailure
from server.storage.mongo.reads import is_passing
from tests.faults import FaultyNetwork, Loss
from tests.server.storage.mongo.conftest import OpenStorage
from tests.server.storage.scenes import ReadLog, Scene, delete, list_path, make_page, put

pytestmark = pytest.mark.gen_test(timeout=60)


@pytest.fixture
def order() -> tuple[SortKey, ...]:
    return full_order([SortKey("n", descending=True)])


async def make_scene(network: FaultyNetwork, open_storage: OpenStorage, log: ReadLog) -> Scene:
    return Scene(await open_storage(uri=network.uri), log)


async def test_lists_of_more_than_one_reply_are_read_to_their_end(
    network: FaultyNetwork,
    open_storage: OpenStorage,
    read_log: ReadLog,
    order: tuple[SortKey, ...],
) -> None:
    scene = await make_scene(network, open_storage, read_log)
    uri = await scene.make_collection() + "/records"
    await asyncio.gather(*(scene.commit(put(f"{uri}/r{n}", {"n": n})) for n in range(1200)))
    network.commands.clear()
    assert len(await scene.ids(uri, limit=5000)) == 1200
    assert network.commands == ["find"]
    network.commands.clear()
    async with scene.storage.snapshot() as snapshot:
        assert await snapshot.count(make_page(uri, "min_n=100")) == 1100
        # While the cursor is open, others write; its instant does not move.
        await scene.do(delete(f"{uri}/r700"))
        assert await snapshot.count(make_page(uri, "min_n=100")) == 1100
        page = await snapshot.page(make_page(uri, "min_n=100", order=order, limit=2000))
        assert [one.data["n"] for one in page] == list(range(1199, 99, -1))
    assert network.commands.count("getMore") >= 6


async def test_cursor_that_nobody_reads_to_its_end_is_closed(
    network: FaultyNetwork, open_storage: OpenStorage, read_log: ReadLog
) -> None:
    scene = await make_scene(network, open_storage, read_log)
    uri = await scene.make_collection() + "/records"
    await asyncio.gather(*(scene.commit(put(f"{uri}/r{n}", {"n": n})) for n in range(40)))
    network.commands.clear()
    # A condition of which the database knows nothing: it finds more than is wanted.
    assert await scene.ids(uri, "not_n=39", limit=5) == ["r38", "r37", "r36", "r35", "r34"]
    assert network.commands[-1] == "killCursors"


async def test_page_that_ends_with_its_bytes_does_not_read_many_more(
    network: FaultyNetwork, open_storage: OpenStorage, read_log: ReadLog
) -> None:
    scene = await make_scene(network, open_storage, read_log)
    uri = await scene.make_collection() + "/records"
    text = {"text": "x" * 10_000}
    await asyncio.gather(*(scene.commit(put(f"{uri}/r{n}", text)) for n in range(120)))
    network.commands.clear()
    assert len(await scene.ids(uri, limit=100, max_bytes=500_000)) == 50
    # Of the small ones at once enough, then as many as fit, and no third time.
    assert network.commands == ["find", "getMore", "killCursors"]
    network.commands.clear()
    async with scene.storage.snapshot() as snapshot:
        log = await snapshot.log(LogPage(list_path(uri), 0, 1 << 62, 100, max_bytes=500_000))
        assert len(log) == 50
    assert network.commands == ["find", "getMore", "killCursors"]
    network.commands.clear()
    async with scene.storage.snapshot() as snapshot:
        log = await snapshot.log(LogPage(list_path(uri), 0, 1 << 62, 100, texts=False))
        assert len(log) == 100
    assert network.commands == ["find"]


async def test_read_whose_connection_is_lost_is_done_again(
    network: FaultyNetwork, open_storage: OpenStorage, read_log: ReadLog
) -> None:
    scene = await make_scene(network, open_storage, read_log)
    collection = await scene.make_collection()
    network.lose("find", Loss.REPLY)
    assert await scene.find(collection) is not None
    network.lose("find", Loss.REQUEST)
    assert await scene.ids(f"{collection}/records") == []


async def test_read_while_the_database_is_gone_is_503(
    network: FaultyNetwork,
    open_storage: OpenStorage,
    read_log: ReadLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mongo_storage, "SELECTION_TIMEOUT_MS", 200)
    scene = Scene(await open_storage(uri=network.uri, retry_after_seconds=9), read_log)
    collection = await scene.make_collection()
    await network.cut()
    with pytest.raises(Unavailable) as refusal:
        await scene.find(collection)
    assert refusal.value.headers == {"Retry-After": "9"}
    with pytest.raises(Unavailable):
        await scene.ids(f"{collection}/records")
    with pytest.raises(Unavailable):
        await scene.storage.claim("nonce", 5)
    assert not await scene.storage.check()
    await network.restore()


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (ConnectionFailure("gone"), True),
        # CursorNotFound, CursorKilled, SnapshotTooOld, SnapshotUnavailable, Interrupted.
        *[(OperationFailure("x", code), True) for code in (43, 237, 239, 246, 11601)],
        (OperationFailure("unauthorized", 13), False),
        (ValueError(), False),
        (None, False),
    ],
)
def test_read_that_may_succeed_when_it_is_asked_again_is_known(
    error: BaseException | None, passing: bool
) -> None:
    assert is_passing(error) is passing
