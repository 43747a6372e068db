"""live.js in Node, against real servers: what an app is told, and that it ends as GET says."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from tests.servers import ThreadServer
from tests.static.conftest import Notes, OpenNotes, OpenRelay, Serve, port_of, settle
from tests.static.followers import BOB, Follower, parse
from tests.static.relays import Relay


class Writers:
    """Several who write all the time while a block runs, and a little longer.

    Attributes:
        cursors: of what they wrote.
    """

    def __init__(self, notes: Notes, url: str) -> None:
        self.cursors: list[str] = []
        self._notes = notes
        self._url = url
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(3)
        self._work: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._work = [self._pool.submit(self._write, number) for number in range(3)]
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for one in self._work:
            one.result(60)
        self._pool.shutdown()

    def _write(self, number: int) -> None:
        notes = Notes(self._url, self._notes.bucket)
        rest = 3
        while rest:
            rest -= self._done.is_set()
            for turn in range(7):
                uri, body = f"{notes.records}/r{turn % 5}", {"data": {"title": f"{number}/{turn}"}}
                method, sent = ("PUT", body) if turn < 6 else ("DELETE", None)
                answer = notes.by("alice").ask(method, uri, sent)
                if answer.is_success:
                    self.cursors.append(answer.headers["Cursor"])
        notes.close()


def test_snapshot_comes_in_pages_and_what_follows_keeps_the_copy_equal_to_get(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    requests = [
        {"method": "PUT", "path": f"{notes.records}/n{i}", "body": {"data": {"n": i}}}
        for i in range(600)
    ]
    for start in range(0, 600, 25):
        body = {"requests": requests[start : start + 25]}
        assert notes.by("alice").ask("POST", "/batch", body).status == 200
    follower.connect(server.url)
    follower.subscribe(notes.records)
    first = follower.wait_for("snapshot", more=True)
    assert (len(first.value["data"]), first.cursor) == (500, None)
    last = follower.wait_for("snapshot", more=False)
    assert len(last.value["data"]) == 100
    ready = follower.wait_for("ready")
    assert last.cursor == ready.value["cursor"] == ready.cursor
    notes.write("n1", "changed")
    notes.remove("n2")
    notes.write("late", "new")
    actions = [follower.wait_for("event").value["action"] for _ in range(3)]
    assert actions == ["update", "delete", "create"]
    settle(follower, notes)
    assert follower.copy().resets == []


def test_nothing_is_lost_or_told_twice_while_the_connection_is_cut_under_writers(
    server: ThreadServer, notes: Notes, follower: Follower, relay: Relay
) -> None:
    follower.connect(relay.url)
    follower.subscribe(notes.records)
    follower.subscribe(notes.records, "all", history="all")
    follower.subscribe(f"{notes.records}?title=0/1", "some")
    follower.wait_for("ready", "some")
    with Writers(notes, server.url) as writers:
        for _ in range(3):
            for _ in range(5):
                follower.wait_for("event", "all")
            relay.cut()
            follower.wait_for("state", "live", state="waiting")
            relay.restore()
            follower.wait_for("state", "live", state="open")
    settle(follower, notes)
    settle(follower, notes, "all")
    wanted = notes.read(query="?title=0/1")
    follower.wait_until(lambda: follower.copy("some").records == wanted)
    assert follower.copy("all").events == sorted(parse(one) for one in writers.cursors)
    assert [follower.copy(of).resets for of in ("list", "all", "some")] == [[], [], []]
    assert follower.count("error") == follower.count("error", "all") == 0


def test_connection_that_has_gone_silent_is_given_up_and_nothing_is_lost(
    notes: Notes, follower: Follower, relay: Relay
) -> None:
    follower.connect(relay.url)
    follower.subscribe(notes.records)
    follower.wait_for("ready")
    relay.swallow()
    notes.write("unheard", "of")
    lost = follower.wait_for("state", "live", state="waiting")
    assert lost.value["reason"] == "nothing was heard"
    follower.wait_for("event")
    settle(follower, notes)


def test_connection_on_which_nothing_changes_is_kept(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    follower.connect(server.url)
    follower.subscribe(notes.records)
    follower.subscribe(f"{notes.records}?title=none", "none")
    follower.wait_for("ready", "none")
    notes.write("a", "not of this filter")
    # Each of these takes as long as a heartbeat, so several of them would be too long a silence.
    for number in range(3):
        notes.write("a", f"still not {number}")
        follower.wait_for("progress", "none")
    assert follower.count("state", "live") == 1


def test_subscription_from_now_loses_nothing_though_it_is_cut_before_anything_comes(
    notes: Notes, follower: Follower, relay: Relay
) -> None:
    notes.write("before", "then")
    follower.connect(relay.url)
    follower.subscribe(notes.records, since="now")
    assert follower.wait_for("ready").cursor is not None
    relay.cut()
    notes.write("meanwhile", "cut")
    relay.restore()
    told = follower.wait_for("event").value
    assert told["data"]["id"] == "meanwhile"
    assert set(follower.copy().records) == {"meanwhile"}


def test_subscription_takes_an_etag_to_go_on_from(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    notes.write("a", "known")
    etag = notes.by("alice").get(notes.records).etag
    notes.write("b", "not known")
    follower.connect(server.url)
    follower.subscribe(notes.records, since=etag)
    follower.wait_for("ready")
    assert list(follower.copy().records) == ["b"]
    assert follower.count("error") == 0


def test_ids_and_pokes_and_what_is_included_are_told_as_asked_for(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    follower.connect(server.url)
    follower.subscribe(notes.records, "ids", deliver="ids")
    follower.subscribe(notes.records, "poke", deliver="poke")
    follower.subscribe(notes.records, "more", include=["user_id", "old", "permissions"])
    for of in ("ids", "poke", "more"):
        follower.wait_for("ready", of)
    notes.write("a", "one")
    assert follower.wait_for("event", "more").value["user_id"] == notes.id_of("alice")
    notes.write("a", "two")
    assert follower.wait_for("event", "more").value["old"]["title"] == "one"
    follower.wait_until(lambda: follower.count("event", "ids") == 2)
    follower.wait_until(lambda: follower.count("poke", "poke") == 2)
    (ids,) = follower.copy("ids").records.values()
    assert set(ids) == {"id", "last_modified"}
    pokes = [one for one in follower.reports if one.what == "poke"]
    assert pokes[-1].value["cursor"] == pokes[-1].cursor


def test_more_than_one_message_holds_is_asked_for_again_after_a_cut(
    notes: Notes, follower: Follower, relay: Relay
) -> None:
    follower.connect(relay.url)
    names = [f"s{number}" for number in range(100)]
    for name in names:
        follower.subscribe(f"{notes.records}?title={'x' * 1000}{name}", name)
    follower.wait_until(lambda: all(follower.count("ready", name) == 1 for name in names))
    relay.cut()
    relay.restore()
    follower.wait_until(lambda: all(follower.count("ready", name) == 2 for name in names))
    assert follower.count("state", "live") < 20


def test_closed_subscription_is_told_nothing_more(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    follower.connect(server.url)
    follower.subscribe(notes.records, "closed")
    follower.subscribe(notes.records, "kept")
    follower.wait_for("ready", "kept")
    follower.end("closed")
    notes.write("a", "one")
    follower.wait_for("event", "kept")
    assert follower.count("event", "closed") == follower.count("end", "closed") == 0
    follower.end("live")
    follower.subscribe(notes.records, "late")
    assert "closed" in follower.wait_for("thrown", "late").value["message"]


def test_loop_reads_all_that_is_told_and_leaving_it_closes_the_subscription(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    notes.write("a", "one")
    follower.connect(server.url)
    follower.iterate(notes.records, leave_after="event")
    assert follower.wait_for("snapshot").value["data"][0]["title"] == "one"
    follower.wait_for("ready")
    notes.write("a", "two")
    follower.wait_for("event")
    follower.wait_for("left")
    follower.iterate("/buckets/none/collections/c/records", "refused")
    assert follower.wait_for("thrown", "refused").value["code"] == 403


def test_record_shared_and_unshared_enters_and_leaves(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    bob = notes.id_of("bob")
    notes.write("first", "for bob", read=[bob])
    follower.connect(server.url, authorization=BOB)
    follower.subscribe(notes.records)
    follower.wait_for("ready")
    notes.write("private", "not for bob")
    notes.write("second", "also for bob", read=[bob])
    told = follower.wait_for("event").value
    assert (told["action"], told["data"]["id"]) == ("create", "second")
    notes.permit(f"{notes.records}/first", read=[])
    told = follower.wait_for("event").value
    assert (told["action"], told["data"], told["reason"]) == (
        "leave",
        {"id": "first"},
        "permission",
    )
    notes.permit(f"{notes.records}/private", read=[bob])
    assert follower.wait_for("event").value["action"] == "enter"
    assert follower.copy().records == notes.read("bob")


def test_right_on_the_list_gained_and_lost_begins_anew_and_losing_all_ends(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    bob = notes.id_of("bob")
    notes.write("shared", "for bob", read=[bob])
    notes.write("private", "not for bob")
    follower.connect(server.url, authorization=BOB)
    follower.subscribe(notes.records)
    follower.wait_for("ready")
    assert set(follower.copy().records) == {"shared"}
    notes.permit(notes.uri, read=[bob])
    assert follower.wait_for("reset").value["reason"] == "permissions-changed"
    follower.wait_for("ready")
    assert set(follower.copy().records) == {"shared", "private"}
    notes.permit(notes.uri, read=[])
    follower.wait_for("reset")
    follower.wait_for("ready")
    assert set(follower.copy().records) == {"shared"}
    notes.permit(notes.uri, read=[bob])
    notes.permit(f"{notes.records}/shared", read=[])
    follower.wait_for("ready")
    notes.permit(notes.uri, read=[])
    ended = follower.wait_for("end").value
    assert (ended["code"], ended["purge"], ended["error"]["final"]) == (403, True, True)
    assert follower.count("state", "live") == 1


def test_right_lost_while_the_connection_is_cut_begins_anew(
    notes: Notes, follower: Follower, relay: Relay
) -> None:
    bob = notes.id_of("bob")
    notes.permit(notes.uri, read=[bob])
    notes.write("shared", "for bob", read=[bob])
    notes.write("private", "not for bob")
    follower.connect(relay.url, authorization=BOB)
    follower.subscribe(notes.records)
    follower.wait_for("ready")
    relay.cut()
    notes.permit(notes.uri, read=[])
    relay.restore()
    assert follower.wait_for("reset").value["reason"] == "permissions-changed"
    follower.wait_for("ready")
    assert set(follower.copy().records) == {"shared"}


def test_who_waits_to_be_let_in_is_told_once_that_is_so(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    notes.write("a", "one")
    follower.connect(server.url, authorization=BOB)
    follower.subscribe(notes.records, onDenied="wait")
    follower.subscribe(notes.records, "refused")
    refused = follower.wait_for("end", "refused").value
    assert (refused["code"], refused["purge"]) == (403, False)
    notes.permit(notes.uri, read=[notes.id_of("bob")])
    follower.wait_for("ready")
    assert set(follower.copy().records) == {"a"}
    notes.remove(notes.uri)
    ended = follower.wait_for("end").value
    assert (ended["code"], ended["purge"]) == (404, True)


def test_cursor_of_a_collection_that_was_made_again_begins_anew(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    notes.write("old", "of the first")
    etag = notes.by("alice").get(notes.records).etag
    notes.remove(notes.uri)
    notes.make()
    notes.write("new", "of the second")
    follower.connect(server.url)
    follower.subscribe(notes.records, since=etag)
    error = follower.wait_for("error").value
    assert (error["code"], error["errno"], error["final"]) == (410, 118, False)
    assert follower.wait_for("reset").value["reason"] == "floor"
    follower.wait_for("ready")
    assert follower.copy().records == notes.read()


def test_cursor_that_is_none_is_refused(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    follower.connect(server.url)
    follower.subscribe(notes.records, since="yesterday")
    ended = follower.wait_for("end").value
    assert (ended["code"], ended["error"]["errno"]) == (400, 107)
    follower.subscribe(notes.records)
    follower.wait_for("ready")


def test_wrong_credentials_end_the_connection_and_all_its_subscriptions(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    follower.connect(server.url, authorization="Bearer none")
    follower.subscribe(notes.records)
    closed = follower.wait_for("state", "live", state="closed").value
    assert (closed["code"], closed["error"]["code"]) == (4401, 401)
    assert follower.wait_for("error").value["final"]
    assert follower.wait_for("end").value["code"] == 401


def test_credentials_are_asked_for_again_where_they_were_refused(
    server: ThreadServer, notes: Notes, follower: Follower
) -> None:
    follower.connect(server.url, credentials=["Bearer old", "Basic YWxpY2U6c2VjcmV0"])
    follower.subscribe(notes.records)
    follower.wait_for("state", "live", state="waiting", code=4401)
    follower.wait_for("ready")
    follower.connect(server.url, "other", credentials=["Bearer same"])
    follower.wait_for("state", "other", state="waiting", code=4401)
    follower.wait_for("state", "other", state="closed", code=4401)


def test_another_database_behind_the_same_address_begins_everything_anew(
    serve: Serve, open_notes: OpenNotes, open_relay: OpenRelay, follower: Follower
) -> None:
    first, second = serve(), serve()
    notes = open_notes(first.url)
    notes.write("old", "of the first")
    again = Notes(second.url, notes.bucket)
    again.write("new", "of the second")
    relay = open_relay(first.url)
    follower.connect(relay.url)
    follower.subscribe(notes.records)
    follower.subscribe(f"{notes.records}?title=none", "now", since="now")
    follower.wait_for("ready", "now")
    known = next(one.value["epoch"] for one in follower.reports if one.what == "state")
    relay.cut()
    relay.target = port_of(second.url)
    relay.restore()
    assert follower.wait_for("reset").value["reason"] == "epoch"
    follower.wait_for("ready")
    assert follower.copy().records == again.read()
    follower.wait_until(lambda: follower.copy("now").resets == ["epoch"])
    # As an app that kept its cursor, and the epoch beside it, while it did not run.
    follower.connect(relay.url, "later", epoch=known)
    follower.subscribe(notes.records, "kept", on="later", since="1")
    follower.wait_for("state", "later", state="waiting")
    assert follower.wait_for("reset", "kept").value["reason"] == "epoch"
    again.close()
