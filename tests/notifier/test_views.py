import json
from itertools import product
from typing import Any

import pytest

from notifier.authority import Rights
from notifier.messages import Options
from notifier.views import Look, is_untold, load_shared, make_event, render, takes_records
from server.core.paths import object_path
from server.core.positions import make_position, spell_cursor
from tests.notifier.scenes import (
    BOB,
    BUCKET,
    CAROL,
    GROUP,
    LIST,
    RECORD,
    make_revision,
    make_text,
    rights_of,
    topic_of,
)

COLLECTION = f"{BUCKET}/collections/c"
FEED = f"{BUCKET}/changes"
SHARED = {"read": ["bob"]}
PRIVATE = {"read": ["carol"]}
OPEN = {"status": "open", "title": "x"}
CLOSED = {"status": "closed", "title": "x"}
EVERYTHING = frozenset(["permissions", "user_id", "old"])


def make_look(
    target: str = LIST, rights: Rights | None = None, event_max_bytes: int = 1000, **options: Any
) -> Look:
    rights = rights_of(BOB, whole=True) if rights is None else rights
    return Look(topic_of(target), Options(**options), rights, event_max_bytes)


def tell(look: Look, *states: Any, **more: Any) -> dict[str, Any] | None:
    """The members of the event of a revision; see ``make_revision``."""
    rendered = render(look, make_revision(RECORD, *states, **more))
    if rendered is None:
        return None
    told: dict[str, Any] = json.loads(b"{" + rendered.tail)
    assert rendered.action == told["action"]
    assert spell_cursor(rendered.position) == told["cursor"]
    return told


def get(look: Look, *states: Any, **more: Any) -> dict[str, Any]:
    """The same, where there is one."""
    told = tell(look, *states, **more)
    assert told is not None
    return told


# What is told: an object was there or not, seen or not, matching or not; and is now.

BEFORE: list[tuple[str, Any, Any]] = [
    ("absent", None, None),
    ("shown", OPEN, SHARED),
    ("unmatched", CLOSED, SHARED),
    ("unseen", OPEN, PRIVATE),
    ("unseen and unmatched", CLOSED, PRIVATE),
]
CHANGES = [pair for pair in product(BEFORE, BEFORE) if pair != (BEFORE[0], BEFORE[0])]
EXPECTED = {
    ("absent", "shown"): ("create", None),
    ("shown", "shown"): ("update", None),
    ("shown", "unmatched"): ("leave", "filter"),
    ("shown", "unseen"): ("leave", "permission"),
    ("shown", "unseen and unmatched"): ("leave", "permission"),
    ("shown", "absent"): ("delete", None),
    ("unmatched", "shown"): ("enter", "filter"),
    ("unseen", "shown"): ("enter", "permission"),
    ("unseen and unmatched", "shown"): ("enter", "permission"),
}
"""Where nothing stands, nothing is told."""


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_change_is_told_as_what_it_means_to_its_reader(before: Any, after: Any) -> None:
    (was, old, acl_before), (is_now, new, acl) = before, after
    look = make_look(f"{LIST}?status=open", rights_of(BOB))
    told = tell(look, old, new, acl_before=acl_before, acl=acl)
    found = None if told is None else (told["action"], told.get("reason"))
    assert found == EXPECTED.get((was, is_now))


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_reader_of_the_whole_is_told_by_the_filter_alone(before: Any, after: Any) -> None:
    (_, old, acl_before), (_, new, acl) = before, after
    told = tell(make_look(f"{LIST}?status=open"), old, new, acl_before=acl_before, acl=acl)
    steps = {
        (False, False): None,
        (False, True): "create" if old is None else "enter",
        (True, False): "delete" if new is None else "leave",
        (True, True): "update",
    }
    expected = steps[old == OPEN, new == OPEN]
    assert (told["action"] if told else None) == expected
    assert (told.get("reason") if told else None) == (
        "filter" if expected in ("enter", "leave") else None
    )


# What an event holds.


