import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from tornado.ioloop import IOLoop

from server.core.commands import Command, Outcome, Part
from server.core.errors import (
    Forbidden,
    ModifiedMeanwhile,
    QuotaExceeded,
    Unavailable,
    Unforeseen,
)
from server.core.paths import ListPath, parse_path
from server.core.preconditions import NONE, Precondition
from server.core.queries import parse_query
from server.service.lists import Lists
from server.service.pages import ListOptions, ListRequest
from server.storage.mongo.storage import MongoStorage
from tests.conftest import ExpectedLogs
from tests.faults import FaultyNetwork, Loss
from tests.server.storage.mongo.conftest import OpenStorage
from tests.server.storage.scenes import (
    ALICE,
    BOB,
    CROWDED,
    CROWDED_MAX,
    RULES,
    ReadLog,
    Scene,
    delete,
    patch,
    put,
    random_bucket,
)

pytestmark = pytest.mark.gen_test(timeout=60)

Client = MongoClient[dict[str, Any]]
FailCommand = Callable[..., None]


@pytest.fixture
def storage(io_loop: IOLoop, open_storage: OpenStorage) -> MongoStorage:
    opened: MongoStorage = io_loop.run_sync(open_storage)
    return opened


@pytest.fixture
def fail_command(mongo_client: Client) -> Iterator[FailCommand]:
    """Makes MongoDB fail the next commands of a name: ``fail_command(name, code, times=1)``."""

    def fail(name: str, code: int, times: int = 1) -> None:
        mode = {"times": times} if times else "alwaysOn"
        data = {
            "failCommands": [name],
            "errorCode": code,
            "errorLabels": ["TransientTransactionError"],
            "appName": "kintoun",
        }
        mongo_client.admin.command(
            {"configureFailPoint": "failCommand", "mode": mode, "data": data}
        )

    yield fail
    mongo_client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@pytest.fixture
def faulty(
    io_loop: IOLoop, network: FaultyNetwork, open_storage: OpenStorage, read_log: ReadLog
) -> Scene:
    """A storage behind the faulty network."""
    opened = io_loop.run_sync(lambda: open_storage(uri=network.uri, write_timeout_seconds=10))
    return Scene(opened, read_log)


WRITE_CONFLICT, NO_SUCH_TRANSACTION, TOO_OLD = 112, 251, 225
INTERRUPTED = 11601


@pytest.mark.parametrize("name", ["find", "update", "insert", "commitTransaction"])
@pytest.mark.parametrize(("code", "times"), [(WRITE_CONFLICT, 5), (NO_SUCH_TRANSACTION, 2)])
async def test_transaction_that_mongodb_aborts_runs_again_unseen(
    scene: Scene, fail_command: FailCommand, name: str, code: int, times: int
) -> None:
    uri = await scene.make_collection() + "/records"
    made = await scene.write(put(f"{uri}/r"))
    fail_command(name, code, times)
    only = Precondition(match=made.last_modified)
    changed = await scene.write(put(f"{uri}/r", {"n": 1}, only=only))
    log = [one for one in await scene.log() if one.uri == f"{uri}/r"]
    assert [(one.action, one.position) for one in log] == [
        ("create", made.position),
        ("update", changed.position),
    ]
    assert (await scene.clock(uri)).live == 1


async def test_command_that_always_fails_alone_is_503_and_the_next_one_is_not(
    scene: Scene, fail_command: FailCommand
) -> None:
    uri = await scene.make_collection() + "/records"
    fail_command("insert", TOO_OLD, 0)
    answers = await asyncio.gather(
        *(scene.commit(put(f"{uri}/r{index}")) for index in range(3)), return_exceptions=True
    )
    assert [type(one) for one in answers] == [Unavailable] * 3
    fail_command("insert", TOO_OLD, 1)
    await scene.do(put(f"{uri}/after"))
    assert await scene.ids(uri) == ["after"]


