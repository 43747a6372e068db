"""Deliveries over HTTP, to public addresses only unless a webhook may be private."""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import HTTPError, HTTPRequest
from tornado.netutil import DefaultLoopResolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from server.core.revisions import Revision
from server.webhooks.deliveries import make_body, make_id, sign
from server.webhooks.hooks import Hook, is_public

ANSWER_MAX_BYTES = 64 << 10
AGENT = "Kintoun"


class Undelivered(Exception):
    """A delivery was not taken; the text says why, for the log.

    Attributes:
        retry_after: seconds after which the receiver wants it again; None if it does
            not say.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class _PublicResolver(DefaultLoopResolver):
    """Finds public addresses alone: what is connected to is what was looked at."""

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        found = await super().resolve(host, port, family)
        public = [one for one in found if is_public(one[1][0])]
        if not public:
            raise Undelivered(f"{host} is on this machine or in a private network")
        return public


@dataclass(frozen=True, slots=True)
class Delivery:
    """Changes of one bucket that a webhook is sent together.

    Attributes:
        bucket: id of the bucket.
        revisions: in its order; at least one.
        missed: whether changes before these are not known any more.
    """

    bucket: str
    revisions: Sequence[Revision]
    missed: bool = False


class Sender:
    """Sends to one webhook."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        resolver = DefaultLoopResolver() if hook.allows_private else _PublicResolver()
        self._client = SimpleAsyncHTTPClient(
            force_instance=True,
            resolver=resolver,
            max_clients=20,
            max_body_size=ANSWER_MAX_BYTES,
        )

    async def send(self, delivery: Delivery) -> None:
        """Send changes; returns once they were taken.

        Raises:
            Undelivered: If they were not, whatever the reason.
        """
        hook = self._hook
        body = make_body(hook, delivery.bucket, delivery.revisions, missed=delivery.missed)
        message_id = make_id(hook, delivery.bucket, delivery.revisions)
        now = int(time.time())
        request = HTTPRequest(
            hook.url,
            "POST",
            headers={
                "Content-Type": "application/json",
                "User-Agent": AGENT,
                "webhook-id": message_id,
                "webhook-timestamp": str(now),
                "webhook-signature": sign(hook.secret, message_id, now, body),
            },
            body=body,
            connect_timeout=hook.timeout_seconds,
            request_timeout=hook.timeout_seconds,
            # A redirect could lead to where it must not.
            follow_redirects=False,
        )
        try:
            await self._client.fetch(request)
        except HTTPError as error:
            raise Undelivered(str(error), _retry_after(error)) from error
        except (OSError, ValueError) as error:
            raise Undelivered(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


def _retry_after(error: HTTPError) -> float | None:
    text = error.response.headers.get("Retry-After", "") if error.response else ""
    return float(text) if text.isascii() and text.isdigit() else None
