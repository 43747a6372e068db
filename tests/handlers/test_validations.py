"""Accounts whose addresses are confirmed by mail, with a real mail server."""

import asyncio
import json
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from server.app import make_rules
from server.storage.memory import MemoryStorage
from tests.conftest import ExpectedLogs
from tests.handlers.conftest import Answer, Fetch, Start, settings_of
from tests.handlers.test_accounts import OPEN, basic
from tests.server.service.smtp_servers import MailServer

pytestmark = pytest.mark.gen_test(timeout=60)

BOB = "bob+x@example.org"
URI = f"/accounts/{BOB}"
PASSWORD = "correct horse"


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.stop()


async def take(mail_server: MailServer) -> EmailMessage:
    return await asyncio.to_thread(mail_server.take)


def text_of(mail: EmailMessage) -> str:
    return str(mail.get_content()).strip()


async def begin(start: Start, mail_server: MailServer, **given: Any) -> Fetch:
    return await start(
        **{
            **OPEN,
            "multiauth__policies": "account",
            "account_validation": True,
            "account_validation__email_sender": "kinto@example.org",
            "account_validation__email_body_template": "{form-url}{activation-key}",
            "mail__host": "127.0.0.1",
            "mail__port": mail_server.port,
            **given,
        }
    )


async def sign_up(fetch: Fetch, **data: Any) -> Answer:
    context = {"form-url": "https://x/#", "activation-key": "forged"}
    body = {"data": {"password": PASSWORD, "email-context": context, **data}}
    return await fetch(f"PUT {URI}", body, user=None)


async def confirm(fetch: Fetch, mail_server: MailServer) -> Answer:
    """Sign up, and follow the mail."""
    assert (await sign_up(fetch)).status == 201
    key = text_of(await take(mail_server)).partition("#")[2]
    answer = await fetch(f"POST {URI}/validate/{key}", user=None)
    assert answer.status == 200
    assert (await take(mail_server))["Subject"] == "Account active"
    return answer


async def user_of(fetch: Fetch, password: str) -> Any:
    return (await fetch("GET /", user=basic(BOB, password))).json.get("user", {}).get("id")


async def test_capability_says_that_addresses_are_confirmed(
    start: Start, mail_server: MailServer
) -> None:
    fetch = await begin(start, mail_server)
    capabilities = (await fetch("GET /", user=None)).json["capabilities"]
    assert capabilities["accounts"]["validation_enabled"] is True


async def test_account_is_of_use_once_its_address_is_confirmed(
    start: Start, mail_server: MailServer
) -> None:
    fetch = await begin(start, mail_server)
    # Whoever signs up cannot say so themselves.
    made = await sign_up(fetch, validated=True)
    assert (made.status, made.data["validated"]) == (201, False)
    mail = await take(mail_server)
    assert (mail["From"], mail["To"]) == ("kinto@example.org", BOB)
    assert mail["Subject"] == "activate your account"
    form, _, key = text_of(mail).partition("#")
    assert form == "https://x/"
    assert await user_of(fetch, PASSWORD) is None
    wrong = await fetch(f"POST {URI}/validate/forged", user=None)
    assert (wrong.status, wrong.json["errno"]) == (403, 121)
    assert wrong.json["message"] == "Account ID and activation key do not match"
    answer = await fetch(f"POST {URI}/validate/{key}", user=None)
    assert answer.status == 200
    assert answer.json["id"] == BOB
    assert answer.json["validated"] is True
    assert b"$2b$" not in answer.body
    assert await user_of(fetch, PASSWORD) == f"account:{BOB}"
    confirmation = await take(mail_server)
    assert confirmation["Subject"] == "Account active"
    assert text_of(confirmation) == f"The account {BOB} is now active"
    # It was used up.
    assert (await fetch(f"POST {URI}/validate/{key}", user=None)).status == 403


