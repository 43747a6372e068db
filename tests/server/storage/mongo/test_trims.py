from server.storage.base import Trimming
from server.storage.mongo.trims import AT_ONCE, forget_commands


def test_nothing_to_take_is_no_command() -> None:
    assert list(forget_commands(Trimming("b"))) == []


def test_each_way_of_taking_is_a_command_of_its_own() -> None:
    removed, hollowed, hidden = forget_commands(Trimming("b", {1}, {2}, {3}))
    assert removed["deletes"] == [{"q": {"bucket": "b", "seq": {"$in": [1]}}, "limit": 0}]
    (hollow,) = hollowed["updates"]
    assert hollow["q"] == {"bucket": "b", "seq": {"$in": [2]}}
    assert (set(hollow["u"]["$unset"]), hollow["u"]["$set"]["json"]) == ({"before"}, b"")
    (hide,) = hidden["updates"]
    assert hide["u"] == {"$set": {"trimmed": True}}


def test_many_entries_are_taken_by_several_commands() -> None:
    commands = list(forget_commands(Trimming("b", range(AT_ONCE + 1))))
    taken = [one["deletes"][0]["q"]["seq"]["$in"] for one in commands]
    assert [len(part) for part in taken] == [AT_ONCE, 1]
    assert [seq for part in taken for seq in part] == list(range(AT_ONCE + 1))