@pytest.mark.parametrize("loss", Loss)
# The driver itself tries twice.
@pytest.mark.parametrize(("driver", "times"), [("pymongo", 1), ("pymongo", 3), ("motor", 3)])
async def test_commit_that_is_lost_on_its_way_is_applied_once(
    network: FaultyNetwork,
    open_storage: OpenStorage,
    read_log: ReadLog,
    driver: str,
    loss: Loss,
    times: int,
) -> None:
    scene = Scene(await open_storage(uri=network.uri, driver=driver), read_log)
    uri = await scene.make_collection() + "/records"
    made = await scene.write(put(f"{uri}/r"))
    network.lose("commitTransaction", loss, times)
    # Decided a second time on what it has stored itself, this would be refused.
    only = Precondition(match=made.last_modified)
    changed = await scene.write(put(f"{uri}/r", {"n": 1}, only=only))
    assert await scene.find(f"{uri}/r") == changed
    log = [one for one in await scene.log() if one.uri == f"{uri}/r"]
    assert [one.position for one in log] == [made.position, changed.position]


async def test_commit_that_never_arrives_and_whose_transaction_is_gone_is_decided_again(
    network: FaultyNetwork, faulty: Scene, mongo_client: Client
) -> None:
    uri = await faulty.make_collection() + "/records"
    made = await faulty.write(put(f"{uri}/r"))
    held = network.hold("commitTransaction")
    network.lose("commitTransaction", Loss.REQUEST)
    only = Precondition(match=made.last_modified)
    writing = asyncio.ensure_future(faulty.write(put(f"{uri}/r", {"n": 1}, only=only)))
    await held.arrived.wait()
    mongo_client.admin.command({"killAllSessions": []})
    held.released.set()
    changed = await writing
    assert await faulty.find(f"{uri}/r") == changed
    log = [one for one in await faulty.log() if one.uri == f"{uri}/r"]
    assert [one.position for one in log] == [made.position, changed.position]


async def test_commit_that_is_applied_and_then_denied_is_not_applied_again(
    network: FaultyNetwork, faulty: Scene, fail_command: FailCommand
) -> None:
    uri = await faulty.make_collection() + "/records"
    made = await faulty.write(put(f"{uri}/r"))
    held = network.hold("commitTransaction")
    network.lose("commitTransaction", Loss.REPLY)
    only = Precondition(match=made.last_modified)
    writing = asyncio.ensure_future(faulty.write(put(f"{uri}/r", {"n": 1}, only=only)))
    await held.arrived.wait()
    again = network.hold("commitTransaction")
    held.released.set()
    await again.arrived.wait()
    fail_command("commitTransaction", NO_SUCH_TRANSACTION)
    again.released.set()
    changed = await writing
    assert await faulty.find(f"{uri}/r") == changed
    assert len([one for one in await faulty.log() if one.uri == f"{uri}/r"]) == 2


@pytest.mark.parametrize("name", ["find", "update", "insert", "commitTransaction"])
async def test_operation_that_somebody_kills_is_tried_again(
    scene: Scene, mongo_client: Client, fail_command: FailCommand, name: str
) -> None:
    uri = await scene.make_collection() + "/records"
    data = {"failCommands": [name], "errorCode": INTERRUPTED, "appName": "kintoun"}
    point = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data}
    mongo_client.admin.command(point)
    await scene.write(put(f"{uri}/r"))
    assert len([one for one in await scene.log() if one.uri == f"{uri}/r"]) == 1


async def test_commit_that_is_interrupted_while_the_majority_gets_it_is_applied_once(
    scene: Scene, fail_command: FailCommand, mongo_client: Client
) -> None:
    uri = await scene.make_collection() + "/records"
    await scene.write(put(f"{uri}/r"))
    interrupted = {"code": INTERRUPTED, "errmsg": "operation was interrupted"}
    data = {
        "failCommands": ["commitTransaction"],
        "writeConcernError": interrupted,
        "appName": "kintoun",
    }
    point = {"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": data}
    mongo_client.admin.command(point)
    await asyncio.gather(*(scene.write(put(f"{uri}/r", {"n": n})) for n in range(3)))
    assert len([one for one in await scene.log() if one.uri == f"{uri}/r"]) == 4