def test_event_has_the_objects_text_as_it_is_stored() -> None:
    assert get(make_look(), None, OPEN) == {
        "cursor": "2",
        "action": "create",
        "uri": RECORD,
        "resource_name": "record",
        "data": {"id": "r", "last_modified": 2, **OPEN},
    }


def test_event_of_a_feed_counts_in_the_buckets_order() -> None:
    assert get(make_look(FEED), None, OPEN)["cursor"] == "7"


def test_cursor_of_a_change_that_was_dated_in_the_past_has_its_number() -> None:
    assert get(make_look(), OPEN, OPEN, position=make_position(2, 3))["cursor"] == "2-3"


def test_deletion_carries_the_tombstone_and_leaving_only_the_id() -> None:
    look = make_look(f"{LIST}?status=open&_fields=title")
    assert get(look, OPEN)["data"] == {"id": "r", "last_modified": 2, "deleted": True}
    assert get(look, OPEN, CLOSED)["data"] == {"id": "r"}


def test_fields_are_projected() -> None:
    look = make_look(f"{LIST}?_fields=title", include=EVERYTHING)
    told = get(look, OPEN, CLOSED)
    assert told["data"] == {"id": "r", "last_modified": 2, "title": "x"}
    assert told["old"] == {"id": "r", "last_modified": 1, "title": "x"}


def test_ids_are_all_that_is_delivered_to_who_wants_no_more() -> None:
    look = make_look(f"{LIST}?_fields=title", deliver="ids", include=frozenset(["old"]))
    told = get(look, OPEN, CLOSED)
    assert told["data"] == {"id": "r", "last_modified": 2}
    assert told["old"] == {"id": "r", "last_modified": 1}
    assert get(look, OPEN)["data"] == {"id": "r", "last_modified": 2, "deleted": True}


def test_poke_has_no_data() -> None:
    assert "data" not in get(make_look(deliver="poke"), OPEN, CLOSED)


def test_object_that_is_too_large_is_truncated() -> None:
    size = len(make_text(RECORD, 2, OPEN))
    assert "truncated" not in get(make_look(event_max_bytes=size), None, OPEN)
    told = get(make_look(event_max_bytes=size - 1), None, OPEN)
    assert told["truncated"] is True
    assert "data" not in told
    projected = make_look(f"{LIST}?_fields=none", event_max_bytes=size - 1)
    assert get(projected, None, OPEN)["data"] == {"id": "r", "last_modified": 2}


def test_nothing_more_is_included_than_was_asked_for() -> None:
    told = get(make_look(), OPEN, CLOSED, acl={"write": ["bob"]})
    assert set(told) == {"cursor", "action", "uri", "resource_name", "data"}


def test_user_id_is_who_wrote() -> None:
    look = make_look(include=frozenset(["user_id"]))
    assert get(look, None, OPEN)["user_id"] == "admin"
    assert get(look, OPEN, by="")["user_id"] == ""


@pytest.mark.parametrize(
    ("acl", "expected"),
    [
        ({"write": ["bob"], "read": ["carol"]}, True),
        ({"write": [GROUP]}, True),
        ({"read": ["bob"]}, False),
        ({"write": ["carol"]}, False),
        ({}, False),
    ],
)
def test_permissions_are_for_those_whom_they_name_as_writers(acl: Any, expected: bool) -> None:
    rights = rights_of(BOB, GROUP, whole=True)
    told = get(make_look(LIST, rights, include=frozenset(["permissions"])), None, OPEN, acl=acl)
    assert told.get("permissions") == (acl if expected else None)


def test_who_loses_sight_of_an_object_is_not_told_its_permissions() -> None:
    look = make_look(f"{LIST}?status=open", rights_of(BOB), include=frozenset(["permissions"]))
    told = get(look, OPEN, CLOSED, acl_before=SHARED, acl={"write": ["bob"]})
    assert told["action"] == "leave"
    assert "permissions" not in told


