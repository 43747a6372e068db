from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.core.commands import Change, Create, Remove, RemoveMany, Replace, Write
from server.core.contents import parse_content
from server.core.decisions import Decider
from server.core.effects import Body, Effects
from server.core.errors import SyncError
from server.core.json_text import dump_json
from server.core.judge import Judge
from server.core.objects import Clock, Permissions, StoredObject, make_root
from server.core.patches import SHALLOW, parse_patch
from server.core.paths import ROOT, object_path
from server.core.positions import SEQUENCE_MAX, make_position, timestamp_of
from server.core.revisions import Revision
from server.core.state import State
from tests.server.core.worlds import ALICE, NOW, World, target

BUCKET = object_path("/buckets/b")
COLLECTION = object_path("/buckets/b/collections/c")
GROUP = object_path("/buckets/b/groups/g")
RECORD = object_path("/buckets/b/collections/c/records/r")
OTHER = object_path("/buckets/b/collections/c/records/s")
ACL: Permissions = {"write": ("alice",), "read": ("bob", "alice")}


def body(date: int | None = None, acl: Permissions = ACL, **fields: Any) -> Body:
    return Body(fields, dump_json(fields), acl, date)


def empty_state() -> State:
    return State(
        {ROOT: make_root(NOW, "e1")}
        | dict.fromkeys(path.uri for path in (BUCKET, COLLECTION, GROUP, RECORD, OTHER))
    )


def effects(state: State, now: int = NOW) -> Effects:
    return Effects(state, "alice", now)


@pytest.fixture
def state() -> State:
    """A bucket and a collection whose lists' clocks stand at NOW."""
    state = empty_state()
    effects(state).make(BUCKET, body())
    effects(state).make(COLLECTION, body())
    return state


def records_clock(state: State) -> Clock:
    return state.clock(RECORD.list)


def test_a_new_object_is_stored_as_it_is_served(state: State) -> None:
    made = effects(state, NOW + 9).make(RECORD, body(a=1))
    assert made == StoredObject(
        RECORD.uri,
        NOW + 9,
        make_position(NOW + 9),
        b'{"id":"r","last_modified":1009,"a":1}',
        acl=ACL,
        readers=("alice", "bob"),
    )
    assert made.data == {"id": "r", "last_modified": NOW + 9, "a": 1}
    assert state.live(RECORD) == made


def test_a_groups_members_stand_beside_its_text(state: State) -> None:
    assert effects(state).make(GROUP, body(members=["a", "b"])).members == ("a", "b")


def test_a_group_without_data_has_no_members(state: State) -> None:
    assert effects(state).make(GROUP, body()).members is None


def test_members_of_what_is_no_group_are_data_like_any(state: State) -> None:
    assert effects(state).make(RECORD, body(members=["a"])).members is None


def test_a_write_moves_the_clock_of_its_list_and_no_other(state: State) -> None:
    before = state.clock(GROUP.list)
    made = effects(state, NOW + 5).make(RECORD, body())
    assert records_clock(state) == Clock(make_position(NOW + 5), live=1, size=len(made.json))
    assert state.clock(GROUP.list) == before


def test_writes_in_one_millisecond_are_a_millisecond_apart(state: State) -> None:
    first = effects(state, NOW + 5).make(RECORD, body())
    second = effects(state, NOW + 5).make(OTHER, body())
    assert (first.last_modified, second.last_modified) == (NOW + 5, NOW + 6)


def test_time_goes_on_when_the_servers_clock_goes_back(state: State) -> None:
    first = effects(state, NOW + 5).make(RECORD, body())
    second = effects(state, NOW - 500).change(RECORD, first, body())
    assert second.last_modified == NOW + 6


