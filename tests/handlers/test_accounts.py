"""Accounts over HTTP: who may do what, and that a password is never told."""

import json
from base64 import b64encode
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from server.app import make_rules
from server.storage.memory import MemoryStorage
from tests.handlers.conftest import Answer, Fetch, Start, settings_of

pytestmark = pytest.mark.gen_test(timeout=30)

OPEN = {
    "includes": "accounts default_bucket flush",
    "multiauth__policies": "account basicauth",
    "account_create_principals": "system.Everyone account:admin",
    "account_write_principals": "account:admin",
    "account_password_rounds": 4,
    "experimental_permissions_endpoint": True,
}

JSON_PATCH = {"Content-Type": "application/json-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
PASSWORD = "correct horse"


def basic(name: str, password: str = PASSWORD) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


ALICE, BOB, ADMIN = basic("alice"), basic("bob"), basic("admin")


@pytest.fixture
def ask(start: Start, io_loop: IOLoop) -> Fetch:
    """Asks a server with accounts, on which admin, alice and bob have signed up."""

    async def begin() -> Fetch:
        fetch = await start(**OPEN)
        for name in ("admin", "alice", "bob"):
            await sign_up(fetch, name)
        return fetch

    return io_loop.run_sync(begin)  # type: ignore[no-any-return]


async def sign_up(fetch: Fetch, name: str, password: str = PASSWORD, **data: Any) -> Answer:
    body = {"data": {"password": password, **data}}
    answer = await fetch(f"PUT /accounts/{name}", body, user=None)
    assert answer.status == 201, answer.body
    return answer


async def user_of(fetch: Fetch, user: str) -> Any:
    return (await fetch("GET /", user=user)).json["user"]["id"]


async def test_anybody_may_sign_up_and_is_who_they_are(ask: Fetch) -> None:
    answer = await sign_up(ask, "carol@example.org", n=1)
    assert set(answer.data) == {"id", "last_modified", "n"}
    assert answer.json["permissions"] == {"write": ["account:carol@example.org"]}
    user = (await ask("GET /", user=basic("carol@example.org"))).json["user"]
    assert user["id"] == "account:carol@example.org"
    assert {"account:carol@example.org", "system.Authenticated"} <= set(user["principals"])


async def test_account_can_be_posted(ask: Fetch) -> None:
    body = {"data": {"id": "carol", "password": PASSWORD}}
    answer = await ask("POST /accounts", body, user=None)
    assert (answer.status, answer.data["id"]) == (201, "carol")
    assert answer.json["permissions"] == {"write": ["account:carol"]}
    assert await user_of(ask, basic("carol")) == "account:carol"


async def test_password_is_in_no_answer_and_in_no_list(ask: Fetch) -> None:
    asked = [
        await ask("PUT /accounts/alice", {"data": {"password": PASSWORD}}, user=ALICE),
        await ask("PATCH /accounts/alice", {"data": {"password": PASSWORD}}, user=ALICE),
        await ask("GET /accounts/alice", user=ALICE),
        await ask("GET /accounts/alice?_fields=password", user=ALICE),
        await ask("GET /accounts", user=ADMIN),
        await ask("GET /accounts?_since=0&_fields=password", user=ADMIN),
        await ask("GET /accounts?has_password=true", user=ADMIN),
        await ask("DELETE /accounts/alice", user=ALICE),
    ]
    assert [one.status for one in asked] == [200] * 8
    assert [len(one.data) for one in asked[4:7]] == [3, 3, 0]
    for one in asked:
        assert PASSWORD.encode() not in one.body
        assert b"$2b$" not in one.body
        assert b"password" not in one.body


async def test_password_is_in_no_store_and_no_log_but_beside_the_account(start: Start) -> None:
    storage = MemoryStorage(make_rules(settings_of(OPEN)))
    fetch = await start(storage=storage, **OPEN)
    await sign_up(fetch, "alice")
    patch = [{"op": "replace", "path": "/data/password", "value": "other"}]
    text = json.dumps(patch).encode()
    assert (
        await fetch("PATCH /accounts/alice", text, user=ALICE, headers=JSON_PATCH)
    ).status == 200
    assert len(storage.revisions) == 2
    assert "$2b$" not in repr(storage.revisions)
    assert "password" not in repr(storage.revisions)
    async with storage.snapshot() as snapshot:
        stored = (await snapshot.objects(["/accounts/alice"]))["/accounts/alice"]
    assert stored.secret.startswith("$2b$04$")
    assert "secret" not in repr(stored)


@pytest.mark.parametrize(
    ("method", "body", "headers"),
    [
        ("PUT", {"data": {"password": "new"}}, {}),
        ("PATCH", {"data": {"password": "new"}}, {}),
        ("PATCH", {"data": {"password": "new"}}, MERGE),
        ("PATCH", [{"op": "replace", "path": "/data/password", "value": "new"}], JSON_PATCH),
        ("PATCH", [{"op": "add", "path": "/data/password", "value": "new"}], JSON_PATCH),
    ],
)
async def test_password_changes_at_once_by_every_way_to_change_it(
    ask: Fetch, method: str, body: Any, headers: dict[str, str]
) -> None:
    assert await user_of(ask, ALICE) == "account:alice"
    text = json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **headers}
    answer = await ask(f"{method} /accounts/alice", text, user=ALICE, headers=sent)
    assert answer.status == 200, answer.body
    assert (await user_of(ask, ALICE)).startswith("basicauth:")
    assert await user_of(ask, basic("alice", "new")) == "account:alice"


