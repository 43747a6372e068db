"""A real mail server on the loopback, and what it has taken."""

import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.processes import free_port

PATIENCE = 20.0


class MailServer:
    """Takes mails until it is stopped.

    Attributes:
        port: TCP port.
        refusal: what it answers to a mail, such as ``451 later``; empty for taking it.
        asked: how many mails came, taken or not.
    """

    def __init__(self, **options: Any) -> None:
        self.refusal = ""
        self.asked = 0
        self._mails: list[EmailMessage] = []
        self._news = threading.Condition()
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        assert [message["To"]] == envelope.rcpt_tos
        with self._news:
            self.asked += 1
            if not self.refusal:
                self._mails.append(message)
            self._news.notify_all()
        return self.refusal or "250 OK"

    def take(self) -> EmailMessage:
        """The next mail, once there is one."""
        self.wait(lambda: bool(self._mails))
        return self._mails.pop(0)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so that a mail may change."""
        with self._news:
            assert self._news.wait_for(condition, PATIENCE), "no mail came"

    @property
    def waiting(self) -> int:
        """Mails that nobody has taken."""
        return len(self._mails)

    def stop(self) -> None:
        self._controller.stop()


def only(user: bytes, password: bytes) -> Callable[..., AuthResult]:
    """Lets one user in."""

    def authenticate(*arguments: Any) -> AuthResult:
        said = arguments[-1]
        assert isinstance(said, LoginPassword)
        right = (said.login, said.password) == (user, password)
        return AuthResult(success=right, handled=right)

    return authenticate