@pytest.mark.parametrize(
    ("date", "modified", "position"),
    [
        (None, NOW + 9, make_position(NOW + 9)),
        (NOW - 7, NOW - 7, make_position(NOW, 1)),
        (0, 0, make_position(NOW, 1)),
        (NOW, NOW + 1, make_position(NOW + 1)),
        (NOW + 3, NOW + 3, make_position(NOW + 3)),
        (1 << 42, 1 << 42, make_position(1 << 42)),
    ],
    ids=["none", "past", "zero", "the list's", "future", "far future"],
)
def test_a_new_object_is_dated_by_the_client_where_that_can_be(
    state: State, date: int | None, modified: int, position: int
) -> None:
    made = effects(state, NOW + 9).make(RECORD, body(date))
    assert (made.last_modified, made.position) == (modified, position)
    assert records_clock(state).position == position


@pytest.mark.parametrize(
    ("date", "modified", "position"),
    [
        (NOW + 1, NOW + 30, make_position(NOW + 30)),
        (NOW + 2, NOW + 30, make_position(NOW + 30)),
        (NOW + 3, NOW + 3, make_position(NOW + 20, 1)),
        (NOW + 20, NOW + 21, make_position(NOW + 21)),
        (NOW + 25, NOW + 25, make_position(NOW + 25)),
    ],
    ids=["before its own", "its own", "between", "the list's", "after the list's"],
)
@pytest.mark.parametrize("action", ["update", "delete"])
def test_an_existing_object_is_dated_by_the_client_only_after_its_own_date(
    state: State, action: str, date: int, modified: int, position: int
) -> None:
    made = effects(state, NOW + 2).make(RECORD, body())
    effects(state, NOW + 20).make(OTHER, body())
    later = effects(state, NOW + 30)
    if action == "update":
        written = later.change(RECORD, made, body(date))
    else:
        written = later.remove(RECORD, made, date)
    assert (written.last_modified, written.position) == (modified, position)
    assert records_clock(state).position == position


def test_the_server_dates_a_write_when_the_sequence_is_spent(state: State) -> None:
    spent = Clock(make_position(NOW, SEQUENCE_MAX))
    state.set_clock(COLLECTION.uri, "records", spent)
    made = effects(state, NOW + 4).make(RECORD, body(5))
    assert (made.last_modified, made.position) == (NOW + 4, make_position(NOW + 4))


def test_a_list_dated_as_far_ahead_as_may_be_still_moves(state: State) -> None:
    first = effects(state).make(RECORD, body(1 << 42))
    second = effects(state).change(RECORD, first, body())
    assert second.last_modified == (1 << 42) + 1
    assert second.position < 1 << 63


def exact(state: State) -> Effects:
    return Effects(state, "alice", NOW, is_exact=True)


@pytest.mark.parametrize("date", [0, 5, NOW - 1, NOW, NOW + 5])
def test_an_exact_date_is_kept_whatever_there_is(state: State, date: int) -> None:
    clock = state.clock(RECORD.list).position
    made = exact(state).make(RECORD, body(date))
    assert made.last_modified == date
    assert made.position == state.clock(RECORD.list).position > clock
    changed = exact(state).change(RECORD, made, body(date))
    assert changed.last_modified == date
    assert changed.position > made.position
    gone = exact(state).remove(RECORD, changed, date)
    assert gone.last_modified == date
    assert gone.position > changed.position


def test_lists_of_what_is_made_with_an_exact_date_begin_at_the_beginning() -> None:
    state = empty_state()
    made = exact(state).make(BUCKET, body(5))
    assert {made.clocks[plural].position for plural in ("collections", "groups")} == {0}


@pytest.mark.parametrize("path", [BUCKET, COLLECTION, GROUP, RECORD])
def test_a_buried_object_is_a_tombstone_that_nobody_is_told_of(path: Any) -> None:
    state = empty_state()
    for parent in path.ancestors:
        exact(state).make(parent, body(1))
    logged = len(state.revisions)
    buried = exact(state).bury(path, 7)
    assert (buried.deleted, buried.last_modified, buried.readers) == (True, 7, ())
    assert set(buried.clocks) >= set(path.kind.children)
    assert len(state.revisions) == logged
    assert exact(state).bury(path, 8).clocks == buried.clocks
    assert effects(state).make(path, body()).position > buried.position


