from typing import Any
from urllib.parse import quote

import pytest

from tests.handlers.conftest import ALICE, BOB, Fetch, Start
from tests.handlers.lives import B, C, R, open_live

pytestmark = pytest.mark.gen_test

ALLOWED: dict[str, Any] = {"user_data_delete_principals": "system.Authenticated"}


async def id_of(fetch: Fetch, user: str) -> str:
    found = (await fetch("GET /", user=user)).json["user"]["id"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("is_quoted", [False, True])
async def test_what_is_a_users_alone_is_deleted_and_their_name_is_nowhere(
    is_quoted: bool, start: Start
) -> None:
    fetch = await start(**ALLOWED)
    bob = await id_of(fetch, BOB)
    await fetch("PUT /buckets/bobs", user=BOB)
    await fetch("PUT /buckets/bobs/collections/c", user=BOB)
    await fetch("PUT /buckets/alices", {"permissions": {"read": [bob], "write": [bob]}})
    await fetch("PUT /buckets/alices/groups/g", {"data": {"members": [bob, "account:carol"]}})
    await fetch("PUT /buckets/alices/collections/c", user=BOB)
    answer = await fetch(f"DELETE /__user_data__/{quote(bob, safe='') if is_quoted else bob}")
    assert (answer.status, answer.json) == (200, {"data": {"principal": bob}})
    assert (await fetch("GET /buckets/bobs", user=BOB)).status == 403
    kept = (await fetch("GET /buckets/alices")).json["permissions"]
    assert kept == {"write": [await id_of(fetch, ALICE)]}
    assert (await fetch("GET /buckets/alices/groups/g")).data["members"] == ["account:carol"]
    assert (await fetch("GET /buckets/alices/collections/c")).status == 404


async def test_who_is_not_named_by_the_setting_is_refused(start: Start) -> None:
    fetch = await start()
    await fetch("PUT /buckets/b")
    me = await id_of(fetch, ALICE)
    for user, status, errno in ((ALICE, 403, 121), (None, 401, 104)):
        answer = await fetch(f"DELETE /__user_data__/{me}", user=user)
        assert (answer.status, answer.json["errno"]) == (status, errno)
    assert (await fetch("GET /buckets/b")).status == 200


async def test_other_methods_and_a_switched_off_endpoint_are_405(start: Start) -> None:
    fetch = await start(**ALLOWED)
    answer = await fetch("GET /__user_data__/account:alice")
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE, OPTIONS")
    off = await start(**ALLOWED, object_user_data_delete_enabled="false")
    assert (await off("DELETE /__user_data__/account:alice")).status == 405


async def test_forgetting_is_no_part_of_a_batch(start: Start) -> None:
    fetch = await start(**ALLOWED)
    wanted = {"requests": [{"method": "DELETE", "path": "/__user_data__/account:alice"}]}
    (part,) = (await fetch("POST /batch", wanted)).json["responses"]
    assert (part["status"], part["body"]["errno"]) == (400, 107)


@pytest.mark.gen_test(timeout=60)
async def test_who_follows_a_list_as_a_member_of_a_group_loses_it() -> None:
    async with open_live({"KINTO_STORAGE_BACKEND": "memory"}, **ALLOWED) as server:
        bob = await server.user_id(BOB)
        await server.furnish()
        await server.put(f"{B}/groups/g", {"members": [bob]})
        await server.put(C, acl={"read": [f"{B}/groups/g"]})
        await server.put(f"{R}/r", {"n": 1})
        talk = await server.listen(R, user=BOB)
        await talk.until("ready")
        await server.ask(f"DELETE /__user_data__/{bob}")
        end = (await talk.until("unsubscribed"))[-1]
        assert (end.data["code"], end.data["purge"]) == (403, True)