async def test_lost_connection_before_the_commit_is_tried_again(
    network: FaultyNetwork, faulty: Scene
) -> None:
    uri = await faulty.make_collection() + "/records"
    for name, loss in (("find", Loss.REQUEST), ("update", Loss.REPLY), ("insert", Loss.REPLY)):
        network.lose(name, loss)
        await faulty.do(put(f"{uri}/{name}"))
    assert await faulty.ids(uri) == ["insert", "update", "find"]
    assert len([one for one in await faulty.log() if one.list == uri]) == 3


async def test_command_that_cannot_be_encoded_fails_alone(
    scene: Scene, expected_logs: ExpectedLogs
) -> None:
    expected_logs("ERROR server.storage.mongo.ledger: a command could not be committed")
    uri = await scene.make_collection() + "/records"
    # Permissions of 20 MB pass nobody's check here, and no document may be so large.
    large = {"read": [f"basicauth:{number:0200}" for number in range(100_000)]}
    commands = [put(f"{uri}/a"), put(f"{uri}/bad", acl=large), put(f"{uri}/c")]
    answers = await asyncio.gather(*(scene.commit(one) for one in commands), return_exceptions=True)
    assert [isinstance(one, Unforeseen) for one in answers] == [False, True, False]
    assert await scene.ids(uri) == ["c", "a"]


async def test_transaction_of_a_killed_process_is_ended_by_who_waits_for_it(
    scene: Scene, mongo_uri: str, mongo_client: Client, mongo_database: str
) -> None:
    collection = await scene.make_collection()
    bucket = collection.split("/collections")[0]
    lifetime = "transactionLifetimeLimitSeconds"
    mongo_client.admin.command({"setParameter": 1, lifetime: 600})
    with Client(mongo_uri, appname="kintoun") as killed, killed.start_session() as session:
        session.start_transaction()
        lock = {"$inc": {"lock": 1}}
        killed[mongo_database]["objects"].update_one({"_id": bucket}, lock, session=session)
        try:
            await scene.do(put(f"{collection}/records/r"))
        finally:
            mongo_client.admin.command({"setParameter": 1, lifetime: 5})
        with pytest.raises(OperationFailure) as failure:
            session.commit_transaction()
        assert failure.value.code == NO_SUCH_TRANSACTION
    assert await scene.find(f"{collection}/records/r") is not None


async def test_while_the_database_is_gone_writes_are_503_and_afterwards_they_go_on(
    network: FaultyNetwork, open_storage: OpenStorage, read_log: ReadLog
) -> None:
    options = {"uri": network.uri, "write_timeout_seconds": 0.3, "retry_after_seconds": 7}
    scene = Scene(await open_storage(**options), read_log)
    uri = await scene.make_collection() + "/records"
    await network.cut()
    answers = await asyncio.gather(
        *(scene.commit(put(f"{uri}/r{index}")) for index in range(3)), return_exceptions=True
    )
    for answer in answers:
        assert isinstance(answer, Unavailable)
        assert (answer.status, answer.errno) == (503, 201)
        assert answer.headers == {"Retry-After": "7"}
    await network.restore()
    written = False
    for number in range(100):
        try:
            await scene.do(put(f"{uri}/after{number}"))
            written = True
            break
        except Unavailable:
            continue
    assert written
    log = [one.uri for one in await scene.log() if one.list == uri]
    assert len(log) == len(set(log))


async def test_waiter_that_gave_up_before_it_was_taken_has_written_nothing(
    network: FaultyNetwork, open_storage: OpenStorage, read_log: ReadLog
) -> None:
    scene = Scene(await open_storage(uri=network.uri, write_timeout_seconds=0.3), read_log)
    uri = await scene.make_collection() + "/records"
    held = network.hold("commitTransaction")
    first = asyncio.ensure_future(scene.commit(put(f"{uri}/taken")))
    await held.arrived.wait()
    second = asyncio.ensure_future(scene.commit(put(f"{uri}/late")))
    third = asyncio.ensure_future(scene.commit(put(f"{uri}/cancelled")))
    await asyncio.sleep(0)
    third.cancel()
    with pytest.raises(Unavailable, match="may have happened"):
        await first
    with pytest.raises(Unavailable, match="Nothing was written"):
        await second
    held.released.set()
    await scene.do(put(f"{uri}/after"))
    assert await scene.ids(uri) == ["after", "taken"]