def test_live_objects_are_counted(state: State) -> None:
    made = effects(state).make(RECORD, body())
    effects(state).make(OTHER, body())
    assert records_clock(state).live == 2
    effects(state).change(RECORD, made, body())
    assert records_clock(state).live == 2
    effects(state).remove(RECORD, made)
    assert records_clock(state).live == 1


def test_a_tombstone_keeps_who_could_see_it_and_nothing_else(state: State) -> None:
    made = effects(state, NOW + 1).make(GROUP, body(members=["bob"], a=1))
    tombstone = effects(state, NOW + 2).remove(GROUP, made)
    assert tombstone == StoredObject(
        GROUP.uri,
        NOW + 2,
        make_position(NOW + 2),
        b'{"id":"g","last_modified":1002,"deleted":true}',
        deleted=True,
        readers=("alice", "bob"),
    )
    assert state.live(GROUP) is None


def test_a_changed_parent_keeps_its_clocks(state: State) -> None:
    made = effects(state, NOW + 5).make(RECORD, body())
    current = state.live(COLLECTION)
    assert current is not None
    effects(state, NOW + 9).change(COLLECTION, current, body(a=1))
    finished = state.finished()[COLLECTION.uri]
    clock = Clock(make_position(NOW + 5), live=1, size=len(made.json))
    assert finished.clocks == {"records": clock}


def test_a_deleted_parent_keeps_its_clocks(state: State) -> None:
    made = effects(state, NOW + 5).make(RECORD, body())
    current = state.live(COLLECTION)
    assert current is not None
    effects(state, NOW + 9).remove(COLLECTION, current)
    finished = state.finished()[COLLECTION.uri]
    clock = Clock(make_position(NOW + 5), live=1, size=len(made.json))
    assert finished.clocks == {"records": clock}
    assert finished.deleted


def test_a_parent_made_again_has_nothing_of_what_it_had(state: State) -> None:
    made = effects(state, NOW + 50).make(RECORD, body())
    current = state.live(COLLECTION)
    assert current is not None
    effects(state).remove(COLLECTION, current)
    again = effects(state).make(COLLECTION, body())
    start = make_position(NOW + 51)
    assert again.clocks == {"records": Clock(start, floor=start, live=0)}
    assert records_clock(state) == Clock(start, floor=start, live=0)
    assert state.live(RECORD) is None
    assert made.position < start


def test_a_record_dated_in_the_past_is_live_in_a_collection_made_again(state: State) -> None:
    current = state.live(COLLECTION)
    assert current is not None
    effects(state).remove(COLLECTION, current)
    effects(state).make(COLLECTION, body())
    made = effects(state).make(RECORD, body(5))
    assert made.last_modified == 5
    assert state.live(RECORD) == made


def test_a_bucket_made_again_hides_its_log_and_its_lists(state: State) -> None:
    current = state.live(BUCKET)
    assert current is not None
    effects(state).remove(BUCKET, current)
    last = state.revisions[-1].seq
    effects(state).make(BUCKET, body())
    feed = state.clock_of(BUCKET.uri, "changes")
    assert feed.floor > last
    assert state.revisions[-1].seq == feed.position > feed.floor
    assert state.live(COLLECTION) is None


def test_each_effect_is_logged_with_what_was_before(state: State) -> None:
    start = len(state.revisions)
    made = effects(state, NOW + 1).make(RECORD, body(a=1))
    changed = effects(state, NOW + 2).change(RECORD, made, body(3, {"read": ("bob",)}))
    tombstone = effects(state, NOW + 3).remove(RECORD, changed)
    create, update, delete = state.revisions[start:]
    assert [one.action for one in (create, update, delete)] == ["create", "update", "delete"]
    assert (create.before, create.json) == (None, made.json)
    assert (create.acl_before, create.acl) == ({}, ACL)
    assert (create.readers_before, create.readers) == ((), ("alice", "bob"))
    assert (update.before, update.json) == (made.json, changed.json)
    assert (update.acl_before, update.acl) == (ACL, {"read": ("bob",)})
    assert (update.readers_before, update.readers) == (("alice", "bob"), ("bob",))
    assert (delete.before, delete.json) == (changed.json, tombstone.json)
    assert (delete.acl_before, delete.acl) == ({"read": ("bob",)}, {})
    assert (delete.readers_before, delete.readers) == (("bob",), ())
    assert [one.last_modified for one in (create, update, delete)] == [NOW + 1, NOW + 2, NOW + 3]