async def test_change_of_something_else_leaves_the_password(ask: Fetch) -> None:
    answer = await ask("PATCH /accounts/alice", {"data": {"n": 1}}, user=ALICE)
    assert answer.data["n"] == 1
    assert await user_of(ask, ALICE) == "account:alice"
    answer = await ask("PATCH /accounts/alice", {"data": {"n": None}}, user=ALICE, headers=MERGE)
    assert "n" not in answer.data


async def test_account_that_is_deleted_lets_nobody_in(ask: Fetch) -> None:
    assert await user_of(ask, ALICE) == "account:alice"
    assert (await ask("DELETE /accounts/alice", user=ALICE)).status == 200
    assert (await user_of(ask, ALICE)).startswith("basicauth:")
    await sign_up(ask, "alice", "another")
    assert (await user_of(ask, ALICE)).startswith("basicauth:")


async def test_nobody_overwrites_somebody_elses_account(ask: Fetch) -> None:
    body = {"data": {"password": "mine now"}}
    posted = {"data": {"id": "alice", "password": "mine now"}}
    for user, status in ((None, 401), (BOB, 403)):
        assert (await ask("PUT /accounts/alice", body, user=user)).status == status
        assert (await ask("PATCH /accounts/alice", body, user=user)).status == status
        assert (await ask("DELETE /accounts/alice", user=user)).status == status
    assert (await ask("POST /accounts", posted, user=None)).status == 401
    assert (await ask("POST /accounts", posted, user=BOB)).status == 400
    assert await user_of(ask, ALICE) == "account:alice"


async def test_who_is_known_makes_no_account_of_another_name(ask: Fetch) -> None:
    body = {"data": {"password": "x"}}
    for user in (ALICE, basic("who", "knows")):
        answer = await ask("PUT /accounts/carol", body, user=user)
        assert answer.status == 400
        assert answer.json["message"].endswith("Username and account ID do not match.")
        assert answer.json["details"][0]["name"] == "data.id"


async def test_everybody_sees_their_own_account_and_an_admin_sees_all(ask: Fetch) -> None:
    assert [one["id"] for one in (await ask("GET /accounts", user=ALICE)).data] == ["alice"]
    assert (await ask("GET /accounts/bob", user=ALICE)).status == 403
    every = (await ask("GET /accounts?_sort=id", user=ADMIN)).data
    assert [one["id"] for one in every] == ["admin", "alice", "bob"]
    assert (await ask("HEAD /accounts", user=ADMIN)).headers["Total-Objects"] == "3"
    assert (await ask("GET /accounts/bob", user=ADMIN)).status == 200


async def test_anonymous_reader_is_told_to_say_who_they_are(ask: Fetch) -> None:
    for target in ("GET /accounts", "DELETE /accounts", "GET /accounts/alice", "GET /accounts/no"):
        answer = await ask(target, user=None)
        assert (answer.status, answer.json["errno"]) == (401, 104), target
    assert (await ask("GET /accounts", user=ADMIN)).data


async def test_admin_manages_every_account(ask: Fetch) -> None:
    body = {"data": {"password": "given"}}
    assert (await ask("PUT /accounts/alice", body, user=ADMIN)).status == 200
    assert await user_of(ask, basic("alice", "given")) == "account:alice"
    made = await ask("PUT /accounts/carol", body, user=ADMIN)
    assert made.status == 201
    assert made.json["permissions"] == {"write": ["account:carol"]}
    assert await user_of(ask, basic("carol", "given")) == "account:carol"
    assert (await ask("DELETE /accounts/alice", user=ADMIN)).status == 200
    assert len((await ask("DELETE /accounts", user=ADMIN)).data) == 3
    assert (await ask("GET /", user=ADMIN)).json["user"]["id"].startswith("basicauth:")


