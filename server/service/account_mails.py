"""What users of accounts are told by mail: keys, temporary passwords, and that all is well.

All is done after the answer, so that it tells nobody whether there is an account,
and that no account depends on a mail server.
"""

import asyncio
import hashlib
import hmac
import logging
import uuid
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from server.core.errors import SyncError, Unavailable
from server.core.objects import StoredObject
from server.service.mails import Mail, Mailer, fill_in, one_line
from server.storage.base import Storage

logger = logging.getLogger(__name__)

MAX_UNDER_WAY = 1000
"""Mails that are being made or sent; past it whoever wants one is to come back."""

PAUSE_SECONDS = 60
"""Between two mails that anybody can have sent to one address."""

END_SECONDS = 5.0
"""That the last mails of a stopping server may take."""


@dataclass(frozen=True, slots=True)
class Template:
    """Of a mail; ``{name}`` is filled in."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class AccountMailOptions:
    """What the operator has set about these mails.

    Attributes:
        sender: address.
        activation: with a key.
        confirmation: that an account can be used.
        reset: with a temporary password.
        key_seconds: that a key can be used.
        password_seconds: that a temporary password can be.
        retry_after: seconds after which who is turned away should come back.
    """

    sender: str
    activation: Template
    confirmation: Template
    reset: Template
    key_seconds: int
    password_seconds: int
    retry_after: int = 3


class AccountMails:
    """Sends them, and knows what they said."""

    def __init__(self, storage: Storage, mailer: Mailer, options: AccountMailOptions) -> None:
        self._storage = storage
        self._mailer = mailer
        self._options = options
        self._tasks: set[asyncio.Task[None]] = set()

    def activate(self, data: Mapping[str, Any]) -> None:
        """Send a key to the address of a new account.

        Args:
            data: of the account.
        """
        self._begin(self._activate(data))

    def confirm(self, data: Mapping[str, Any]) -> None:
        """Tell that an account can be used."""
        self._begin(self._send(self._options.confirmation, data, {}))

    def reset(self, account_id: str, uri: str, context: Mapping[str, Any]) -> None:
        """Send a temporary password, if there is such an account, or once more its key.

        Args:
            account_id: an address.
            uri: of the account.
            context: more that is filled in.

        Raises:
            Unavailable: If too many are being sent.
        """
        if len(self._tasks) >= MAX_UNDER_WAY:
            words = "Too many mails are being sent: try again in a moment."
            raise Unavailable(words, self._options.retry_after)
        self._begin(self._reset(account_id, uri, context))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(_log_failure(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self) -> None:
        """Return once nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Give up what is not sent soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self.wait()
        lost = list(self._tasks)
        for task in lost:
            task.cancel()
        if lost:
            await asyncio.gather(*lost, return_exceptions=True)
            logger.error("%d mails to users were given up", len(lost))

    async def _activate(self, data: Mapping[str, Any]) -> None:
        key = str(uuid.uuid4())
        name = _key_name(data["id"])
        await self._storage.keep(name, _digest(key), self._options.key_seconds)
        await self._send(self._options.activation, data, {"activation-key": key})

    async def _reset(self, account_id: str, uri: str, context: Mapping[str, Any]) -> None:
        async with self._storage.snapshot() as snapshot:
            account = (await snapshot.objects([uri])).get(uri)
        if account is None or account.deleted:
            return
        if not await self._storage.claim(f"accounts:mail:{account_id}", PAUSE_SECONDS):
            return
        data = {**account.data, **({"email-context": context} if context else {})}
        if not account.data.get("validated", True):
            await self._activate(data)
            return
        password = str(uuid.uuid4())
        digest = _digest_of_reset(password, account)
        await self._storage.keep(_reset_name(account_id), digest, self._options.password_seconds)
        await self._send(self._options.reset, data, {"reset-password": password})

    async def _send(
        self, template: Template, data: Mapping[str, Any], said: Mapping[str, str]
    ) -> None:
        context = data.get("email-context")
        values = {**(context if isinstance(context, dict) else {}), **data, **said}
        subject = one_line(fill_in(template.subject, values))
        body = fill_in(template.body, values)
        await self._mailer.send(Mail(self._options.sender, data["id"], subject, body))

    # What was sent, and comes back.

    async def is_key(self, account_id: str, key: str) -> bool:
        """Whether a key was sent to an address, not long ago."""
        kept = await self._storage.kept(_key_name(account_id))
        return kept is not None and hmac.compare_digest(kept, _digest(key))

    async def drop_key(self, account_id: str) -> None:
        """Its key is used up."""
        await self._storage.take(_key_name(account_id))

    async def is_temporary(self, account: StoredObject, password: str) -> bool:
        """Whether a password was sent to an account's address, not long ago.

        It is over as soon as the account's own password has changed.
        """
        kept = await self._storage.kept(_reset_name(account.path.id))
        return kept is not None and hmac.compare_digest(kept, _digest_of_reset(password, account))


async def _log_failure(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except SyncError as error:
        logger.error("a mail to a user could not be made: %s", error.message)
    except Exception:
        # Nobody waits for it who could be told.
        logger.exception("a mail to a user could not be made")


def _key_name(account_id: str) -> str:
    return f"accounts:key:{account_id}"


def _reset_name(account_id: str) -> str:
    return f"accounts:reset:{account_id}"


def _digest(key: str) -> str:
    # It is random: nobody can find it by trying.
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def _digest_of_reset(password: str, account: StoredObject) -> str:
    return _digest(f"{account.secret}\0{password}")
