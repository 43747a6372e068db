import time
from base64 import b64encode
from typing import Any

import pytest

from server.core.permissions import Rules
from server.storage.memory import MemoryStorage
from tests.handlers.conftest import ALICE, BOB, Answer, Fetch, Start

pytestmark = pytest.mark.gen_test

FEATURES = "api_keys default_bucket flush"
EVERYTHING = [{"uri": "/", "access": "write"}]
RECORDS = "/buckets/b/collections/c/records"


def keys_of(**scopes: str) -> list[dict[str, str]]:
    """``keys_of(write="/buckets/b")``."""
    return [{"uri": uri, "access": access} for access, uri in scopes.items()]


async def ask_for_key(fetch: Fetch, scopes: Any, user: str | None = ALICE, **data: Any) -> Answer:
    return await fetch("POST /api-keys", {"data": {"scopes": scopes, **data}}, user=user)


async def make_key(fetch: Fetch, scopes: Any, **data: Any) -> str:
    """What a program sends as ``Authorization``."""
    made = await ask_for_key(fetch, scopes, **data)
    assert made.status == 201, made.body
    return f"Bearer {made.data['key']}"


async def user_of(fetch: Fetch, authorization: str) -> str | None:
    hello = (await fetch("GET /", user=authorization)).json
    user: str | None = hello.get("user", {}).get("id")
    return user


async def test_key_is_shown_once_and_nothing_tells_it_again(start: Start) -> None:
    storage = MemoryStorage(Rules({"api_key:create": frozenset({"system.Authenticated"})}))
    fetch = await start(storage, includes=FEATURES)
    made = await ask_for_key(fetch, EVERYTHING, name="backup")
    key, uri = made.data["key"], f"/api-keys/{made.data['id']}"
    assert made.status == 201
    assert key.startswith(f"kin_{made.data['id']}_")
    assert len(key.rpartition("_")[2]) == 64
    secret = key.rpartition("_")[2]
    for path in ("/api-keys", uri, "/api-keys?_since=0", "/permissions"):
        assert secret not in (await fetch(f"GET {path}")).body.decode()
    async with storage.snapshot() as snapshot:
        stored = (await snapshot.objects([uri]))[uri]
    assert secret not in repr(stored) + stored.secret


async def test_key_is_its_owner(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    key = await make_key(fetch, EVERYTHING)
    alice = await user_of(fetch, ALICE)
    assert alice is not None
    assert await user_of(fetch, key) == alice
    made = await fetch("PUT /buckets/b", user=key)
    assert made.json["permissions"] == {"write": [alice]}


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("GET /buckets/b/collections/c", 200),
        (f"GET {RECORDS}", 200),
        (f"GET {RECORDS}/r", 200),
        (f"PUT {RECORDS}/r", 200),
        (f"POST {RECORDS}", 201),
        (f"DELETE {RECORDS}/r", 200),
        ("GET /buckets/b", 403),
        ("GET /buckets", 403),
        ("PUT /buckets/x", 403),
        ("GET /buckets/b/collections", 403),
        ("GET /buckets/b/collections/cc/records", 403),
        ("GET /buckets/b/groups", 403),
        ("GET /buckets/b/changes", 403),
        ("GET /permissions", 403),
        ("GET /api-keys", 403),
        ("POST /__flush__", 403),
        ("GET /buckets/default", 403),
        ("GET /buckets/no/collections/c", 403),
        ("GET /", 200),
        ("GET /__heartbeat__", 200),
    ],
)
async def test_key_is_good_for_what_lies_in_its_scope_and_for_nothing_else(
    start: Start, target: str, status: int
) -> None:
    fetch = await start(includes=FEATURES, experimental_permissions_endpoint=True)
    for path in ("/buckets/b", "/buckets/b/collections/c", "/buckets/b/collections/cc"):
        await fetch(f"PUT {path}")
    await fetch(f"PUT {RECORDS}/r")
    key = await make_key(fetch, keys_of(write="/buckets/b/collections/c"))
    body: Any = {} if target[:2] in ("PU", "PO") else None
    answer = await fetch(target, body, user=key)
    assert answer.status == status
    assert status != 403 or answer.json["errno"] == 121


