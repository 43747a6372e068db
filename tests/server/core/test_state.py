from collections.abc import Mapping

import pytest

from server.core.objects import Clock, StoredObject, make_clocks, make_root
from server.core.paths import ROOT, ListPath, object_path, parse_path
from server.core.positions import make_position
from server.core.revisions import Revision
from server.core.state import State, Unread

NOW = 1_000
BUCKET = "/buckets/b"
COLLECTION = "/buckets/b/collections/c"
RECORD = "/buckets/b/collections/c/records/r"
START = Clock(make_position(NOW))


def stored(uri: str, t: int = NOW, *, deleted: bool = False) -> StoredObject:
    clocks = make_clocks(object_path(uri).kind.name, NOW, None)
    return StoredObject(uri, t, make_position(t), b"{}", deleted=deleted, clocks=clocks)


def state_of(*objects: StoredObject | str) -> State:
    read: dict[str, StoredObject | None] = {ROOT: make_root(NOW, "e1")}
    for one in objects:
        read.update({one: None} if isinstance(one, str) else {one.uri: one})
    return State(read)


def list_path(uri: str) -> ListPath:
    path = parse_path(uri)
    assert isinstance(path, ListPath)
    return path


def entry(seq: int) -> Revision:
    acl: Mapping[str, tuple[str, ...]] = {}
    return Revision(
        BUCKET, "/buckets", "b", seq, seq, "create", "", 0, 0, None, b"", acl, acl, (), ()
    )


def test_what_was_not_read_is_asked_for() -> None:
    state = State({})
    with pytest.raises(Unread) as caught:
        state.get(BUCKET)
    assert caught.value.uris == (BUCKET,)


def test_all_that_is_missing_of_several_is_asked_for_at_once() -> None:
    state = state_of(stored(BUCKET))
    with pytest.raises(Unread) as caught:
        state.require([RECORD, BUCKET, COLLECTION])
    assert caught.value.uris == (RECORD, COLLECTION)
    state.require([BUCKET])


def test_what_is_read_later_is_found() -> None:
    state = State({})
    state.add_read({BUCKET: stored(BUCKET), COLLECTION: None})
    assert state.get(BUCKET) == stored(BUCKET)
    assert state.get(COLLECTION) is None


def test_what_was_written_hides_what_was_read() -> None:
    state = state_of(stored(BUCKET))
    state.put(stored(BUCKET, NOW + 1))
    assert state.get(BUCKET) == stored(BUCKET, NOW + 1)
    state.add_read({BUCKET: stored(BUCKET)})
    assert state.get(BUCKET) == stored(BUCKET, NOW + 1)


def test_what_was_written_is_found_though_it_was_never_read() -> None:
    state = State({})
    state.put(stored(BUCKET))
    assert state.get(BUCKET) == stored(BUCKET)


def test_an_object_is_live_unless_it_is_missing_or_deleted() -> None:
    assert state_of(BUCKET).live(object_path(BUCKET)) is None
    assert state_of(stored(BUCKET, deleted=True)).live(object_path(BUCKET)) is None
    assert state_of(stored(BUCKET)).live(object_path(BUCKET)) == stored(BUCKET)


def test_what_stands_at_or_below_its_lists_floor_is_not_live() -> None:
    state = state_of(stored(BUCKET), stored(COLLECTION, NOW + 5))
    path = object_path(COLLECTION)
    state.set_clock(BUCKET, "collections", Clock(make_position(NOW + 9), make_position(NOW + 4)))
    assert state.live(path) == stored(COLLECTION, NOW + 5)
    state.set_clock(BUCKET, "collections", Clock(make_position(NOW + 9), make_position(NOW + 5)))
    assert state.live(path) is None


def test_a_lists_clock_is_its_parents() -> None:
    state = state_of(stored(BUCKET))
    assert state.clock(list_path("/buckets")) == START
    assert state.clock(list_path(f"{BUCKET}/groups")) == START
    assert state.clock_of(BUCKET, "changes") == START