@pytest.mark.parametrize(
    ("states", "acl_before", "acl", "expected"),
    [
        ((OPEN, OPEN), SHARED, SHARED, True),
        ((CLOSED, OPEN), SHARED, SHARED, True),
        ((OPEN, CLOSED), SHARED, SHARED, True),
        ((OPEN, None), SHARED, None, True),
        ((OPEN, OPEN), SHARED, PRIVATE, True),
        ((None, OPEN), None, SHARED, False),
        ((OPEN, OPEN), PRIVATE, SHARED, False),
    ],
)
def test_old_is_what_the_reader_could_see_before(
    states: Any, acl_before: Any, acl: Any, expected: bool
) -> None:
    look = make_look(f"{LIST}?status=open", rights_of(BOB), include=frozenset(["old"]))
    told = get(look, *states, acl_before=acl_before, acl=acl)
    old = {"id": "r", "last_modified": 1, **states[0]} if expected else None
    assert told.get("old") == old


def test_old_that_is_too_large_is_left_out() -> None:
    size = len(make_text(RECORD, 1, OPEN))
    look = make_look(event_max_bytes=size - 1, include=frozenset(["old"]))
    told = get(look, OPEN, {})
    assert told["data"] == {"id": "r", "last_modified": 2}
    assert "old" not in told


def test_event_may_be_made_for_a_reason_of_its_own() -> None:
    rendered = make_event(make_look(), make_revision(RECORD, OPEN, CLOSED), "leave", "permission")
    assert json.loads(b"{" + rendered.tail)["reason"] == "permission"
    assert rendered.position == make_position(2)


# Who sees what.


@pytest.mark.parametrize(
    ("uri", "readers", "expected"),
    [
        (RECORD, ("bob",), True),
        (RECORD, ("carol", GROUP), True),
        (RECORD, ("carol",), False),
        (RECORD, (), False),
        (f"{BUCKET}/collections/d/records/r", (), True),
        (f"{BUCKET}/collections/d", (), False),
        (GROUP, (), False),
        (BUCKET, (), True),
    ],
)
def test_part_of_a_feed_is_seen_by_kind_by_collection_or_by_being_named(
    uri: str, readers: tuple[str, ...], expected: bool
) -> None:
    mine = frozenset([f"{BUCKET}/collections/d"])
    rights = Rights(False, BOB.principals | {GROUP}, frozenset(["bucket"]), mine)
    assert make_look(FEED, rights).sees(object_path(uri), readers) == expected
    whole = make_look(FEED, rights_of(BOB, whole=True))
    assert whole.sees(object_path(uri), readers)


def test_who_was_named_by_a_group_only_is_told_that_an_object_came_and_went() -> None:
    look = make_look(LIST, rights_of(BOB, GROUP))
    assert get(look, OPEN, OPEN, acl={"read": [GROUP]})["reason"] == "permission"
    assert get(look, OPEN, acl_before={"write": [GROUP]})["action"] == "delete"


# The collections of a feed.

PARTIAL = rights_of(BOB)
RECORDS = Rights(False, BOB.principals, frozenset(["record"]))


@pytest.mark.parametrize(
    ("target", "uri", "deleted", "expected"),
    [
        (FEED, COLLECTION, True, True),
        (FEED, COLLECTION, False, False),
        (FEED, GROUP, True, False),
        (FEED, RECORD, True, False),
        (f"{BUCKET}/collections", COLLECTION, True, False),
    ],
)
def test_deletion_of_a_collection_takes_its_records_from_a_feed(
    target: str, uri: str, deleted: bool, expected: bool
) -> None:
    revision = make_revision(uri, {}, None if deleted else {})
    assert takes_records(make_look(target), object_path(uri), revision) == expected