async def test_account_that_may_only_be_new_is_not_confirmed_either(
    start: Start, mail_server: MailServer
) -> None:
    fetch = await begin(start, mail_server)
    body = {"data": {"password": "x"}}
    answer = await fetch(f"PUT {URI}", body, user=None, headers={"If-None-Match": "*"})
    assert (answer.status, answer.data["validated"]) == (201, False)
    await take(mail_server)
    answer = await fetch(f"PUT {URI}", body, user=None, headers={"If-None-Match": "*"})
    assert answer.status == 412
    assert mail_server.waiting == 0


async def test_nobody_learns_by_a_key_whether_there_is_an_account(
    start: Start, mail_server: MailServer
) -> None:
    fetch = await begin(start, mail_server)
    assert (await sign_up(fetch)).status == 201
    await take(mail_server)
    answers = [
        await fetch(f"POST /accounts/{name}/validate/no", user=None)
        for name in (BOB, "nobody@example.org", "@", "x")
    ]
    assert {(one.status, one.body) for one in answers} == {(403, answers[0].body)}


async def test_id_that_is_no_address_is_refused(start: Start, mail_server: MailServer) -> None:
    fetch = await begin(start, mail_server)
    for target in ("PUT /accounts/alice", "POST /accounts"):
        body = {"data": {"id": "alice", "password": "x"}}
        answer = await fetch(target, body, user=None)
        assert answer.status == 400
        assert answer.json["details"][0]["name"] == "data.id"
    assert (await fetch("POST /accounts/alice/reset-password", user=None)).status == 400


async def test_only_addresses_that_the_operator_wants_are_taken(
    start: Start, mail_server: MailServer
) -> None:
    pattern = r".+@example\.com$"
    fetch = await begin(start, mail_server, account_validation__email_regexp=pattern)
    assert (await sign_up(fetch)).status == 400
    body = {"data": {"password": "x"}}
    assert (await fetch("PUT /accounts/a@example.com", body, user=None)).status == 201
    assert (await take(mail_server))["To"] == "a@example.com"


async def test_account_of_before_is_of_use_and_keeps_its_id(
    start: Start, mail_server: MailServer
) -> None:
    storage = MemoryStorage(make_rules(settings_of(OPEN)))
    before = await start(storage=storage, **OPEN)
    body = {"data": {"password": "x"}}
    assert (await before("PUT /accounts/alice", body, user=None)).status == 201
    fetch = await begin(start, mail_server, storage=storage)
    assert (await fetch("GET /accounts/alice", user=basic("alice", "x"))).status == 200
    answer = await fetch("PUT /accounts/alice", body, user=basic("alice", "x"))
    assert (answer.status, "validated" in answer.data) == (200, False)


async def test_forgotten_password_is_replaced_by_way_of_a_mail(
    start: Start, mail_server: MailServer
) -> None:
    fetch = await begin(start, mail_server)
    await confirm(fetch, mail_server)
    answer = await fetch(f"POST {URI}/reset-password", user=None)
    assert answer.json == {"message": "A temporary reset password has been sent by mail"}
    mail = await take(mail_server)
    assert (mail["To"], mail["Subject"]) == (BOB, "Reset password")
    temporary = basic(BOB, text_of(mail))
    # It is good for a new password, and for nothing else.
    assert await user_of(fetch, text_of(mail)) is None
    assert (await fetch(f"GET {URI}", user=temporary)).status == 401
    assert (await fetch(f"DELETE {URI}", user=temporary)).status == 401
    assert (await fetch("PUT /buckets/b", user=temporary)).status == 401
    more = {"data": {"password": "new", "n": 1}}
    for method in ("PUT", "PATCH"):
        assert (await fetch(f"{method} {URI}", more, user=temporary)).status == 401
    other = "/accounts/eve@example.org"
    assert (
        await fetch(f"PATCH {other}", {"data": {"password": "x"}}, user=temporary)
    ).status == 401
    # The old one still is.
    assert await user_of(fetch, PASSWORD) == f"account:{BOB}"
    answer = await fetch(f"PATCH {URI}", {"data": {"password": "new"}}, user=temporary)
    assert answer.status == 200
    assert await user_of(fetch, "new") == f"account:{BOB}"
    assert await user_of(fetch, PASSWORD) is None
    again = await fetch(f"PATCH {URI}", {"data": {"password": "other"}}, user=temporary)
    assert again.status == 401