async def test_admin_may_be_one_by_a_group(start: Start) -> None:
    settings = {**OPEN, "account_write_principals": "account:admin /buckets/b/groups/admins"}
    fetch = await start(**settings)
    for name in ("admin", "alice"):
        await sign_up(fetch, name)
    await fetch("PUT /buckets/b", user=ADMIN)
    group = {"data": {"members": ["account:alice"]}}
    assert (await fetch("PUT /buckets/b/groups/admins", group, user=ADMIN)).status == 201
    assert len((await fetch("GET /accounts", user=ALICE)).data) == 2
    body = {"data": {"password": "x"}}
    assert (await fetch("PUT /accounts/carol", body, user=ALICE)).status == 201


async def test_user_of_an_account_owns_and_is_a_member_like_any_other(ask: Fetch) -> None:
    assert (await ask("PUT /buckets/b", user=ALICE)).json["permissions"]["write"] == [
        "account:alice"
    ]
    group = {"data": {"members": ["account:bob"]}}
    await ask("PUT /buckets/b/groups/g", group, user=ALICE)
    shared = {"permissions": {"read": ["/buckets/b/groups/g"]}}
    await ask("PUT /buckets/b/collections/c", shared, user=ALICE)
    assert (await ask("GET /buckets/b/collections/c", user=BOB)).status == 200
    assert "/buckets/b/groups/g" in (await ask("GET /", user=BOB)).json["user"]["principals"]
    await ask("PUT /buckets/default/collections/mine", user=BOB)
    mine = (await ask("GET /", user=BOB)).json["user"]["bucket"]
    assert (await ask("GET /buckets/default", user=BOB)).data["id"] == mine


async def test_permissions_do_not_list_accounts(ask: Fetch) -> None:
    await ask("PUT /buckets/b", user=ALICE)
    rows = (await ask("GET /permissions", user=ALICE)).data
    assert {row["uri"] for row in rows} == {"/", "/buckets/b"}


async def test_flush_removes_accounts(ask: Fetch) -> None:
    assert (await ask("POST /__flush__", user=ALICE)).status == 202
    assert (await user_of(ask, ALICE)).startswith("basicauth:")
    await sign_up(ask, "alice")
    assert await user_of(ask, ALICE) == "account:alice"


async def test_account_is_not_shared(ask: Fetch) -> None:
    body = {"data": {"password": PASSWORD}, "permissions": {"read": ["account:bob"]}}
    assert (await ask("PUT /accounts/alice", body, user=ALICE)).status == 400
    rest: dict[str, Any] = {"permissions": {"write": ["account:bob"]}}
    assert (await ask("PATCH /accounts/alice", rest, user=ALICE)).status == 400
    # As it was got, it may be sent.
    got = (await ask("GET /accounts/alice", user=ALICE)).json
    assert (await ask("PATCH /accounts/alice", got, user=ALICE)).status == 200
    got["data"]["password"] = PASSWORD
    answer = await ask("PUT /accounts/alice", got, user=ALICE)
    assert answer.status == 200
    assert answer.json["permissions"] == {"write": ["account:alice"]}


async def test_precondition_counts(ask: Fetch) -> None:
    body = {"data": {"password": "new"}}
    only_new = {"If-None-Match": "*"}
    assert (await ask("PUT /accounts/alice", body, user=None, headers=only_new)).status == 412
    assert (await ask("PUT /accounts/carol", body, user=None, headers=only_new)).status == 201
    stale = {"If-Match": '"1"'}
    for method in ("PUT", "PATCH"):
        answer = await ask(f"{method} /accounts/alice", body, user=ALICE, headers=stale)
        assert answer.status == 412
        assert b"password" not in answer.body
    assert await user_of(ask, ALICE) == "account:alice"


async def test_batch_makes_and_changes_accounts(ask: Fetch) -> None:
    part = {"method": "PUT", "body": {"data": {"password": "x"}}}
    parts = [
        {**part, "path": "/accounts/carol"},
        {**part, "path": "/accounts/dave"},
        {**part, "path": "/accounts/alice"},
        {**part, "path": "/accounts/erin", "body": {"data": {}}},
        {**part, "method": "PATCH", "path": "/accounts/bob", "headers": {"Authorization": BOB}},
    ]
    answer = await ask("POST /batch", {"requests": parts}, user=None)
    statuses = [one["status"] for one in answer.json["responses"]]
    assert statuses == [201, 201, 401, 400, 200]
    assert b"$2b$" not in answer.body
    assert await user_of(ask, basic("dave", "x")) == "account:dave"
    assert await user_of(ask, basic("bob", "x")) == "account:bob"
    assert await user_of(ask, ALICE) == "account:alice"


