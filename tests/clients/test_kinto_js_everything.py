"""Every public method of npm's kinto.js: Kinto, its collections and their transactions."""

from typing import Any

import pytest

from tests.clients.conftest import Play, Serve
from tests.clients.test_kinto_http_everything import SETTINGS


@pytest.fixture(scope="module")
def seen(serve: Serve, play: Play) -> Any:
    """What two replicas saw that turn all titles round before they publish them."""
    return play(serve(**SETTINGS), "replica_everything")


def test_every_public_method_was_called(seen: Any) -> None:
    assert seen["unused"] == []
    assert seen["statics"] == ["CLIENT_WINS", "MANUAL", "PULL_ONLY", "SERVER_WINS"]
    assert seen["api"] is True


def test_replica_is_written_without_the_server(seen: Any) -> None:
    local = seen["locally"]
    assert local["names"] == ["notes", True, True]
    assert local["refused"] == "Invalid Id: not an id!"
    assert (local["one"], local["executed"]) == (["two", 1], ["one", "two"])
    assert local["upserted"] is local["nothing"] is True
    assert local["list"] == {"a": "one again", "d": "four", "e": "five"}
    assert (local["local"], local["clean"]) == (7, {"id": "a"})


def test_transformed_records_are_published_without_local_fields(seen: Any) -> None:
    published = seen["published"]
    assert published["first"] == {"published": 3}
    backwards = [["a", "niaga eno", False], ["d", "ruof", False], ["e", "evif", False]]
    assert published["server"] == backwards
    assert published["metadata"] == "notes"
    assert published["stamped"] is True


def test_other_replica_decodes_what_it_pulls_and_its_hook_is_asked(seen: Any) -> None:
    published = seen["published"]
    assert published["ok"] is published["applied"] is True
    assert published["other"] == {"a": "one again", "d": "four", "e": "five"}


def test_conflict_is_resolved_by_hand_and_the_steps_of_a_sync_are_taken_one_by_one(
    seen: Any,
) -> None:
    by_hand = seen["byHand"]
    assert by_hand["conflict"] == ["incoming", "ours", "other"]
    assert by_hand["pulled"] == by_hand["fresh"] == {"published": 1}
    assert by_hand["other"] == {"a": "last", "d": "four", "e": "five"}
    assert by_hand["hooked"] == []


def test_replica_that_starts_again_finds_what_it_had(seen: Any) -> None:
    again = seen["again"]
    assert (again["reset"], again["cleared"]) == ({"updated": 3}, 0)
    assert again["before"] == {"a": "last", "d": "four", "e": "five"}
    assert (again["loaded"], again["imported"], again["again"]) == (3, 1, {})


def test_everything_deleted_is_deleted_on_the_server_and_records_go_where_a_sync_says(
    seen: Any,
) -> None:
    again = seen["again"]
    assert (again["deleted"], again["last"]) == (3, {"published": 3})
    assert again["left"] == ["away"]
