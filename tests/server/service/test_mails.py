import datetime
import ssl
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.service import mails as mails_module
from server.service.mails import Mail, Mailer, MailOptions, fill_in, one_line
from tests.conftest import ExpectedLogs
from tests.processes import free_port
from tests.server.service.smtp_servers import MailServer, only

pytestmark = pytest.mark.gen_test(timeout=30)

LOOPBACK = IPv4Address("127.0.0.1")
MAIL = Mail("kinto@example.org", "bob+x@example.org", "Grüße", "Hello\n☁ {key}\n.\nend")


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.stop()


def mailer(server: MailServer | None, *pauses: float, **options: Any) -> Mailer:
    port = server.port if server else free_port()
    return Mailer(MailOptions(host="127.0.0.1", port=port, **options), pauses)


async def test_mail_arrives_as_it_was_written(mail_server: MailServer) -> None:
    assert await mailer(mail_server).send(MAIL)
    taken = mail_server.take()
    assert (taken["From"], taken["To"]) == ("kinto@example.org", "bob+x@example.org")
    assert taken["Subject"] == "Grüße"
    assert taken["Date"]
    assert taken["Message-ID"].endswith("@example.org>")
    assert taken.get_content().splitlines() == MAIL.body.splitlines()


async def test_mail_is_tried_again_when_the_server_says_later(mail_server: MailServer) -> None:
    mail_server.refusal = "451 later"

    class Patient(Mailer):
        async def _try(self, mail: Mail) -> Exception | None:
            if mail_server.asked == 2:
                mail_server.refusal = ""
            return await super()._try(mail)

    options = MailOptions(host="127.0.0.1", port=mail_server.port)
    assert await Patient(options, [0, 0, 0]).send(MAIL)
    assert mail_server.asked == 3
    assert mail_server.take()["Subject"] == MAIL.subject


async def test_mail_that_is_refused_for_good_is_tried_once_and_logged(
    mail_server: MailServer, expected_logs: ExpectedLogs
) -> None:
    expected_logs("could not be sent.*550")
    mail_server.refusal = "550 nobody of that name"
    assert not await mailer(mail_server, 0, 0).send(MAIL)
    assert mail_server.asked == 1
    (record,) = expected_logs.records
    # Who it is for is not the log's business.
    assert "bob" not in record.getMessage()


async def test_server_that_is_not_there_is_logged_in_the_end(expected_logs: ExpectedLogs) -> None:
    expected_logs("could not be sent.*refused")
    assert not await mailer(None, 0).send(MAIL)
    assert len(expected_logs.records) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_user_and_password_are_said_where_they_are_set(
    expected_logs: ExpectedLogs,
) -> None:
    # The mail server has its own to say about passwords in clear.
    expected_logs("could not be sent.*535|mail.log:")
    server = MailServer(
        authenticator=only(b"kinto", b"pw"), auth_required=True, auth_require_tls=False
    )
    try:
        assert await mailer(server, username="kinto", password="pw").send(MAIL)
        assert server.take()["To"] == MAIL.recipient
        assert not await mailer(server, 0, username="kinto", password="no").send(MAIL)
    finally:
        server.stop()


async def test_mail_is_not_sent_in_clear_where_encryption_is_asked_for(
    mail_server: MailServer, expected_logs: ExpectedLogs
) -> None:
    expected_logs("could not be sent|mail.log:")
    assert not await mailer(mail_server, tls=True).send(MAIL)
    assert not await mailer(mail_server, ssl=True).send(MAIL)
    assert mail_server.asked == 0


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.mark.parametrize("way", ["tls", "ssl"])
async def test_encrypted_mail_goes_to_a_server_that_is_trusted_and_to_no_other(
    way: str, certificate: Path, monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    expected_logs("could not be sent.*CERTIFICATE_VERIFY_FAILED|mail.log:")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    options = {"tls_context" if way == "tls" else "ssl_context": context}
    server = MailServer(authenticator=only(b"kinto", b"pw"), **options)
    # This mail server does not offer a login where it was encrypted from the first byte.
    user = {"username": "kinto", "password": "pw"} if way == "tls" else {}
    login: dict[str, Any] = {way: True, **user}
    try:
        assert not await mailer(server, 0, **login).send(MAIL)
        assert server.asked == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await mailer(server, **login).send(MAIL)
        assert server.take()["To"] == MAIL.recipient
    finally:
        server.stop()


async def test_debug_logs_and_testing_drops(
    caplog: pytest.LogCaptureFixture, mail_server: MailServer
) -> None:
    caplog.set_level("INFO", mails_module.__name__)
    assert await mailer(mail_server, mailer="debug").send(MAIL)
    assert await mailer(mail_server, mailer="testing").send(MAIL)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "mail to bob+x@example.org"
    ]
    assert mail_server.asked == 0


async def test_sender_that_is_no_address_does_not_end_the_server(
    mail_server: MailServer, expected_logs: ExpectedLogs
) -> None:
    expected_logs("could not be sent")
    bad = Mail("me\nBcc: all@example.org", MAIL.recipient, "s", "b")
    assert not await mailer(mail_server, 0).send(bad)
    assert mail_server.asked == 0


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hello {id}, {form-url}{activation-key}", "Hello bob, https://x/?k=42"),
        ("{nobody} {} {a b} {{id}}", "{nobody} {} {a b} {bob}"),
        ("{dict} {list} {flag} {number}", "{dict} {list} {flag} 5"),
        ("{id.__class__} {id!r}", "{id.__class__} {id!r}"),
        ("{tricky}", "{id}"),
    ],
)
async def test_template_is_filled_in_and_nothing_else_happens(template: str, expected: str) -> None:
    values = {
        "id": "bob",
        "form-url": "https://x/?k=",
        "activation-key": 42,
        "dict": {"a": 1},
        "list": [1],
        "flag": True,
        "number": 5,
        "tricky": "{id}",
    }
    assert fill_in(template, values) == expected


async def test_what_is_filled_in_has_an_end() -> None:
    assert len(fill_in("{a}", {"a": "x" * 10_000})) == mails_module.VALUE_MAX_LENGTH


async def test_subject_has_one_line() -> None:
    assert one_line("a\r\nBcc: all@example.org\n") == "a Bcc: all@example.org"
