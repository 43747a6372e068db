"""A request of the API and its answer, apart from the connection they come over.

A part of a batch is such a request too.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Protocol
from urllib.parse import urlencode

from server.core.errors import NotAcceptable, UnsupportedMediaType, invalid
from server.core.json_text import BadJSON, dump_json, parse_json
from server.core.objects import StoredObject
from server.core.permissions import Actor
from server.core.positions import spell_cursor, spell_date, spell_etag
from server.core.preconditions import Precondition, parse_precondition

JSON = "application/json"

NO_VALUE: Any = object()
"""Stands for a body that has yet to be parsed."""


class Intake(Protocol):
    """Takes in a body as it comes, in the place of ``ApiRequest.body``."""

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes; the sender waits meanwhile.

        Raises:
            SyncError: If the request is refused for them.
        """

    async def discard(self) -> None:
        """Forget what was taken, unless it was used."""

    def abandon(self) -> None:
        """The same, once there is time: the client has left."""


class Headers(Protocol):
    """Header fields by name, whatever the case."""

    def get(self, name: str) -> str | None:
        """The value of a field; None if it was not sent."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """What is asked.

    Attributes:
        method: in capitals.
        path: below the version's prefix, percent-decoded: ``/buckets/b``.
        arguments: the query string's pairs, decoded, duplicates kept.
        headers: as sent.
        body: as sent; empty without one.
        actor: who asks.
        root: absolute URL of the API, without a slash at its end.
        now: the server's time at its arrival, in ms.
        value: the body of a part of a batch, which was parsed with the batch.
        when_gone: takes what is to be called once the client is there no more; None
            for a part of a batch.
        secret: what is to be stored beside the object and never told; None for nothing.
        intake: what has taken the body in; None where ``body`` has it.
    """

    method: str
    path: str
    arguments: Sequence[tuple[str, str]]
    headers: Headers
    body: bytes
    actor: Actor
    root: str
    now: int
    value: Any = NO_VALUE
    when_gone: Callable[[Callable[[], None]], None] | None = None
    secret: str | None = None
    intake: Intake | None = None

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method in ("GET", "HEAD", "OPTIONS")

    def precondition(self) -> Precondition:
        """Of its headers.

        Raises:
            InvalidParameters: If one is malformed.
        """
        headers = self.headers
        return parse_precondition(headers.get("If-Match"), headers.get("If-None-Match"))

    def content_type(self, allowed: Sequence[str] = (JSON,)) -> str:
        """The type of the body, in lower case, without parameters.

        Raises:
            UnsupportedMediaType: If it is not one of those that are read here.
        """
        sent = self.headers.get("Content-Type")
        if not sent:
            return JSON
        kind = sent.partition(";")[0].strip().lower()
        if kind not in allowed and (self.body or self.value is not NO_VALUE):
            raise UnsupportedMediaType(allowed)
        return kind if kind in allowed else JSON

    def json(self) -> Any:
        """The body, parsed; an absent one is ``{}``.

        Raises:
            InvalidParameters: If it is no JSON that can be stored.
        """
        if self.value is not NO_VALUE:
            return self.value
        if not self.body:
            return {}
        try:
            return parse_json(self.body)
        except BadJSON as error:
            raise invalid("body", "", str(error)) from None

    def check_acceptable(self) -> None:
        """Check that the client takes JSON.

        Raises:
            NotAcceptable: If it says that it doesn't.
        """
        accept = self.headers.get("Accept")
        if accept and accept not in ("*/*", JSON):
            kinds = [one.partition(";")[0].strip().lower() for one in accept.split(",")]
            if not {"*/*", "application/*", JSON}.intersection(kinds):
                raise NotAcceptable([JSON])

    def link(self, **changes: str) -> str:
        """Its own absolute URL, with some parameters of the query string replaced."""
        kept = [(name, value) for name, value in self.arguments if name not in changes]
        return f"{self.root}{self.path}?{urlencode(kept + list(changes.items()))}"


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """What is answered.

    Attributes:
        status: HTTP status.
        body: JSON text; empty for none.
        headers: beside those that every answer has.
        facts: what the log says of it beside the status.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileResponse(ApiResponse):
    """An answer whose body comes in pieces, each written before the next is read.

    Attributes:
        length: of the body, in bytes; also where there is none, as for HEAD.
        pieces: of the body; None for none.
    """

    length: int = field(kw_only=True)
    pieces: AsyncGenerator[bytes, None] | None = field(default=None, kw_only=True)


_NO_CACHE = "no-cache, no-store"
_CACHE_MAX_SECONDS = 10**9


def stamp_headers(timestamp: int) -> dict[str, str]:
    """``ETag`` and ``Last-Modified`` of a timestamp in ms, and no caching."""
    return {
        "ETag": spell_etag(timestamp),
        "Last-Modified": spell_date(timestamp),
        "Cache-Control": _NO_CACHE,
    }


def written_headers(timestamp: int, position: int) -> dict[str, str]:
    """What the answer to a write says: ``stamp_headers``, and the ``Cursor`` of the write.

    Args:
        timestamp: of the object or list, in ms.
        position: of the object in its list, or of the list.
    """
    return {**stamp_headers(timestamp), "Cursor": spell_cursor(position)}


def caching_headers(seconds: int) -> dict[str, str]:
    """Headers that let an answer be kept, or, for 0 seconds and less, forbid it."""
    if seconds <= 0:
        return {"Cache-Control": "no-cache, no-store, must-revalidate"}
    # An owner may have asked for more seconds than there are dates.
    seconds = min(seconds, _CACHE_MAX_SECONDS)
    expires = formatdate(time.time() + seconds, usegmt=True)
    return {"Cache-Control": f"max-age={seconds}", "Expires": expires}


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> ApiResponse:
    """An answer whose body is a value."""
    return ApiResponse(status, dump_json(value), headers or {})


def not_modified_response(timestamp: int) -> ApiResponse:
    """The 304 that says: you have it."""
    headers = {"ETag": spell_etag(timestamp), "Last-Modified": spell_date(timestamp)}
    return ApiResponse(304, b"", headers)


def object_body(json: bytes, permissions: Mapping[str, Sequence[str]] | None) -> bytes:
    """The envelope around an object's text; None leaves the permissions out."""
    if permissions is None:
        return b'{"data":%b}' % json
    if not permissions:
        return b'{"data":%b,"permissions":{}}' % json
    return b'{"data":%b,"permissions":%b}' % (json, dump_json(permissions))


def list_body(texts: Sequence[bytes]) -> bytes:
    """The envelope around objects' texts."""
    return b'{"data":[%b]}' % b",".join(texts)


def object_response(stored: StoredObject, *, writable: bool) -> ApiResponse:
    """An object that was read, with its permissions for who may write it."""
    body = object_body(stored.json, stored.acl if writable else {})
    return ApiResponse(200, body, stamp_headers(stored.last_modified))


def written_response(stored: StoredObject, status: int, body: bytes) -> ApiResponse:
    """The answer to a write of an object.

    Args:
        stored: the object as it is now, or its tombstone.
        status: of the answer.
        body: of the answer.
    """
    return ApiResponse(status, body, written_headers(stored.last_modified, stored.position))
