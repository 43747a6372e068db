"""What a poll tells who may see only some of a list, or whose rights have changed."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from server.core.errors import CursorExpired, Forbidden
from server.core.permissions import Rules
from server.core.positions import spell_full_cursor
from server.core.preconditions import Precondition
from server.service.lists import ListAnswer
from tests.server.service.pollers import OPTIONS, Poller, ask, dead, live, now_ms, read
from tests.server.storage.scenes import ALICE, BOB, Acl, Scene, delete, put, random_bucket

pytestmark = pytest.mark.gen_test(timeout=60)

GRANTS = ["oneself", "everybody", "group", "elsewhere"]


class Shared:
    """A list of Alice's, and one of the ways in which Bob may come to see of it.

    Attributes:
        list: its URI.
        who: the principal that is named for Bob.
    """

    def __init__(self, scene: Scene, collection: str, grant: str) -> None:
        self.scene = scene
        self.collection = collection
        self.list = f"{collection}/records"
        bucket = collection.partition("/collections/")[0]
        self.other = random_bucket()
        self.group = f"{self.other if grant == 'elsewhere' else bucket}/groups/g"
        names = {"oneself": BOB.user_id, "everybody": "system.Authenticated"}
        self.who = names.get(grant, self.group)

    async def put(self, name: str, readers: Sequence[str] | None = None) -> None:
        acl = None if readers is None else {"read": readers}
        await self.scene.do(put(f"{self.list}/{name}", {"at": now_ms()}, acl=acl))

    async def delete(self, name: str) -> None:
        await self.scene.do(delete(f"{self.list}/{name}"))

    async def open(self, acl: Acl) -> None:
        """Set the rights on the whole collection."""
        await self.scene.do(put(self.collection, acl=acl))

    async def join(self, *members: str) -> None:
        """Set the members of the group, in a millisecond of its own.

        Within one, what is done in two buckets has no order.
        """
        await asyncio.sleep(0.002)
        await self.scene.do(put(self.group, {"members": list(members)}))
        await asyncio.sleep(0.002)

    async def poll(self, since: int | str, query: str = "") -> ListAnswer:
        return await read(self.scene, ask(self.list, f"_since={since}{query}"))

    async def whole(self) -> ListAnswer:
        return await read(self.scene, ask(self.list))


async def share(scene: Scene, grant: str) -> Shared:
    """A list with two records that Bob sees and one that he does not."""
    shared = Shared(scene, await scene.make_collection(), grant)
    await scene.do(put(shared.other))
    await shared.join(BOB.user_id)
    for name in ("one", "two"):
        await shared.put(name, [shared.who])
    await shared.put("hers", [])
    return shared


@pytest.fixture(params=GRANTS)
def grant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_what_changed_in_sight_comes_with_tombstones_of_what_left_it(
    scene: Scene, grant: str
) -> None:
    shared = await share(scene, grant)
    since = (await shared.whole()).timestamp
    await shared.put("one", [])
    await shared.put("new", [shared.who])
    await shared.delete("two")
    await shared.put("hers")
    answer = await shared.poll(since)
    assert live(answer) == ["new"]
    tombstones = dead(answer)
    assert tombstones.keys() == {"one", "two"}
    assert min(tombstones.values()) > since
    clock = await scene.clock(shared.list)
    assert answer.timestamp == clock.position >> 20


async def test_nothing_new_in_sight_is_an_empty_answer_under_the_etag_that_came(
    scene: Scene, grant: str
) -> None:
    shared = await share(scene, grant)
    since = (await shared.whole()).timestamp
    await shared.put("hers")
    await shared.delete("hers")
    answer = await shared.poll(since)
    assert (list(answer.objects), answer.timestamp, answer.position) == ([], since, None)


async def test_what_was_shared_and_unshared_between_two_polls_is_not_told(
    scene: Scene, grant: str
) -> None:
    shared = await share(scene, grant)
    since = (await shared.whole()).timestamp
    await shared.put("brief", [shared.who])
    await shared.put("brief", [])
    answer = await shared.poll(since)
    assert (list(answer.objects), answer.timestamp) == ([], since)


async def test_who_lost_all_is_told_once_and_then_refused(scene: Scene, grant: str) -> None:
    shared = await share(scene, grant)
    since = (await shared.whole()).timestamp
    for name in ("one", "two"):
        await shared.put(name, [])
    await shared.put("later", [])
    last = await shared.poll(since)
    assert (live(last), set(dead(last))) == ([], {"one", "two"})
    assert last.timestamp == max(dead(last).values())
    with pytest.raises(Forbidden):
        await shared.poll(last.timestamp)
    with pytest.raises(Forbidden):
        await shared.whole()


@pytest.mark.parametrize("moved", [False, True], ids=["resting", "moving"])
@pytest.mark.parametrize("grant", ["group", "elsewhere"])
async def test_who_left_a_group_is_told_once_and_then_refused(
    scene: Scene, grant: str, moved: bool
) -> None:
    shared = await share(scene, grant)
    poller = Poller(scene, shared.list)
    assert await poller.poll()
    await shared.join()
    if moved:
        await shared.put("after", [shared.who])
        await shared.put("one")
    assert await poller.poll()
    assert (poller.copy, poller.told) == ({}, {"one", "two"})
    assert not await poller.poll()


@pytest.mark.parametrize("grant", ["group", "elsewhere"])
@pytest.mark.parametrize("by", ["object", "group"])
async def test_who_lost_a_group_misses_nothing_of_what_comes_back_at_once(
    scene: Scene, grant: str, by: str
) -> None:
    shared = await share(scene, grant)
    # The list is dated ahead: no date of a loss is later than its own.
    await shared.scene.do(put(f"{shared.list}/ahead", {"last_modified": now_ms() + 60_000}))
    poller = Poller(scene, shared.list)
    assert await poller.poll()
    await shared.join()
    assert await poller.poll()
    assert (poller.copy, poller.told) == ({}, {"one", "two"})
    assert not await poller.poll()
    if by == "group":
        await shared.put("next", [])
        await shared.join(BOB.user_id)
    else:
        await shared.put("next", [BOB.user_id])
    assert await poller.poll()
    assert poller.copy.keys() == ({"one", "two"} if by == "group" else {"next"})


async def test_who_had_the_whole_list_between_two_polls_misses_nothing_once_it_comes_back(
    scene: Scene, grant: str
) -> None:
    shared = await share(scene, grant)
    poller = Poller(scene, shared.list)
    assert await poller.poll()
    await shared.put("before", [])
    await shared.open({"read": [shared.who]})
    for name in ("one", "two"):
        await shared.put(name, [])
    await shared.put("after", [])
    await shared.open({"read": []})
    assert await poller.poll()
    assert (poller.copy, poller.told) == ({}, {"one", "two"})
    await shared.open({"read": [shared.who]})
    assert await poller.poll()
    assert poller.copy.keys() == {"one", "two", "hers", "before", "after"}


async def test_who_saw_by_a_group_whose_bucket_went_gets_all_of_a_list_that_is_opened(
    scene: Scene,
) -> None:
    shared = await share(scene, "elsewhere")
    poller = Poller(scene, shared.list)
    assert await poller.poll()
    await scene.do(delete(shared.other))
    await shared.open({"read": ["system.Authenticated"]})
    await shared.put("next", [])
    assert await poller.poll()
    assert poller.copy.keys() == {"one", "two", "hers", "next"}


@pytest.mark.parametrize("size", [1, 2])
async def test_pages_of_last_tombstones_have_one_etag(scene: Scene, size: int) -> None:
    shared = await share(scene, "group")
    await shared.put("three", [shared.who])
    await shared.scene.do(put(f"{shared.list}/ahead", {"last_modified": now_ms() + 2 * 86_400_000}))
    since = (await shared.whole()).timestamp
    await shared.join()
    request = ask(shared.list, f"_since={since}&_limit={size}")
    etags = []
    for _ in range(4):
        answer = await read(scene, request)
        etags.append(answer.timestamp)
        if answer.token is None:
            break
        request = replace(request, query=replace(request.query, token=answer.token))
    assert etags == [0] * -(-3 // size)


async def test_who_lost_the_whole_list_is_told_of_all_that_was_there(
    scene: Scene, grant: str
) -> None:
    shared = await share(scene, grant)
    await shared.open({"read": [shared.who]})
    await shared.put("one", [])
    await shared.put("two", [])
    poller = Poller(scene, shared.list)
    assert await poller.poll()
    assert poller.copy.keys() == {"one", "two", "hers"}
    await shared.open({"read": []})
    await shared.put("never")
    await shared.delete("hers")
    assert await poller.poll()
    assert (poller.copy, poller.told) == ({}, {"one", "two", "hers"})
    assert not await poller.poll()


async def test_who_lost_the_whole_list_keeps_what_is_shared(scene: Scene, grant: str) -> None:
    shared = await share(scene, grant)
    await shared.open({"read": [shared.who]})
    await shared.put("two")
    poller = Poller(scene, shared.list)
    await poller.poll()
    await shared.open({"read": []})
    await shared.put("never")
    assert await poller.poll()
    assert (set(poller.copy), poller.told) == ({"one", "two"}, {"hers"})


@pytest.mark.parametrize("by", ["collection", "bucket"])
async def test_who_gained_the_whole_list_gets_all_of_it(scene: Scene, grant: str, by: str) -> None:
    shared = await share(scene, grant)
    first = await shared.whole()
    await shared.delete("two")
    uri = shared.collection if by == "collection" else shared.collection.rpartition("/c")[0]
    uri = uri.removesuffix("/collections") if by == "bucket" else uri
    await scene.do(put(uri, acl={"read": [shared.who]}))
    request = ask(shared.list, f"_since={first.timestamp}")
    answer = await read(scene, request)
    assert (live(answer), set(dead(answer))) == (["hers", "one"], {"two"})
    clock = await scene.clock(shared.list)
    assert (answer.timestamp, answer.position) == (clock.position >> 20, clock.position)
    # The list has not moved since, but what is told has.
    same = replace(request, precondition=Precondition(none_match=answer.timestamp))
    assert (await read(scene, same)).modified


@pytest.mark.parametrize("grant", ["group", "elsewhere"])
async def test_who_joined_a_group_gets_what_it_sees_however_old(scene: Scene, grant: str) -> None:
    shared = await share(scene, grant)
    await shared.join()
    await shared.put("his", [BOB.user_id])
    since = (await shared.whole()).timestamp
    await shared.delete("two")
    await shared.join(BOB.user_id)
    answer = await shared.poll(since)
    # The tombstone of what he never saw stays untold.
    assert (live(answer), dead(answer)) == (["his", "one"], {})


@pytest.mark.parametrize("grant", ["oneself", "group"])
async def test_list_that_rests_is_told_once_to_whom_it_was_given_whole(
    scene: Scene, grant: str
) -> None:
    shared = await share(scene, grant)
    for name in ("one", "two"):
        await shared.delete(name)
    fresh = Shared(scene, await scene.make_collection(), grant)
    await fresh.join(BOB.user_id)
    await fresh.put("old", [])
    await fresh.open({"read": [fresh.who]})
    since = (await fresh.whole()).timestamp
    # He could see nothing of it before, so his ETag is of the time since.
    assert list((await fresh.poll(since)).objects) == []


async def test_deleted_group_takes_what_it_showed(scene: Scene) -> None:
    shared = await share(scene, "elsewhere")
    poller = Poller(scene, shared.list)
    await poller.poll()
    # Within a millisecond, what is done in two buckets has no order.
    await asyncio.sleep(0.002)
    await scene.do(delete(shared.group))
    assert await poller.poll()
    assert (poller.copy, poller.told) == ({}, {"one", "two"})


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_walk_tells_each_departure_once_after_all_else(scene: Scene, size: int) -> None:
    shared = await share(scene, "group")
    for name in "abcde":
        await shared.put(name, [BOB.user_id if name < "c" else shared.who])
    options = replace(OPTIONS, page_size=size)
    poller = Poller(scene, shared.list, options=options)
    await poller.poll()
    await shared.put("a", [])
    await shared.put("new", [BOB.user_id])
    await shared.join()
    objects, answer = await poller.walk(f"_since={poller.since}")
    told = [one.id for one in objects]
    assert (told[0], sorted(told[1:])) == ("new", ["a", "c", "d", "e", "one", "two"])
    assert all(one.deleted for one in objects[1:])
    assert answer.timestamp == (await scene.clock(shared.list)).position >> 20


async def test_ten_thousand_unshared_objects_come_in_pages(scene: Scene) -> None:
    many = 10_000 if "Memory" in type(scene.storage).__name__ else 1500
    shared = await share(scene, "oneself")
    parts = [put(f"{shared.list}/r{n}", acl={"read": [BOB.user_id]}) for n in range(many)]
    for readers in ([BOB.user_id], []):
        parts = [put(f"{shared.list}/r{n}", acl={"read": readers}) for n in range(many)]
        for start in range(0, many, 500):
            await scene.commit(*parts[start : start + 500])
        if readers:
            poller = Poller(scene, shared.list, options=replace(OPTIONS, page_size=many // 4))
            await poller.poll()
    assert await poller.poll()
    assert poller.copy.keys() == {"one", "two"}
    assert len(poller.told) == many


async def test_tombstone_has_to_match_the_filters_as_any_tombstone(scene: Scene) -> None:
    shared = await share(scene, "oneself")
    since = (await shared.whole()).timestamp
    await shared.put("one", [])
    assert dead(await shared.poll(since, "&not_at=1")).keys() == {"one"}
    assert dead(await shared.poll(since, "&id=one")).keys() == {"one"}
    assert dead(await shared.poll(since, "&at=1")) == {}


async def test_head_counts_what_is_in_sight_and_has_the_etag_of_a_get(scene: Scene) -> None:
    shared = await share(scene, "oneself")
    since = (await shared.whole()).timestamp
    await shared.put("one", [])
    request = ask(shared.list, f"_since={since}")
    counted = await read(scene, replace(request, count=True))
    assert (counted.total, counted.objects) == (0, ())
    assert counted.timestamp == (await read(scene, request)).timestamp > since


async def test_who_may_add_is_told_what_left_their_sight(scene: Scene) -> None:
    shared = await share(scene, "oneself")
    await shared.open({"record:create": [BOB.user_id]})
    since = (await shared.whole()).timestamp
    for name in ("one", "two"):
        await shared.put(name, [])
    answer = await shared.poll(since)
    assert dead(answer).keys() == {"one", "two"}
    assert list((await shared.poll(answer.timestamp)).objects) == []


async def test_list_of_buckets_tells_which_are_shared_no_more(scene: Scene) -> None:
    bucket, other = random_bucket(), random_bucket()
    acl = {"read": [BOB.user_id]}
    await scene.commit(put(bucket, acl=acl), put(other, acl=acl))
    poller = Poller(scene, "/buckets")
    await poller.poll()
    await scene.do(put(bucket, acl={"read": []}))
    await poller.poll()
    assert poller.told == {bucket.rpartition("/")[2]}
    assert other.rpartition("/")[2] in poller.copy


async def test_settings_that_open_a_list_are_no_news(scene: Scene) -> None:
    shared = await share(scene, "oneself")
    options = replace(OPTIONS, rules=Rules({"record:read": frozenset([BOB.user_id])}))
    since = (await shared.whole()).timestamp
    await shared.put("one", [])
    answer = await read(scene, ask(shared.list, f"_since={since}"), options)
    assert live(answer) == ["one"]


async def test_nothing_of_this_is_told_where_it_is_switched_off(scene: Scene) -> None:
    shared = await share(scene, "oneself")
    options = replace(OPTIONS, sharee_tombstones=False)
    request = ask(shared.list, f"_since={(await shared.whole()).timestamp}")
    await shared.put("one", [])
    assert list((await read(scene, request, options)).objects) == []
    await shared.open({"read": [BOB.user_id]})
    assert live(await read(scene, request, options)) == ["one"]
    await shared.open({"read": []})
    await shared.put("two", [])
    with pytest.raises(Forbidden):
        await read(scene, request, options)


class TestCursors:
    """``_since`` as a position."""

    async def test_write_dated_in_the_past_is_told_to_a_cursor_and_not_to_an_etag(
        self, scene: Scene
    ) -> None:
        shared = await share(scene, "oneself")
        before = await scene.clock(shared.list)
        outcome = await scene.do(put(f"{shared.list}/past", {"last_modified": 5}))
        cursor = spell_full_cursor(before.position)
        answer = await read(scene, ask(shared.list, f"_since={cursor}", by=ALICE))
        assert (live(answer), answer.position) == (["past"], outcome.object.position)
        assert answer.timestamp == before.position >> 20
        etag = ask(shared.list, f"_since={answer.timestamp}", by=ALICE)
        assert list((await read(scene, etag)).objects) == []
        # The list's ETag is the same, so only the cursor can tell that there is something.
        known = Precondition(none_match=answer.timestamp)
        request = ask(shared.list, f"_since={cursor}", by=ALICE, only=known)
        assert (await read(scene, request)).modified
        following = spell_full_cursor(outcome.object.position)
        request = ask(shared.list, f"_since={following}", by=ALICE, only=known)
        assert not (await read(scene, request)).modified

    async def test_bound_holds_on_every_page_and_for_a_count(self, scene: Scene) -> None:
        shared = await share(scene, "oneself")
        cursor = spell_full_cursor((await scene.clock(shared.list)).position)
        for n in range(5):
            await scene.do(put(f"{shared.list}/p{n}", {"last_modified": 10 - n}))
        await shared.delete("hers")
        options = replace(OPTIONS, page_size=2)
        poller = Poller(scene, shared.list, by=ALICE, options=options)
        objects, _ = await poller.walk(f"_since={cursor}")
        assert [one.id for one in objects] == ["hers", "p0", "p1", "p2", "p3", "p4"]
        request = ask(shared.list, f"_since={cursor}", by=ALICE)
        assert (await read(scene, replace(request, count=True))).total == 5

    @pytest.mark.parametrize("by", [ALICE, BOB], ids=["owner", "sharee"])
    async def test_cursor_from_before_or_beyond_is_expired(self, scene: Scene, by: object) -> None:
        actor = BOB if by is BOB else ALICE
        shared = await share(scene, "oneself")
        old = spell_full_cursor((await scene.clock(shared.list)).position)
        await scene.commit(delete(shared.collection), put(shared.collection))
        await shared.put("one", [BOB.user_id])
        clock = await scene.clock(shared.list)
        for cursor, reason in [(old, "floor"), ("0-0", "floor"), (f"{now_ms() + 9999}-1", "ahead")]:
            with pytest.raises(CursorExpired) as caught:
                await read(scene, ask(shared.list, f"_since={cursor}", by=actor))
            assert caught.value.details["reason"] == reason
            assert caught.value.details["floor"] == str(clock.floor >> 20)
        exact = ask(shared.list, f"_since={spell_full_cursor(clock.floor)}", by=actor)
        assert live(await read(scene, exact)) == ["one"]

    async def test_stranger_is_refused_whatever_the_cursor(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        with pytest.raises(Forbidden):
            await read(scene, ask(f"{collection}/records", f"_since={now_ms() + 9999}-1"))
