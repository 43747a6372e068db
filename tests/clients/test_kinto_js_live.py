"""kinto.js, as npm has it, synced by live.js whenever the server says that something changed."""

from tests.clients.conftest import Play, Serve


def test_devices_follow_each_other_and_others_who_write_though_their_connections_are_cut(
    serve: Serve, play: Play
) -> None:
    seen = play(serve(), "live_devices")
    assert seen["late"]["late"] == "late"
    assert seen["late"] == seen["server"]
    titles = {f"{name}-{turn}": f"{name} made {turn}" for name in "ab" for turn in range(8)}
    for state in seen["states"]:
        assert titles.items() <= state.items()
        assert {**state, "late": "late"} == dict(sorted(seen["server"].items()))
    for device in seen["seen"]:
        assert device["errors"] == []
        assert device["most"] == 1


def test_device_of_who_sees_some_records_follows_what_is_shared_and_unshared(
    serve: Serve, play: Play
) -> None:
    seen = play(serve(), "live_shares")
    assert seen["errors"] == []
    assert seen["most"] == 1
    assert all("403" in error for error in seen["refusals"])
    assert seen["states"] == {
        "nothing is shared": {},
        "one is shared": {"one": "1"},
        "another is shared": {"one": "1", "two": "2"},
        "both are edited": {"one": "1 again", "two": "2 again"},
        "what is not shared is edited": {"one": "1 again", "two": "2 again"},
        "one is unshared": {"two": "2 again"},
        "what was unshared is edited": {"two": "2 again"},
        "all may be read": {"one": "1 once more", "three": "3 again", "two": "2 again"},
        "one is deleted": {"three": "3 again", "two": "2 again"},
        "all may be read no more": {"two": "2 again"},
        "the last is unshared": {},
        "one is shared again": {"three": "3 again"},
        "all may be read after none": {"three": "3 again", "two": "2 again"},
    }


def test_sync_that_fails_is_tried_again_but_not_where_nobody_is_let_in(
    serve: Serve, play: Play
) -> None:
    seen = play(serve(), "live_trouble")
    assert seen["state"] == {"a": "a"}
    assert 1 <= len(seen["errors"]) <= 3
    assert all("network is down" in error for error in seen["errors"])
    assert (seen["later"], seen["stranger"]) == ([], 0)