async def test_waiting_creations_are_one_transaction_of_four_commands(
    network: FaultyNetwork, faulty: Scene
) -> None:
    uri = await faulty.make_collection() + "/records"
    held = network.hold("commitTransaction")
    first = asyncio.ensure_future(faulty.commit(put(f"{uri}/first")))
    await held.arrived.wait()
    network.commands.clear()
    others = asyncio.gather(*(faulty.commit(put(f"{uri}/r{n}")) for n in range(500)))
    await asyncio.sleep(0)
    held.released.set()
    await first
    answers = await others
    assert all(one.created for (one,) in answers)
    assert network.commands == ["find", "update", "insert", "commitTransaction"]
    assert (await faulty.clock(uri)).live == 501


async def test_list_is_deleted_by_few_commands_however_long_it_is(
    network: FaultyNetwork, faulty: Scene
) -> None:
    uri = await faulty.make_collection() + "/records"
    await faulty.commit(*(put(f"{uri}/r{n}") for n in range(200)))
    network.commands.clear()
    path = parse_path(uri)
    assert isinstance(path, ListPath)
    query = parse_query([])
    request = ListRequest(ALICE, path, query, NONE, 0)
    outcome, _ = await Lists(faulty.storage, ListOptions(RULES, b"s" * 32)).delete(request)
    assert len(outcome.tombstones) == 200
    # Who may, what is there, and what it is decided on; then what is written.
    assert network.commands == [*["find"] * 3, "update", "insert", "commitTransaction"]


async def test_large_commands_are_cut_into_messages_that_mongodb_accepts(
    network: FaultyNetwork, faulty: Scene
) -> None:
    uri = await faulty.make_collection() + "/records"
    held = network.hold("commitTransaction")
    first = asyncio.ensure_future(faulty.commit(put(f"{uri}/first")))
    await held.arrived.wait()
    network.commands.clear()
    # An array of digits takes six times as much in its shadow as in its text.
    data, size = {"a": [1] * 120_000}, 240_000
    others = asyncio.gather(
        *(faulty.commit(put(f"{uri}/r{n}", data), size=size) for n in range(12))
    )
    await asyncio.sleep(0)
    held.released.set()
    await first
    await others
    counts = Counter(network.commands)
    assert counts["commitTransaction"] == 1
    assert counts["update"] == 2


async def test_chain_of_an_object_is_read_by_one_find(
    network: FaultyNetwork, faulty: Scene
) -> None:
    collection = await faulty.make_collection()
    await faulty.do(put(f"{collection}/records/r"))
    network.commands.clear()
    assert await faulty.find(f"{collection}/records/r") is not None
    assert network.commands == ["find"]


async def test_closing_commits_what_waits_and_refuses_what_comes(
    open_storage: OpenStorage, read_log: ReadLog, scene: Scene
) -> None:
    uri = await scene.make_collection() + "/records"
    closing = await open_storage()
    waiting = [
        asyncio.ensure_future(closing.commit(Command((put(f"{uri}/r{n}"),)))) for n in range(5)
    ]
    await asyncio.sleep(0)
    await closing.close()
    for answer in await asyncio.gather(*waiting):
        assert isinstance(answer[0], Outcome)
    with pytest.raises(Unavailable, match="Nothing was written"):
        await closing.commit(Command((put(f"{uri}/late"),)))
    assert len(await scene.ids(uri)) == 5


async def test_two_processes_writing_one_bucket_lose_nothing_and_see_no_conflict(
    scene: Scene, open_storage: OpenStorage, read_log: ReadLog
) -> None:
    other = Scene(await open_storage(), read_log)
    uri = await scene.make_collection() + "/records"
    made = await scene.write(put(f"{uri}/contended"))

    async def write(through: Scene, name: str) -> None:
        for number in range(15):
            await through.do(put(f"{uri}/{name}-{number}"))

    only = Precondition(match=made.last_modified)
    contended = [one.commit(put(f"{uri}/contended", only=only)) for one in (scene, other) * 10]
    contest = asyncio.gather(*contended)
    await asyncio.gather(
        *(write(one, f"w{number}") for number, one in enumerate((scene, other) * 4))
    )
    verdicts = await contest
    assert sum(not isinstance(one, ModifiedMeanwhile) for (one,) in verdicts) == 1
    log = sorted((one for one in await scene.log() if one.list == uri), key=lambda one: one.seq)
    assert len(log) == 8 * 15 + 2
    assert [one.position for one in log] == sorted({one.position for one in log})
    assert (await scene.clock(uri)).live == 8 * 15 + 1