def test_a_clock_that_moved_is_the_one_that_counts() -> None:
    state = state_of(stored(BUCKET))
    moved = Clock(make_position(NOW + 1), live=1)
    state.set_clock(BUCKET, "groups", moved)
    assert state.clock(list_path(f"{BUCKET}/groups")) == moved
    assert state.clock(list_path(f"{BUCKET}/collections")) == START


def test_an_id_in_place_of_a_taken_one_is_the_same_each_time() -> None:
    made = iter(["one", "two"])
    state = State({})
    spares = [state.spare_id(uri, lambda: next(made)) for uri in (BUCKET, BUCKET, RECORD, BUCKET)]
    assert spares == ["one", "one", "two", "one"]


def test_what_is_undone_is_as_it_was_at_the_mark() -> None:
    state = state_of(stored(BUCKET))
    state.mark()
    state.put(stored(BUCKET, NOW + 1))
    state.set_clock(BUCKET, "groups", Clock(1))
    state.append(entry(1))
    before = (dict(state.written), dict(state.clocks), list(state.revisions), state.effects)
    mark = state.mark()
    state.put(stored(BUCKET, NOW + 2))
    state.put(stored(COLLECTION))
    state.set_clock(BUCKET, "groups", Clock(2))
    state.set_clock(BUCKET, "groups", Clock(3))
    state.set_clock(BUCKET, "collections", Clock(3))
    state.append(entry(2))
    assert state.effects == before[3] + 5
    state.undo(mark)
    assert (state.written, state.clocks, state.revisions, state.effects) == before


def test_what_an_effective_command_read_is_locked() -> None:
    state = state_of(stored(BUCKET), stored("/buckets/other"))
    mark = state.mark()
    state.get("/buckets/other")
    state.put(stored(BUCKET))
    state.keep(mark)
    assert state.locked == {"other"}


def test_what_a_command_without_effects_read_is_not_locked() -> None:
    state = state_of(stored(BUCKET))
    mark = state.mark()
    state.get(BUCKET)
    state.keep(mark)
    assert state.locked == set()


def test_what_was_read_before_a_mark_is_of_another_command() -> None:
    state = state_of(stored(BUCKET), stored("/buckets/other"))
    state.mark()
    state.get("/buckets/other")
    mark = state.mark()
    state.get(BUCKET)
    state.put(stored(BUCKET))
    state.keep(mark)
    assert state.locked == {"b"}


def test_objects_are_stored_with_their_clocks_as_they_are_at_the_end() -> None:
    state = state_of(stored(BUCKET), stored(COLLECTION))
    state.put(stored(COLLECTION, NOW + 7))
    state.set_clock(COLLECTION, "records", Clock(5))
    state.set_clock(BUCKET, "groups", Clock(3))
    state.set_clock(BUCKET, "changes", Clock(4))
    finished = state.finished()
    assert set(finished) == {COLLECTION, BUCKET}
    assert finished[COLLECTION].last_modified == NOW + 7
    assert finished[COLLECTION].clocks == {"records": Clock(5)}
    assert finished[BUCKET].clocks == {
        "collections": START,
        "groups": Clock(3),
        "changes": Clock(4),
    }
    assert set(state.written) == {COLLECTION}


def test_a_new_epoch_leaves_all_buckets_below_the_floor() -> None:
    state = state_of()
    position = make_position(NOW + 3)
    state.set_clock(ROOT, "buckets", Clock(position, live=0))
    state.renew("e2")
    root = state.finished()[ROOT]
    assert root.epoch == "e2"
    assert root.clocks["buckets"] == Clock(position, floor=position)
    assert root.clocks["accounts"] == Clock(make_position(NOW), floor=make_position(NOW))


def test_parents_that_are_gone_or_made_again_may_have_leftovers() -> None:
    state = state_of()
    again = StoredObject(COLLECTION, 1, 1, b"{}", clocks={"records": Clock(9, floor=8)})
    state.put(stored(BUCKET, deleted=True))
    state.put(again)
    state.put(stored("/buckets/new"))
    state.put(stored(RECORD, deleted=True))
    assert state.parents_with_leftovers() == [BUCKET, COLLECTION]