def test_deletion_of_a_collection_is_told_in_a_feed_whose_filter_it_does_not_match() -> None:
    look = make_look(f"{FEED}?status=open", include=frozenset(["old"]))
    matching = render(look, make_revision(COLLECTION, OPEN))
    other = render(look, make_revision(COLLECTION, CLOSED))
    assert matching is not None
    assert other is not None
    assert b'"old"' in matching.tail
    assert b'"old"' not in other.tail
    assert (matching.action, other.action) == ("delete", "delete")
    unseen = make_look(f"{FEED}?status=open", PARTIAL)
    assert render(unseen, make_revision(COLLECTION, OPEN)) is None


@pytest.mark.parametrize(
    ("target", "rights", "uri", "change", "expected"),
    [
        (FEED, PARTIAL, COLLECTION, ({}, {}, {}, SHARED), True),
        (FEED, PARTIAL, COLLECTION, ({}, {}, SHARED, PRIVATE), True),
        (FEED, PARTIAL, COLLECTION, ({}, {}, SHARED, {"write": ["bob"]}), False),
        (FEED, PARTIAL, COLLECTION, ({}, {}, {}, {"record:create": ["bob"]}), False),
        (FEED, PARTIAL, COLLECTION, ({}, {}, PRIVATE, PRIVATE), False),
        (FEED, PARTIAL, COLLECTION, ({}, None, SHARED, None), True),
        (FEED, PARTIAL, COLLECTION, ({}, None, PRIVATE, None), True),
        (FEED, PARTIAL, COLLECTION, ({}, None, {"record:create": ["bob"]}, None), False),
        (FEED, PARTIAL, GROUP, ({}, {}, {}, SHARED), False),
        (FEED, PARTIAL, RECORD, ({}, None, PRIVATE, None), False),
        (FEED, RECORDS, COLLECTION, ({}, {}, {}, SHARED), False),
        (FEED, rights_of(BOB, whole=True), COLLECTION, ({}, None, {}, None), False),
        (f"{BUCKET}/collections", PARTIAL, COLLECTION, ({}, {}, {}, SHARED), False),
    ],
)
def test_collection_that_shows_or_hides_records_is_more_than_one_event_can_tell(
    target: str, rights: Rights, uri: str, change: Any, expected: bool
) -> None:
    revision = make_revision(uri, *change)
    assert is_untold(make_look(target, rights), revision) == expected


# Sharing what was made.


def test_readers_who_are_told_the_same_have_the_same_key() -> None:
    look = make_look(f"{LIST}?status=open&_fields=title")
    for same in (
        make_look(f"{LIST}?_fields=title&status=open"),
        make_look(f"{LIST}?status=open&_fields=title", rights_of(CAROL, GROUP, whole=True)),
        make_look(f"{LIST}?status=open&_fields=title", history="all", waits=True),
    ):
        assert same.key == look.key
        assert hash(same.key) == hash(look.key)


@pytest.mark.parametrize(
    "other",
    [
        make_look(LIST),
        make_look(RECORD),
        make_look(BUCKET),
        make_look(f"{LIST}?status=closed"),
        make_look(f"{LIST}?status=open&_fields=title"),
        make_look(f"{LIST}?status=open", deliver="ids"),
        make_look(f"{LIST}?status=open", include=frozenset(["old"])),
        make_look(f"{LIST}?status=open", rights_of(BOB)),
        make_look(f"{LIST}?status=open", include=frozenset(["permissions"])),
    ],
    ids=range(9),
)
def test_readers_who_are_told_otherwise_have_another_key(other: Look) -> None:
    assert make_look(f"{LIST}?status=open").key != other.key


def test_feed_and_its_bucket_have_different_keys() -> None:
    assert make_look(FEED).key != make_look(BUCKET).key


def test_readers_of_permissions_share_only_with_those_whom_acls_call_the_same() -> None:
    include = frozenset(["permissions"])
    looks = [
        make_look(LIST, rights_of(actor, whole=True), include=include)
        for actor in (BOB, BOB, CAROL)
    ]
    assert looks[0].key == looks[1].key != looks[2].key


def test_text_is_parsed_once_for_all_looks() -> None:
    text = make_text(RECORD, 1, {"parsed": "once"})
    assert load_shared(text) is load_shared(bytes(text))
