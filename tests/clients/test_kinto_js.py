"""kinto.js, as npm has it, run by Node: replicas edited offline, conflicts, signals."""

import pytest

from tests.clients.conftest import Play, Serve


def test_replicas_that_were_edited_offline_become_equal_to_each_other_and_to_the_server(
    serve: Serve, play: Play
) -> None:
    seen = play(serve(), "offline_edits")
    assert all(sync["ok"] for sync in seen["syncs"])
    written = {"keep": "a", "edit": "a", "drop": "a", "other": "b", "gone": "b"}
    first = {id_: f"{by} wrote {id_}" for id_, by in written.items()}
    assert seen["first"] == {"a": first, "b": first, "server": first}
    second = {"keep": "a wrote keep", "edit": "a edited", "other": "b edited"}
    assert seen["second"] == {"a": second, "b": second, "server": second}


def test_tombstones_are_left_of_what_replicas_deleted_but_not_of_what_they_never_published(
    serve: Serve, play: Play
) -> None:
    tombstone = ["deleted", "id", "last_modified"]
    seen = play(serve(), "offline_edits")
    assert seen["tombstones"] == [["drop", tombstone], ["gone", tombstone]]


OUTCOMES: dict[str, dict[str, str | None]] = {
    # What everyone ends with, by strategy; None means that the record is gone.
    "update/update": {"CLIENT_WINS": "ours", "SERVER_WINS": "theirs", "MANUAL": "ours and theirs"},
    "update/delete": {"CLIENT_WINS": "ours", "SERVER_WINS": None, "MANUAL": None},
    # kinto.js has no text to insist on where it deleted: it publishes the id alone, which
    # leaves the data of the server as they are.
    "delete/update": {"CLIENT_WINS": "theirs", "SERVER_WINS": "theirs", "MANUAL": "theirs"},
    "create/create": {"CLIENT_WINS": "ours", "SERVER_WINS": "theirs", "MANUAL": "ours and theirs"},
}


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
@pytest.mark.parametrize("strategy", ["CLIENT_WINS", "SERVER_WINS", "MANUAL"])
@pytest.mark.parametrize("edits", OUTCOMES)
def test_conflict_ends_as_the_strategy_says_on_both_replicas_and_the_server(
    serve: Serve, play: Play, edits: str, strategy: str, moment: str
) -> None:
    seen = play(serve(), "conflicts", edits, strategy, moment)
    title = OUTCOMES[edits][strategy]
    edited = "fresh" if edits == "create/create" else "note"
    expected = {"note": "first"} if edited == "fresh" else {}
    if title is not None:
        expected[edited] = title
    assert [seen["ours"], seen["theirs"], seen["server"]] == [expected] * 3
    assert [sync["errors"] for sync in seen["syncs"]] == [[], [], []]
    assert seen["syncs"][-1]["ok"]


@pytest.mark.parametrize("edits", OUTCOMES)
def test_conflict_met_while_publishing_shows_the_record_that_the_server_has(
    serve: Serve, play: Play, edits: str
) -> None:
    seen = play(serve(), "conflicts", edits, "MANUAL", "meanwhile")
    first = seen["syncs"][0]
    assert not first["ok"]
    [conflict] = first["conflicts"]
    assert conflict["type"] == "outgoing"
    if edits == "update/delete":
        assert conflict["remote"] is None
    else:
        assert conflict["remote"]["title"] == "theirs"


def test_more_edits_than_a_batch_may_hold_are_published_in_several(
    serve: Serve, play: Play
) -> None:
    seen = play(serve(), "many_edits")
    assert seen["batches"] == [3, 3]
    assert (seen["created"]["published"], seen["edited"]["published"]) == (60, 60)
    assert (seen["pulled"]["updated"], seen["pulled"]["deleted"]) == (30, 30)
    expected = {f"n{i}": f"n{i} again" for i in range(30)}
    assert seen["a"] == seen["b"] == seen["server"] == expected


def test_first_pull_in_pages_and_one_more_sync_lose_nothing_that_others_wrote_meanwhile(
    serve: Serve, play: Play
) -> None:
    seen = play(serve(paginate_by=7), "first_pull")
    assert seen["first"]["ok"]
    assert seen["second"]["ok"]
    assert seen["pages"] >= 8
    expected = {f"n{i:03}": f"n{i:03}" for i in range(60)}
    expected |= {"n000": "edited", "n059": "edited", "late": "late"}
    del expected["n058"]
    assert seen["server"] == expected
    assert seen["replica"] == expected


def test_server_is_not_taken_for_flushed_when_little_or_nothing_is_left_to_show(
    serve: Serve, play: Play
) -> None:
    seen = play(serve(), "quiet_changes")
    assert seen["failures"] == []
    assert seen["states"] == [{}, {}]
    assert seen["server"] == {}


def test_reader_of_some_records_syncs_on_while_the_others_change(serve: Serve, play: Play) -> None:
    seen = play(serve(), "shared_records")
    shared, again, another = (
        {"shared": "for bob"},
        {"shared": "for bob again"},
        {"shared": "for bob again", "another": "also for bob"},
    )
    assert seen["failures"] == []
    assert seen["states"] == [shared, shared, shared, again, another, again]


def test_server_that_asks_for_a_pause_is_obeyed_and_its_alert_is_told(
    serve: Serve, play: Play
) -> None:
    url = serve(
        backoff=10,
        eos="2099-01-01",
        eos_message="Moving",
        eos_url="https://example.com/moving",
    )
    seen = play(url, "signals")
    alert = {"code": "soft-eol", "message": "Moving", "url": "https://example.com/moving"}
    assert seen["first"]["ok"]
    assert min(seen["backoffs"]) >= 10
    assert seen["alerts"] == [alert] * len(seen["backoffs"])
    assert "back off" in seen["refused"]
    assert seen["ignoring"]["ok"]


def test_http_client_of_kinto_js_pages_filters_shares_and_meets_preconditions(
    serve: Serve, play: Play
) -> None:
    seen = play(serve(), "http_client")
    ids = [f"n{i}" for i in range(12)]
    assert seen["pages"] == [ids[:5], ids[5:10], ids[10:]]
    assert seen["even"] == sorted(["n4", "n6", "n8", "n10"])
    assert seen["stale"]["data"]["errno"] == 114
    assert seen["stale"]["data"]["details"]["existing"]["rank"] == 100
    assert seen["taken"]["data"]["details"]["existing"]["id"] == "n2"
    assert seen["refused"]["data"]["errno"] == seen["removed"]["data"]["errno"] == 121
    assert seen["seen"] == seen["total"] == 12
    assert (seen["deleted"], seen["left"]) == (6, 6)


def test_collection_as_it_was_is_read_in_one_request(serve: Serve, play: Play) -> None:
    seen = play(serve(includes="history", paginate_by=2), "snapshots")
    assert seen["then"] == [["c", "first c"], ["b", "first b"], ["a", "first a"]]
    assert (seen["total"], seen["stamp"], seen["before"]) == (3, True, [])
    assert seen["later"] == [["d", "first d"], ["a", "second a"], ["c", "first c"]]
    assert seen["deleted"] == "first b"
    assert seen["asked"] == []