@pytest.mark.parametrize(
    ("password", "description"),
    [
        (None, "Required"),
        ("", "Required"),
        (5, "should be a string"),
        (["correct horse"], "should be a string"),
        ("correct horse" * 80_000, "should have at most 4096 bytes"),
    ],
)
async def test_odd_password_is_told_and_not_repeated(
    ask: Fetch, password: Any, description: str
) -> None:
    body = {"data": {"id": "carol", "password": password}}
    for target, user in (("PUT /accounts/carol", None), ("POST /accounts", None)):
        answer = await ask(target, body, user=user)
        assert answer.status == 400
        detail = {"location": "body", "name": "data.password", "description": description}
        assert answer.json["details"] == [detail]
        assert b"horse" not in answer.body
    answer = await ask(
        "PATCH /accounts/alice", {"data": {"password": password}}, user=ALICE, headers=MERGE
    )
    assert answer.status == 400
    assert await user_of(ask, ALICE) == "account:alice"


@pytest.mark.parametrize("password", ["a\0b", "x" * 73, "é☁" * 500, ":", " "])
async def test_text_of_any_kind_is_a_password(ask: Fetch, password: str) -> None:
    await sign_up(ask, "carol", password)
    assert await user_of(ask, basic("carol", password)) == "account:carol"
    assert (await user_of(ask, basic("carol", password + "x"))).startswith("basicauth:")


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": {"password": "\\ud800"}}',
        b'{"data": {"password": NaN}}',
        b'{"data": "correct horse"}',
        b'["correct horse"]',
        b"{",
        b"",
    ],
)
async def test_body_that_is_no_account_is_refused(ask: Fetch, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await ask("PUT /accounts/carol", body, user=None, headers=headers)
    assert (answer.status, answer.json["errno"]) == (400, 107)
    answer = await ask("POST /accounts", body, user=None, headers=headers)
    assert (answer.status, answer.json["errno"]) == (400, 107)


@pytest.mark.parametrize("name", ["a%2Fb", "%40x", "caf%C3%A9", "x" * 1025, ".x", "a%00", "a%20b"])
async def test_id_that_names_no_account_is_refused(ask: Fetch, name: str) -> None:
    body = {"data": {"password": "x"}}
    answer = await ask(f"PUT /accounts/{name}", body, user=None)
    assert answer.status == 400
    assert answer.json["message"] == "path: Invalid object id"


@pytest.mark.parametrize(
    ("data", "name"),
    [({"password": "x"}, "data.id"), ({"password": "x", "id": "a/b"}, ""), ({"id": 5}, "")],
)
async def test_posted_account_needs_an_id(ask: Fetch, data: Any, name: str) -> None:
    answer = await ask("POST /accounts", {"data": data}, user=None)
    assert answer.status == 400
    assert answer.json["details"][0]["name"] == name


async def test_id_in_the_body_is_that_of_the_url(ask: Fetch) -> None:
    body = {"data": {"id": "dave", "password": "x"}}
    answer = await ask("PUT /accounts/carol", body, user=None)
    assert answer.status == 400
    assert "does not match" in answer.json["message"]


async def test_operations_cannot_look_at_the_password(ask: Fetch) -> None:
    for operation in (
        {"op": "test", "path": "/data/password", "value": PASSWORD},
        {"op": "copy", "from": "/data/password", "path": "/data/seen"},
        {"op": "remove", "path": "/data/password"},
        {"op": "add", "path": "/data", "value": {"password": "x"}},
    ):
        text = json.dumps([operation]).encode()
        answer = await ask("PATCH /accounts/alice", text, user=ALICE, headers=JSON_PATCH)
        assert answer.status == 400, operation
    assert await user_of(ask, ALICE) == "account:alice"


async def test_without_accounts_there_is_no_such_list(fetch: Fetch) -> None:
    for target in ("GET /accounts", "PUT /accounts/alice", "POST /accounts"):
        assert (await fetch(target)).status == 404
    assert (await fetch("POST /accounts/bob@example.org/reset-password")).status == 404


async def test_without_leave_nobody_signs_up(start: Start) -> None:
    fetch = await start(**{**OPEN, "account_create_principals": "account:admin"})
    body = {"data": {"password": "x"}}
    assert (await fetch("PUT /accounts/carol", body, user=None)).status == 401
    assert (await fetch("PUT /accounts/carol", body, user=ALICE)).status == 403


async def test_type_of_the_body_is_looked_at_first(ask: Fetch) -> None:
    headers = {"Content-Type": "text/plain"}
    assert (await ask("PUT /accounts/carol", b"x", user=None, headers=headers)).status == 415
    headers = {"Accept": "text/html"}
    answer = await ask("PUT /accounts/x", {"data": {"password": "x"}}, user=None, headers=headers)
    assert answer.status == 406


async def test_read_only_server_makes_no_account(start: Start) -> None:
    fetch = await start(**OPEN, readonly=True)
    body = {"data": {"password": "x"}}
    assert (await fetch("PUT /accounts/carol", body, user=None)).status == 405
