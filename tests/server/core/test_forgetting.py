import pytest

from server.core.commands import Forget, Replace
from server.core.contents import parse_content
from server.core.permissions import AUTHENTICATED, Rules, make_actor
from tests.server.core.worlds import BOB, World, target

OPERATOR = BOB


def forget(world: World, *uris: str, principal: str = "alice") -> int:
    changed = world.do(Forget(OPERATOR, principal, uris))
    assert isinstance(changed, int)
    return changed


def make_world() -> World:
    world = World()
    world.put("/buckets/b", {"data": {"n": 1}})
    return world


def test_what_only_the_principal_may_write_is_removed() -> None:
    world = make_world()
    assert forget(world, "/buckets/b") == 1
    assert world.objects["/buckets/b"].deleted  # type: ignore[union-attr]


def test_what_others_may_write_too_stays_and_names_the_principal_no_more() -> None:
    world = make_world()
    world.put("/buckets/b", {"permissions": {"write": ["bob"], "read": ["alice", "carol"]}})
    before = world.objects["/buckets/b"]
    assert before is not None
    assert before.acl == {"write": ("bob", "alice"), "read": ("alice", "carol")}
    assert forget(world, "/buckets/b") == 1
    after = world.objects["/buckets/b"]
    assert after is not None
    assert after.acl == {"write": ("bob",), "read": ("carol",)}
    assert after.data["n"] == 1
    assert after.last_modified > before.last_modified
    # Who does it does not come to own it.
    assert forget(world, "/buckets/b") == 0


def test_entry_of_an_acl_that_nobody_is_left_in_is_dropped() -> None:
    world = make_world()
    shared = {"write": ["bob"], "read": ["alice"], "collection:create": ["alice", AUTHENTICATED]}
    world.put("/buckets/b", {"permissions": shared})
    forget(world, "/buckets/b")
    assert world.objects["/buckets/b"].acl == {  # type: ignore[union-attr]
        "write": ("bob",),
        "collection:create": (AUTHENTICATED,),
    }


def test_group_has_the_principal_as_a_member_no_more() -> None:
    world = make_world()
    uri = "/buckets/b/groups/g"
    world.put("/buckets/b", {"permissions": {"write": ["bob"]}})
    world.put(uri, {"data": {"members": ["alice", "carol"], "n": 2}}, BOB)
    assert forget(world, uri) == 1
    group = world.objects[uri]
    assert group is not None
    assert group.members == ("carol",)
    assert (group.data["members"], group.data["n"]) == (["carol"], 2)
    assert group.acl == {"write": ("bob",)}


@pytest.mark.parametrize("uris", [("/buckets/none",), ("/buckets/none/groups/g",)])
def test_what_is_not_there_is_left_as_it_is(uris: tuple[str, ...]) -> None:
    assert forget(make_world(), *uris) == 0


def test_what_lies_in_what_was_removed_goes_with_it() -> None:
    world = make_world()
    world.put("/buckets/b/collections/c")
    assert forget(world, "/buckets/b", "/buckets/b/collections/c") == 1


def test_account_goes_with_its_user() -> None:
    user = make_actor("account:alice")
    world = World(Rules({"account:create": frozenset([AUTHENTICATED])}))
    content = parse_content("account", {"permissions": {"write": ["account:alice"]}})
    world.do(Replace(target("/accounts/alice", user), content))
    assert forget(world, "/accounts/alice", principal="account:alice") == 1
    assert world.objects["/accounts/alice"].deleted  # type: ignore[union-attr]


def test_what_does_not_name_the_principal_is_left_as_it_is() -> None:
    world = make_world()
    assert forget(world, "/buckets/b", principal="carol") == 0
