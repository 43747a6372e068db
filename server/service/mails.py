"""Mails: what they say, and how they leave the server."""

import asyncio
import logging
import re
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid, parseaddr
from typing import Any

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 20.0
"""That a mail server may take for one step."""

PAUSES_SECONDS = (2.0, 30.0, 120.0)
"""Before a mail that could not be sent is tried again."""

VALUE_MAX_LENGTH = 2000
"""Of what is filled in."""

_HOLE = re.compile(r"\{([\w-]+)\}")
_LINES = re.compile(r"[\r\n\0]+")


@dataclass(frozen=True, slots=True)
class MailOptions:
    """What the operator has set about mails.

    Attributes:
        mailer: ``smtp``; ``debug`` to log them, ``testing`` to drop them.
        host: of the mail server.
        port: TCP port.
        username: to log in with; None for not at all.
        password: of that user.
        tls: whether to encrypt after ``STARTTLS``.
        ssl: whether to encrypt from the first byte.
    """

    mailer: str = "smtp"
    host: str = "localhost"
    port: int = 25
    username: str | None = None
    password: str | None = None
    tls: bool = False
    ssl: bool = False


@dataclass(frozen=True, slots=True)
class Mail:
    """What is sent.

    Attributes:
        sender: address.
        recipient: address.
        subject: one line.
        body: text.
    """

    sender: str
    recipient: str
    subject: str
    body: str

    def message(self) -> EmailMessage:
        """As it goes over the wire."""
        message = EmailMessage(policy=SMTP)
        message["From"] = self.sender
        message["To"] = self.recipient
        message["Subject"] = self.subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=parseaddr(self.sender)[1].rpartition("@")[2])
        message.set_content(self.body)
        return message


def fill_in(template: str, values: Mapping[str, Any]) -> str:
    """A template with its ``{name}`` filled in; one that nobody knows stays as it is.

    Args:
        template: of the operator's.
        values: partly the user's; only texts and numbers are filled in.
    """

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return match[0]
        return str(value)[:VALUE_MAX_LENGTH]

    return _HOLE.sub(value_of, template)


def one_line(text: str) -> str:
    """A subject: a line break in it would begin another header."""
    return _LINES.sub(" ", text).strip()


class Mailer:
    """Gives mails to the mail server, from a thread."""

    def __init__(
        self, options: MailOptions, pauses_seconds: Sequence[float] = PAUSES_SECONDS
    ) -> None:
        self._options = options
        self._pauses = pauses_seconds
        # A server that is slow must not take all threads of the process.
        self._turns = asyncio.Semaphore(2)

    async def send(self, mail: Mail) -> bool:
        """Send a mail; tried again for a while if the server cannot be reached.

        Returns:
            Whether the server took it. If not, that is logged.
        """
        if self._options.mailer != "smtp":
            if self._options.mailer == "debug":
                logger.info("mail to %s: %s: %s", mail.recipient, mail.subject, mail.body)
            return True
        for pause in (*self._pauses, None):
            error = await self._try(mail)
            if error is None:
                return True
            if pause is None or _is_final(error):
                break
            await asyncio.sleep(pause)
        # Without the address: that is its owner's business.
        logger.error("the mail %r could not be sent: %s", mail.subject, error)
        return False

    async def _try(self, mail: Mail) -> Exception | None:
        async with self._turns:
            try:
                await asyncio.to_thread(self._give, mail)
            except (OSError, smtplib.SMTPException, ValueError) as error:
                return error
        return None

    def _give(self, mail: Mail) -> None:
        options = self._options
        with self._connect() as server:
            if options.tls:
                server.starttls(context=ssl.create_default_context())
            if options.username is not None:
                server.login(options.username, options.password or "")
            server.send_message(mail.message(), mail.sender, [mail.recipient])

    def _connect(self) -> smtplib.SMTP:
        options = self._options
        if options.ssl:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(
                options.host, options.port, timeout=TIMEOUT_SECONDS, context=context
            )
        return smtplib.SMTP(options.host, options.port, timeout=TIMEOUT_SECONDS)


def _is_final(error: Exception) -> bool:
    """Whether it would fail in the same way again."""
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code >= 500
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    return isinstance(error, ValueError | smtplib.SMTPNotSupportedError | ssl.SSLError)