def test_an_entry_of_the_log_says_who_when_and_where(state: State) -> None:
    made = effects(state, NOW + 7).make(RECORD, body(5))
    entry = state.revisions[-1]
    assert (entry.uri, entry.list, entry.bucket) == (RECORD.uri, RECORD.list.uri, "b")
    assert (entry.by, entry.date, entry.last_modified) == ("alice", NOW + 7, 5)
    assert entry.position == made.position
    assert entry.seq == make_position(NOW + 7)


def test_the_order_of_everything_in_a_bucket_takes_no_date_of_a_client(state: State) -> None:
    effects(state).make(RECORD, body(5))
    effects(state).make(GROUP, body(NOW + 999))
    seqs = [entry.seq for entry in state.revisions]
    assert seqs == [make_position(NOW + i) for i in range(1, 5)]


def test_what_happens_to_a_bucket_itself_is_of_its_own_log(state: State) -> None:
    current = state.live(BUCKET)
    assert current is not None
    effects(state).remove(BUCKET, current)
    entry = state.revisions[-1]
    assert (entry.uri, entry.list, entry.bucket) == (BUCKET.uri, "/buckets", "b")


@pytest.mark.parametrize(
    ("before", "after", "touched"),
    [
        (None, ["b", "a"], ("a", "b")),
        (None, None, ()),
        (["a", "b"], ["b", "c"], ("a", "c")),
        (["a", "b"], ["b", "a"], ()),
        (["a"], None, ("a",)),
        (["b", "a"], "deleted", ("a", "b")),
    ],
)
def test_an_entry_of_a_group_names_whose_memberships_it_changed(
    state: State, before: list[str] | None, after: Any, touched: tuple[str, ...]
) -> None:
    def group(members: list[str] | None) -> Body:
        return body() if members is None else body(members=members)

    if before is None:
        effects(state).make(GROUP, group(after))
    else:
        made = effects(state).make(GROUP, group(before))
        if after == "deleted":
            effects(state).remove(GROUP, made)
        else:
            effects(state).change(GROUP, made, group(after))
    assert state.revisions[-1].touched == touched


def test_only_groups_and_the_end_of_a_bucket_touch_memberships(state: State) -> None:
    made = effects(state).make(RECORD, body(members=["a"]))
    effects(state).remove(RECORD, made)
    collection = state.live(COLLECTION)
    assert collection is not None
    effects(state).remove(COLLECTION, collection)
    assert {entry.touched for entry in state.revisions} == {()}
    bucket = state.live(BUCKET)
    assert bucket is not None
    effects(state).remove(BUCKET, bucket)
    assert state.revisions[-1].touched == (ROOT,)