@pytest.mark.parametrize("shared", [True, False], ids=["same bucket", "another bucket"])
async def test_no_write_of_one_process_is_accepted_after_a_revocation_by_another(
    scene: Scene, open_storage: OpenStorage, read_log: ReadLog, *, shared: bool
) -> None:
    other = Scene(await open_storage(), read_log)
    home = random_bucket()
    keys = home if shared else random_bucket()
    group, uri = f"{keys}/groups/g", f"{home}/collections/c/records"
    parts = [put(home), put(keys), put(group), put(uri.removesuffix("/records"))]
    await scene.commit(*parts)
    await scene.do(patch(uri.removesuffix("/records"), {}))
    await scene.do(put(uri.removesuffix("/records"), acl={"write": [group]}))

    async def write_until_refused(revoked: asyncio.Event) -> int:
        for accepted in range(1000):
            late = revoked.is_set()
            (verdict,) = await other.commit(put(f"{uri}/{secrets.token_hex(4)}", by=BOB))
            if isinstance(verdict, Forbidden):
                return accepted
            assert isinstance(verdict, Outcome)
            assert not late
        raise AssertionError("never refused")

    async def revoke(revoked: asyncio.Event) -> None:
        await scene.do(patch(group, {"members": []}))
        revoked.set()

    for _ in range(50):
        await scene.do(patch(group, {"members": [BOB.user_id]}))
        revoked = asyncio.Event()
        await asyncio.gather(write_until_refused(revoked), revoke(revoked))

    if shared:
        member = False
        for one in sorted(await scene.log(), key=lambda one: one.seq):
            if one.uri == group:
                member = BOB.user_id.encode() in one.json
            assert member or one.list != uri


@pytest.mark.parametrize("revocation", ["members", "group", "bucket"])
async def test_write_that_was_decided_before_a_revocation_is_refused_if_it_comes_after(
    network: FaultyNetwork, faulty: Scene, open_storage: OpenStorage, revocation: str
) -> None:
    other = Scene(await open_storage(), faulty.log)
    keys = random_bucket()
    group = f"{keys}/groups/g"
    await other.commit(put(keys), put(group, {"members": [BOB.user_id]}))
    uri = await other.make_collection({"write": [group]}) + "/records"
    revoke: dict[str, Part] = {
        "members": patch(group, {"members": []}),
        "group": delete(group),
        "bucket": delete(keys),
    }
    held = network.hold("update")
    writing = asyncio.ensure_future(faulty.commit(put(f"{uri}/late", by=BOB)))
    await held.arrived.wait()
    await other.do(revoke[revocation])
    held.released.set()
    (verdict,) = await writing
    assert isinstance(verdict, Forbidden)
    assert await other.ids(uri) == []


async def test_of_writers_in_two_processes_only_one_gets_the_last_place(
    scene: Scene, open_storage: OpenStorage
) -> None:
    other = await open_storage()
    await scene.commit(put(CROWDED), put(f"{CROWDED}/collections/c"))
    records = [put(f"{CROWDED}/collections/c/records/r{n}") for n in range(CROWDED_MAX - 1)]
    await scene.commit(*records)
    uris = [f"{CROWDED}/collections/c/records/last{n}" for n in range(10)]
    storages = [scene.storage, other] * 5
    verdicts = await asyncio.gather(
        *(one.commit(Command((put(uri),))) for one, uri in zip(storages, uris, strict=True))
    )
    kinds = Counter(type(verdict) for (verdict,) in verdicts)
    assert kinds == {Outcome: 1, QuotaExceeded: 9}
    assert (await scene.clock(f"{CROWDED}/changes")).live == CROWDED_MAX