@pytest.mark.parametrize(
    ("method", "body", "kind"),
    [
        ("PUT", {"data": {"password": "new"}}, "application/json"),
        ("PATCH", {"data": {"password": "new"}}, "application/merge-patch+json"),
        (
            "PATCH",
            [{"op": "replace", "path": "/data/password", "value": "new"}],
            "application/json-patch+json",
        ),
    ],
)
async def test_temporary_password_is_good_for_every_way_to_change_it(
    start: Start, mail_server: MailServer, method: str, body: Any, kind: str
) -> None:
    fetch = await begin(start, mail_server)
    await confirm(fetch, mail_server)
    await fetch(f"POST {URI}/reset-password", user=None)
    temporary = basic(BOB, text_of(await take(mail_server)))
    text, headers = json.dumps(body).encode(), {"Content-Type": kind}
    answer = await fetch(f"{method} {URI}", text, user=temporary, headers=headers)
    assert answer.status == 200, answer.body
    assert await user_of(fetch, "new") == f"account:{BOB}"


async def test_who_asks_for_a_password_learns_nothing_and_fills_in_the_mail(
    start: Start, mail_server: MailServer
) -> None:
    template = "{greeting} {reset-password}"
    fetch = await begin(
        start, mail_server, account_validation__email_reset_password_body_template=template
    )
    await confirm(fetch, mail_server)
    context = {"greeting": "Hi", "reset-password": "forged"}
    body = {"data": {"email-context": context}}
    known = await fetch(f"POST {URI}/reset-password", body, user=None)
    unknown = await fetch("POST /accounts/nobody@example.org/reset-password", body, user=None)
    assert (known.status, known.body) == (unknown.status, unknown.body) == (200, known.body)
    mail = await take(mail_server)
    assert mail["To"] == BOB
    assert text_of(mail).startswith("Hi ")
    assert "forged" not in text_of(mail)


@pytest.mark.parametrize("body", [b"[]", b'{"data": {"email-context": "x"}}', b"{", b'{"x": 1}'])
async def test_body_that_gives_no_context_is_refused(
    start: Start, mail_server: MailServer, body: bytes
) -> None:
    fetch = await begin(start, mail_server)
    headers = {"Content-Type": "application/json"}
    answer = await fetch(f"POST {URI}/reset-password", body, user=None, headers=headers)
    assert answer.status == 400


async def test_account_outlives_a_mail_that_cannot_be_sent(
    start: Start, mail_server: MailServer, expected_logs: ExpectedLogs
) -> None:
    expected_logs("could not be sent")
    fetch = await begin(start, mail_server)
    mail_server.refusal = "550 no"
    assert (await sign_up(fetch)).status == 201
    await asyncio.to_thread(mail_server.wait, lambda: mail_server.asked == 1)
    mail_server.refusal = ""
    # Asking for a password gets whoever never confirmed the key once more.
    assert (await fetch(f"POST {URI}/reset-password", user=None)).status == 200
    key = text_of(await take(mail_server)).partition("#")[2]
    assert (await fetch(f"POST {URI}/validate/{key}", user=None)).status == 200
    assert await user_of(fetch, PASSWORD) == f"account:{BOB}"
    await take(mail_server)


async def test_neither_is_a_part_of_a_batch(start: Start, mail_server: MailServer) -> None:
    fetch = await begin(start, mail_server)
    paths = (f"{URI}/reset-password", f"{URI}/validate/x")
    parts = [{"method": "POST", "path": path} for path in paths]
    answer = await fetch("POST /batch", {"requests": parts}, user=None)
    assert [one["status"] for one in answer.json["responses"]] == [400, 400]


async def test_both_are_asked_by_post_alone(start: Start, mail_server: MailServer) -> None:
    fetch = await begin(start, mail_server)
    answer = await fetch(f"GET {URI}/reset-password", user=None)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST, OPTIONS")