async def test_key_for_reading_cannot_write(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    await fetch("PUT /buckets/b")
    key = await make_key(fetch, keys_of(read="/buckets/b"))
    assert (await fetch("GET /buckets/b", user=key)).status == 200
    for method in ("PUT", "PATCH", "DELETE"):
        assert (await fetch(f"{method} /buckets/b", {}, user=key)).status == 403


async def test_key_gives_no_permission_that_its_owner_has_not(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    await fetch("PUT /buckets/bobs", user=BOB)
    key = await make_key(fetch, keys_of(write="/buckets/bobs"))
    assert (await fetch("GET /buckets/bobs", user=key)).status == 403


async def test_key_in_a_batch_is_limited_in_each_of_its_parts(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    await fetch("PUT /buckets/b")
    key = await make_key(fetch, keys_of(read="/buckets/b"))
    wanted = [
        {"path": "/buckets/b"},
        {"path": "/buckets"},
        {"path": "/v1/buckets/b", "method": "PUT"},
        {"path": "/buckets", "headers": {"Authorization": ALICE}},
    ]
    answer = await fetch("POST /batch", {"requests": wanted}, user=key)
    assert [one["status"] for one in answer.json["responses"]] == [200, 403, 403, 200]


async def test_key_made_in_a_batch_is_shown_there(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    part = {"method": "POST", "path": "/api-keys", "body": {"data": {"scopes": EVERYTHING}}}
    answer = await fetch("POST /batch", {"requests": [part]})
    key = answer.json["responses"][0]["body"]["data"]["key"]
    assert await user_of(fetch, f"Bearer {key}") == await user_of(fetch, ALICE)


async def test_default_bucket_in_a_scope_is_the_owners_own(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    made = await ask_for_key(fetch, keys_of(write="/buckets/default/collections/c"))
    bucket = (await fetch("GET /")).json["user"]["bucket"]
    assert made.data["scopes"][0]["uri"] == f"/buckets/{bucket}/collections/c"
    key = f"Bearer {made.data['key']}"
    path = "/buckets/default/collections"
    assert (await fetch(f"PUT {path}/c/records/r", {}, user=key)).status == 201
    assert (await fetch(f"GET /buckets/{bucket}/collections/c/records", user=key)).status == 200
    assert (await fetch(f"GET {path}/d/records", user=key)).status == 403


@pytest.mark.parametrize("method", ["POST /api-keys", "DELETE /api-keys", "PATCH", "DELETE"])
async def test_key_cannot_make_change_or_revoke_keys(start: Start, method: str) -> None:
    fetch = await start(includes=FEATURES)
    made = await ask_for_key(fetch, EVERYTHING)
    target = method if " " in method else f"{method} /api-keys/{made.data['id']}"
    body = {"data": {"scopes": EVERYTHING}} if method[0] == "P" else None
    answer = await fetch(target, body, user=f"Bearer {made.data['key']}")
    assert (answer.status, answer.json["errno"]) == (403, 121)
    assert (await fetch("GET /api-keys", user=f"Bearer {made.data['key']}")).status == 200


async def test_key_that_was_revoked_is_nobodys_at_once(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    key = await make_key(fetch, EVERYTHING)
    key_id = (await fetch("GET /api-keys")).data[0]["id"]
    assert await user_of(fetch, key) is not None
    assert (await fetch(f"DELETE /api-keys/{key_id}")).status == 200
    assert await user_of(fetch, key) is None
    refused = await fetch("GET /buckets", user=key)
    assert refused.status == 401
    assert 'Bearer realm="Realm"' in refused.headers["WWW-Authenticate"]
    assert (await fetch("GET /api-keys")).data == []


async def test_scopes_that_were_changed_count_at_once_and_the_key_stays(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    await fetch("PUT /buckets/b")
    made = await ask_for_key(fetch, keys_of(write="/buckets/b"), name="old")
    key, uri = f"Bearer {made.data['key']}", f"/api-keys/{made.data['id']}"
    assert (await fetch("PUT /buckets/b", {}, user=key)).status == 200
    changed = await fetch(f"PATCH {uri}", {"data": {"scopes": keys_of(read="/buckets/b")}})
    assert (changed.status, changed.data["name"]) == (200, "old")
    assert "key" not in changed.data
    assert (await fetch("PUT /buckets/b", {}, user=key)).status == 403
    assert (await fetch("GET /buckets/b", user=key)).status == 200


async def test_key_is_good_until_it_expires(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    soon = int(time.time() * 1000) + 1000
    key = await make_key(fetch, EVERYTHING, expires=soon)
    assert await user_of(fetch, key) is not None
    while time.time() * 1000 < soon:
        await fetch("GET /__lbheartbeat__")
    assert await user_of(fetch, key) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: key.replace("kin_", "kim_"),
        lambda key: key.rpartition("_")[0],
        lambda key: key.rpartition("_")[0] + "_",
        lambda key: "kin__" + key.rpartition("_")[2],
        lambda key: "kin_nobody_" + key.rpartition("_")[2],
        lambda key: key + "\xe9",
    ],
)
async def test_what_is_not_exactly_the_key_is_nobodys(start: Start, wrong: Any) -> None:
    fetch = await start(includes=FEATURES)
    key = await make_key(fetch, EVERYTHING)
    assert await user_of(fetch, key) is not None
    assert await user_of(fetch, "Bearer " + wrong(key.removeprefix("Bearer "))) is None
    assert await user_of(fetch, key.replace("Bearer", "Basic")) is None


async def test_users_see_and_change_their_own_keys_only(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    made = await ask_for_key(fetch, EVERYTHING, name="mine")
    uri = f"/api-keys/{made.data['id']}"
    listed = await fetch("GET /api-keys")
    assert [(one["name"], one["scopes"]) for one in listed.data] == [("mine", EVERYTHING)]
    assert (await fetch("GET /api-keys", user=BOB)).data == []
    assert (await fetch(f"GET {uri}", user=BOB)).status == 403
    assert (await fetch(f"PATCH {uri}", {"data": {"name": "x"}}, user=BOB)).status == 403
    assert (await fetch(f"PATCH {uri}", {"data": {"bad": 1}}, user=BOB)).status == 403
    assert (await fetch(f"DELETE {uri}", user=BOB)).status == 403
    assert (await fetch("DELETE /api-keys", user=BOB)).data == []
    assert len((await fetch("DELETE /api-keys")).data) == 1


@pytest.mark.parametrize("target", ["GET /api-keys", "POST /api-keys", "DELETE /api-keys"])
async def test_nobody_has_no_keys(start: Start, target: str) -> None:
    fetch = await start(includes=FEATURES)
    body = {"data": {"scopes": EVERYTHING}} if target[0] == "P" else None
    assert (await fetch(target, body, user=None)).status == 401


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({}, "data.scopes"),
        ({"scopes": None}, "data.scopes"),
        ({"scopes": "all"}, "data.scopes"),
        ({"scopes": []}, "data.scopes"),
        ({"scopes": EVERYTHING * 101}, "data.scopes"),
        ({"scopes": ["/"]}, "data.scopes.0"),
        ({"scopes": [{"uri": "/"}]}, "data.scopes.0"),
        ({"scopes": [{"uri": "/", "access": "write", "more": 1}]}, "data.scopes.0"),
        ({"scopes": [*EVERYTHING, {"uri": "/", "access": "all"}]}, "data.scopes.1.access"),
        ({"scopes": EVERYTHING, "name": 7}, "data.name"),
        ({"scopes": EVERYTHING, "name": "x" * 201}, "data.name"),
        ({"scopes": EVERYTHING, "expires": "tomorrow"}, "data.expires"),
        ({"scopes": EVERYTHING, "expires": 1}, "data.expires"),
        ({"scopes": EVERYTHING, "expires": 10**20}, "data.expires"),
        ({"scopes": EVERYTHING, "id": "mine"}, "data.id"),
        ({"scopes": EVERYTHING, "key": "kin_1_2"}, "data.key"),
    ],
    ids=str,
)
async def test_key_that_is_asked_for_wrongly_is_400_and_told_where(
    start: Start, data: dict[str, Any], place: str
) -> None:
    fetch = await start(includes=FEATURES)
    answer = await fetch("POST /api-keys", {"data": data})
    assert (answer.status, answer.json["errno"]) == (400, 107)
    assert place in [one["name"] for one in answer.json["details"]]
    assert (await fetch("GET /api-keys")).data == []


@pytest.mark.parametrize(
    "uri",
    [
        "", "buckets/b", "/v1/buckets/b", "/buckets/b/", "/nothing", "/buckets/b/changes",
        "/buckets/b/history", "/buckets/_b", "/accounts/alice", "/api-keys", "//", 7, None,
        "/buckets/b?x=1", "/buckets/b/../c",
    ],
)  # fmt: skip
async def test_scope_that_is_of_nothing_that_is_stored_is_400(start: Start, uri: Any) -> None:
    fetch = await start(includes=FEATURES)
    answer = await ask_for_key(fetch, [{"uri": uri, "access": "read"}])
    assert answer.status == 400
    assert answer.json["details"][0]["name"] == "data.scopes.0.uri"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"data": {"scopes": EVERYTHING}, "permissions": {"write": ["x"]}}, {}, 400),
        ({"more": {}}, {}, 400),
        ([], {}, 400),
        (b"{", {}, 400),
        (b"", {}, 400),
        ({"data": {"scopes": EVERYTHING}}, {"Content-Type": "text/plain"}, 415),
    ],
    ids=str,
)
async def test_body_that_is_no_description_of_a_key_is_refused(
    start: Start, body: Any, headers: dict[str, str], status: int
) -> None:
    fetch = await start(includes=FEATURES)
    assert (await fetch("POST /api-keys", body, headers=headers)).status == status


async def test_key_cannot_be_put_and_cannot_be_patched_by_operations(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    made = await ask_for_key(fetch, EVERYTHING)
    put = await fetch(f"PUT /api-keys/{made.data['id']}", {"data": {"scopes": EVERYTHING}})
    assert (put.status, put.json["errno"]) == (405, 115)
    operations = [{"op": "replace", "path": "/data/scopes", "value": EVERYTHING}]
    kind = {"Content-Type": "application/json-patch+json"}
    patched = await fetch(f"PATCH /api-keys/{made.data['id']}", operations, headers=kind)
    assert patched.status == 415


async def test_key_that_is_not_there_is_403_for_it_is_nobodys(start: Start) -> None:
    fetch = await start(includes=FEATURES)
    for method, body in (("GET", None), ("PATCH", {"data": {"name": "x"}}), ("DELETE", None)):
        assert (await fetch(f"{method} /api-keys/none", body)).status == 403


async def test_without_the_feature_there_are_no_keys(start: Start) -> None:
    fetch = await start(includes="default_bucket")
    assert (await fetch("GET /api-keys")).status == 404
    assert "api_keys" not in (await fetch("GET /")).json["capabilities"]


def basic(name: str, password: str) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


async def start_with_accounts(start: Start) -> Fetch:
    fetch = await start(
        includes="api_keys accounts default_bucket",
        multiauth_policies="account",
        account_create_principals="system.Everyone",
    )
    await sign_up(fetch)
    return fetch


async def sign_up(fetch: Fetch) -> None:
    body = {"data": {"password": "secret1234"}}
    assert (await fetch("PUT /accounts/carol", body, user=None)).status == 201


CAROL = basic("carol", "secret1234")


async def test_keys_of_an_account_die_with_it_and_stay_dead(start: Start) -> None:
    fetch = await start_with_accounts(start)
    made = await ask_for_key(fetch, EVERYTHING, user=CAROL)
    key = f"Bearer {made.data['key']}"
    assert await user_of(fetch, key) == "account:carol"
    assert (await fetch("DELETE /accounts/carol", user=CAROL)).status == 200
    assert await user_of(fetch, key) is None
    await sign_up(fetch)
    assert await user_of(fetch, key) is None
    new = await ask_for_key(fetch, EVERYTHING, user=CAROL)
    assert await user_of(fetch, f"Bearer {new.data['key']}") == "account:carol"


async def test_key_for_everything_cannot_change_its_owners_password(start: Start) -> None:
    fetch = await start_with_accounts(start)
    made = await ask_for_key(fetch, EVERYTHING, user=CAROL)
    key = f"Bearer {made.data['key']}"
    changed = await fetch("PATCH /accounts/carol", {"data": {"password": "mine12345"}}, user=key)
    assert changed.status == 403
    assert (await fetch("DELETE /accounts/carol", user=key)).status == 403
    assert await user_of(fetch, CAROL) == "account:carol"


async def test_keys_of_a_user_who_is_forgotten_are_revoked(start: Start) -> None:
    fetch = await start(includes=FEATURES, user_data_delete_principals="system.Everyone")
    key = await make_key(fetch, EVERYTHING)
    alice = await user_of(fetch, key)
    assert (await fetch(f"DELETE /__user_data__/{alice}")).status == 200
    assert (await fetch("GET /api-keys")).data == []


async def test_key_outlives_a_change_of_its_owners_password(start: Start) -> None:
    fetch = await start_with_accounts(start)
    made = await ask_for_key(fetch, EVERYTHING, user=CAROL)
    body = {"data": {"password": "another123"}}
    assert (await fetch("PATCH /accounts/carol", body, user=CAROL)).status == 200
    assert await user_of(fetch, f"Bearer {made.data['key']}") == "account:carol"
