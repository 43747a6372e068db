"""An OpenID Connect provider, as this server talks to it over HTTP."""

import asyncio
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from server.core.errors import Unavailable
from server.core.json_text import BadJSON, parse_json

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 10.0
ANSWER_MAX_BYTES = 1 << 20

AT_ONCE = 32
"""Requests to one provider; more wait, whoever sends so many tokens."""

PAUSE_SECONDS = 2.0
"""After a failure, before the provider is asked again how it is to be talked to."""

KEYS_SECONDS = 3600.0
"""That the provider's keys are used before they are fetched again."""

UNKNOWN_KEY_SECONDS = 60.0
"""The same, where a token names a key that is not among them."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider tells of itself.

    Attributes:
        issuer: as its tokens name it.
        authorization_endpoint: where users log in.
        token_endpoint: where codes are traded.
        userinfo_endpoint: that knows the user of an access token; empty for none.
        jwks_uri: of its keys; empty for none.
        takes_forms: whether a client's secret may stand in a form.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    takes_forms: bool = True


def parse_metadata(issuer: str, body: Any) -> Metadata:
    """Read what stands at ``/.well-known/openid-configuration``.

    Raises:
        ValueError: If it is no such thing, or another issuer's.

    Source: OpenID Connect Discovery 1.0, sections 3 and 4.3.
    """
    if not isinstance(body, dict):
        raise ValueError("it is no JSON object")
    told = body.get("issuer")
    if not isinstance(told, str) or told.rstrip("/") != issuer.rstrip("/"):
        raise ValueError(f"it is of the issuer {told!r}")
    methods = body.get("token_endpoint_auth_methods_supported")
    return Metadata(
        told,
        _text(body, "authorization_endpoint"),
        _text(body, "token_endpoint"),
        _text(body, "userinfo_endpoint"),
        _text(body, "jwks_uri"),
        not isinstance(methods, list) or "client_secret_post" in methods,
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


class Provider:
    """Asks one provider, and remembers what it has told of itself.

    Attributes:
        issuer: its URL.
    """

    def __init__(
        self,
        issuer: str,
        retry_after: int,
        tell: Callable[[Metadata], None] = lambda metadata: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; nothing is asked yet.

        Args:
            issuer: URL of the provider.
            retry_after: seconds that clients are told to wait while it is away.
            tell: called when the provider has told of itself.
            clock: seconds.
        """
        self.issuer = issuer
        self._retry_after = retry_after
        self._tell = tell
        self._clock = clock
        self._lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._metadata: Metadata | None = None
        self._failed_at = float("-inf")
        self._keys: Sequence[Mapping[str, Any]] | None = None
        self._keys_at = float("-inf")

    async def metadata(self) -> Metadata:
        """What it tells of itself; asked once, and again after a failure.

        Raises:
            Unavailable: If it does not tell.
        """
        if self._metadata is not None:
            return self._metadata
        async with self._lock:
            if self._metadata is None:
                self._metadata = await self._fetch_metadata()
                self._tell(self._metadata)
        return self._metadata

    async def _fetch_metadata(self) -> Metadata:
        # Those who waited for the lock meanwhile need not fail as slowly.
        if self._clock() < self._failed_at + PAUSE_SECONDS:
            raise self._away()
        url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            return parse_metadata(self.issuer, await self._get_json(url))
        except (Unavailable, ValueError) as error:
            self._failed_at = self._clock()
            if isinstance(error, ValueError):
                logger.error("%s is not what was expected: %s", url, error)
            raise self._away() from None

    async def keys(self, kid: str | None) -> Sequence[Mapping[str, Any]]:
        """Its public keys.

        Args:
            kid: of the key that is wanted; None for any.

        Raises:
            Unavailable: If they were never told, and are not now.
        """
        metadata = await self.metadata()
        async with self._lock:
            known = self._keys is not None and (
                kid is None or any(key.get("kid") == kid for key in self._keys)
            )
            age = self._clock() - self._keys_at
            if age >= (KEYS_SECONDS if known else UNKNOWN_KEY_SECONDS):
                await self._fetch_keys(metadata)
        if self._keys is None:
            raise self._away()
        return self._keys

    async def _fetch_keys(self, metadata: Metadata) -> None:
        try:
            body = await self._get_json(metadata.jwks_uri)
        except Unavailable:
            # Keys that were good an hour ago are better than none.
            if self._keys is None:
                raise
            self._keys_at = self._clock()
            return
        listed = body.get("keys") if isinstance(body, dict) else None
        self._keys = [key for key in listed or () if isinstance(key, dict)]
        self._keys_at = self._clock()

    async def userinfo(self, token: str) -> Mapping[str, Any] | None:
        """The profile of the user to whom an access token was given.

        Returns:
            None if the provider does not know the token.

        Raises:
            Unavailable: If it does not answer.
        """
        metadata = await self.metadata()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        # A token must not follow a redirect to somebody else.
        request = HTTPRequest(metadata.userinfo_endpoint, headers=headers, follow_redirects=False)
        response = await self._fetch(request)
        if response.code != 200:
            return None
        profile = _parse(response.body)
        return profile if isinstance(profile, dict) else None

    async def trade(self, form: Mapping[str, str], client_id: str, secret: str) -> bytes:
        """What it gives for a code: JSON text, of tokens or of an error.

        Args:
            form: what the token endpoint is sent, without the client's credentials.
            client_id: that this server is known by.
            secret: that proves it; empty for none.

        Raises:
            Unavailable: If it does not answer, or with something else.

        Source: RFC 6749, sections 2.3.1, 4.1.3, 5.1 and 5.2.
        """
        metadata = await self.metadata()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        sent = {**form, "client_id": client_id}
        if secret and metadata.takes_forms:
            sent["client_secret"] = secret
        elif secret:
            pair = f"{quote(client_id, '')}:{quote(secret, '')}".encode()
            headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        request = HTTPRequest(
            metadata.token_endpoint,
            "POST",
            headers,
            body=urlencode(sent),
            follow_redirects=False,
        )
        response = await self._fetch(request)
        if not isinstance(_parse(response.body), dict):
            raise self._away()
        return response.body

    async def _get_json(self, url: str) -> Any:
        """A document that anybody may read.

        Raises:
            Unavailable: If there is none.
        """
        response = await self._fetch(HTTPRequest(url, max_redirects=3))
        if response.code != 200:
            raise self._away()
        return _parse(response.body)

    async def _fetch(self, request: HTTPRequest) -> HTTPResponse:
        request.connect_timeout = CONNECT_SECONDS
        request.request_timeout = REQUEST_SECONDS
        client: AsyncHTTPClient = SimpleAsyncHTTPClient(
            force_instance=True, max_body_size=ANSWER_MAX_BYTES
        )
        try:
            async with self._slots:
                response = await client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError, ValueError) as error:
            logger.info("%s does not answer: %s", request.url, error)
            raise self._away() from None
        finally:
            client.close()
        if response.code >= 500 or response.code == 429:
            raise self._away()
        return response

    def _away(self) -> Unavailable:
        words = "The identity provider cannot be asked now: try again later."
        return Unavailable(words, self._retry_after)


def _parse(body: bytes) -> Any:
    try:
        return parse_json(body)
    except BadJSON:
        return None