class History:
    """A database under random writes, and what must hold after each of them.

    ``texts`` is a model: the text of every object that exists. Groups of
    writes share a state, as in the ledger.
    """

    def __init__(self) -> None:
        self.world = World()
        self.texts: dict[str, bytes] = {}
        self.etags: dict[tuple[str, str], int] = {}
        self.positions: dict[str, int] = {}
        self.seqs: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        self.state = State(dict.fromkeys(URIS) | self.world.objects)

    def commit(self) -> None:
        self.world.objects.update(self.state.finished())
        self.begin()

    def decide(self, write: Write, now: int) -> list[Revision]:
        """The entries of the log that a write makes; none if it is refused."""
        mark = self.state.mark()
        try:
            Decider(Judge(self.state, self.world.rules), now).decide(write)
        except SyncError:
            self.state.undo(mark)
        return self.state.revisions[mark[1] :]

    def check_undo(self, write: Write, now: int) -> None:
        before = snapshot(self.state)
        mark = self.state.mark()
        self.decide(write, now)
        self.state.undo(mark)
        assert snapshot(self.state) == before

    def check_log(self, entries: list[Revision]) -> None:
        for entry in entries:
            assert entry.position > self.positions.get(entry.list, 0)
            assert entry.seq > self.seqs.get(entry.bucket, 0)
            self.positions[entry.list], self.seqs[entry.bucket] = entry.position, entry.seq
            assert entry.before == self.texts.pop(entry.uri, None)
            assert (entry.before is None) == (entry.action == "create")
            if entry.action == "delete":
                inside = [uri for uri in self.texts if uri.startswith(f"{entry.uri}/")]
                for uri in inside:
                    del self.texts[uri]
            else:
                self.texts[entry.uri] = entry.json

    def check_state(self) -> None:
        living = {uri: self.live(uri) for uri in URIS}
        assert {uri: one.json for uri, one in living.items() if one} == self.texts
        for path in LISTS:
            if self.state.get(path.parent_uri) is None:
                continue
            clock = self.state.clock(path)
            inside = [one for one in living.values() if one and one.path.list == path]
            exists = path.parent_uri == ROOT or self.live(path.parent_uri)
            assert clock.live == len(inside) or not exists
            assert all(clock.floor < one.position <= clock.position for one in inside)
            key = (path.parent_uri, path.kind.plural)
            assert timestamp_of(clock.position) >= self.etags.get(key, 0)
            self.etags[key] = timestamp_of(clock.position)

    def live(self, uri: str) -> StoredObject | None:
        path = object_path(uri)
        if any(self.state.live(step) is None for step in path.ancestors):
            return None
        return self.state.live(path)


URIS = ["/buckets/b", "/buckets/o"]
URIS += [f"/buckets/b/{name}" for name in ("groups/g", "collections/c", "collections/d")]
URIS += [f"/buckets/b/collections/c/records/{name}" for name in "rs"]
URIS += ["/buckets/b/collections/d/records/r"]
LISTS = list(dict.fromkeys(object_path(uri).list for uri in URIS))


def snapshot(state: State) -> tuple[Any, ...]:
    return (dict(state.written), dict(state.clocks), list(state.revisions), state.finished())


def spell_write(uri: str, method: str, date: int | None) -> Write:
    path = object_path(uri)
    data = {"date": date} if date is None else {"last_modified": date}
    content = parse_content(path.kind.name, {"data": data})
    match method:
        case "PUT":
            return Replace(target(uri), content)
        case "POST":
            return Create(target(uri), content)
        case "PATCH":
            return Change(target(uri), parse_patch(SHALLOW, {"data": data}, ()))
        case "DELETE":
            return Remove(target(uri), date)
    ids = tuple(object_path(one).id for one in URIS if object_path(one).list == path.list)
    return RemoveMany(ALICE, path.list, ids)


WRITES = st.lists(
    st.tuples(
        st.sampled_from(URIS),
        st.sampled_from(["PUT", "PUT", "PUT", "POST", "PATCH", "DELETE", "DELETE list"]),
        st.none() | st.integers(NOW - 5, NOW + 40) | st.just(1 << 42),
        st.integers(NOW - 5, NOW + 40),
        st.sampled_from(["commit", "undo first", "go on"]),
    ),
    max_size=40,
)
EXPECTED = {"create": {"PUT", "POST"}, "update": {"PUT", "PATCH"}, "delete": {"DELETE"}}


@settings(max_examples=200, deadline=None, database=None)
@given(WRITES)
def test_whatever_is_written_the_log_the_clocks_and_the_objects_agree(
    writes: list[tuple[str, str, int | None, int, str]],
) -> None:
    history = History()
    for uri in URIS:
        history.check_log(history.decide(spell_write(uri, "PUT", None), NOW))
    for uri, method, date, now, then in writes:
        write = spell_write(uri, method, date)
        if then == "undo first":
            history.check_undo(write, now)
        entries = history.decide(write, now)
        if method != "DELETE list":
            assert [entry.uri for entry in entries] in ([], [uri])
            assert all(method in EXPECTED[entry.action] for entry in entries)
        history.check_log(entries)
        history.check_state()
        if then == "commit":
            history.commit()
            history.check_state()
