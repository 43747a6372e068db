"""HTTP in, the API's answers out: limits, redirects, CORS, errors and the log."""

import json
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from handlers.messages import ApiRequest, ApiResponse, FileResponse, Intake, caching_headers
from handlers.multiparts import FORM
from handlers.options import CONSTANT_HEADERS, HttpOptions
from handlers.routing import Api
from handlers.streams import StreamResponse
from server.auth.policies import Authentication
from server.core.errors import (
    Detail,
    EndpointMissing,
    HeadersTooLarge,
    InvalidParameters,
    MethodNotAllowed,
    SyncError,
    TooLarge,
    Unforeseen,
    VersionMissing,
    invalid,
)
from server.core.permissions import ANONYMOUS, Actor
from server.core.targets import PREFIX, decode_path, parse_arguments, read_utf8, strip_authority
from server.storage.files.base import FileGone

logger = logging.getLogger(__name__)

HEADERS_MAX_BYTES = 64 << 10

LINGER_MAX_BYTES = 64 << 20
"""Of a body that was refused: read and thrown away, so that its sender gets to the answer."""

LINGER_SECONDS = 5.0

_LENGTH_MAX_DIGITS = 12
_WELL_KNOWN = "/.well-known/"
"""Below it stands what belongs to no version (RFC 8615)."""

_VERSION = re.compile(r"/v[0-9]+(?=/|$)")


@stream_request_body
class ApiHandler(RequestHandler):
    """Hands every request to the API, whatever its path."""

    def initialize(self, api: Api, auth: Authentication, options: HttpOptions) -> None:
        self._api = api
        self._auth = auth
        self._options = options
        self._chunks: list[bytes] = []
        self._size = 0
        self._refused = False
        self._deadline: object | None = None
        self._gone = False
        self._intake: Intake | None = None
        self._on_gone: Callable[[], None] | None = None
        self.summary: dict[str, Any] = {}

    def set_default_headers(self) -> None:
        for name, value in CONSTANT_HEADERS.items():
            self._headers[name] = value

    def compute_etag(self) -> None:
        """None: ETags are the API's own, no hash of the body."""

    def check_xsrf_cookie(self) -> None:
        """Nothing: there are no cookies."""

    def prepare(self) -> Awaitable[None] | None:
        try:
            self._check_head()
        except SyncError as error:
            self._refuse(error, is_over=True)
            return None
        if self.request.method == "POST" and self._has_form():
            return self._open_intake()
        try:
            self._check_length()
        except SyncError as error:
            self._refuse(error)
        return None

    def _has_form(self) -> bool:
        return (self.request.headers.get("Content-Type") or "").lower().startswith(FORM)

    async def _open_intake(self) -> None:
        """Ask for what takes in the body; where nothing does, it is read as a whole."""
        try:
            path = read_utf8(strip_authority(self.request.path))
            if path.startswith(PREFIX + "/"):
                self._options.check_service()
                self._intake = await self._api.intake(await self._read_request(path))
            if self._intake is None:
                self._check_length()
        except SyncError as error:
            self._refuse(error)
        if self._gone and self._intake is not None:
            self._intake.abandon()

    def _check_head(self) -> None:
        """Check what can be known before the body is read.

        Raises:
            SyncError: If the headers are too large, or the body's end is unknown.
        """
        headers = self.request.headers
        if sum(len(name) + len(value) for name, value in headers.get_all()) > HEADERS_MAX_BYTES:
            raise HeadersTooLarge(f"Headers may have {HEADERS_MAX_BYTES} bytes in all.")
        length, coding = headers.get("Content-Length"), headers.get("Transfer-Encoding")
        if coding is not None and (length is not None or coding.lower() != "chunked"):
            words = "should be chunked, and without Content-Length"
            raise invalid("header", "Transfer-Encoding", words)
        if length is None:
            return
        if not length.isascii() or not length.isdigit() or len(length) > _LENGTH_MAX_DIGITS:
            raise invalid("header", "Content-Length", "should be an integer, given once")

    def _check_length(self) -> None:
        """Check that a body which is read as a whole is not too large.

        Raises:
            TooLarge: If it says that it is.
        """
        if int(self.request.headers.get("Content-Length") or 0) > self._options.body_max_bytes:
            raise self._too_large()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"A body may have at most {self._options.body_max_bytes} bytes.")

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._size += len(chunk)
        if self._refused:
            if self._size > LINGER_MAX_BYTES:
                self._let_go()
        elif self._intake is not None:
            return self._take_in(self._intake, chunk)
        elif self._size > self._options.body_max_bytes:
            self._refuse(self._too_large())
        else:
            self._chunks.append(chunk)
        return None

    async def _take_in(self, intake: Intake, chunk: bytes) -> None:
        try:
            await intake.write(chunk)
        except SyncError as error:
            self._turn_away(intake, error)
        except Exception:
            # Whatever it is, the client is to be told, and nothing is to be left of its file.
            logger.exception("%s failed", self.request.uri)
            self._turn_away(intake, Unforeseen())

    def _turn_away(self, intake: Intake, error: SyncError) -> None:
        intake.abandon()
        if not self._gone:
            self._refuse(error)

    def _refuse(self, error: SyncError, *, is_over: bool = False) -> None:
        """Answer before the body is read; the connection is closed after it.

        What still comes is thrown away for a while. Who is closed upon while
        sending is told of a broken connection, and never sees the answer.

        Args:
            error: that is answered.
            is_over: whether nobody can tell where the body ends.
        """
        self._refused = True
        self._chunks.clear()
        self.set_header("Connection", "close")
        body = self._put(self._api.planner.refusal(error))
        self.set_header("Content-Length", str(len(body)))
        self.write(body)
        if is_over or ("Expect" in self.request.headers and not self._size):
            self.finish()
            return
        self.flush()
        self._deadline = IOLoop.current().call_later(LINGER_SECONDS, self._let_go)

    def _let_go(self) -> None:
        self.finish()
        self.request.connection.close()  # type: ignore[union-attr]

    def on_finish(self) -> None:
        if self._deadline is not None:
            IOLoop.current().remove_timeout(self._deadline)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._gone = True
        if self._on_gone is not None:
            self._on_gone()
        if self._intake is not None:
            self._intake.abandon()
        if self._refused and not self._finished:
            self._let_go()

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call when the client is there no more, before it was answered."""
        self._on_gone = callback
        if self._gone:
            callback()

    async def _any(self) -> None:
        if self._refused:
            self._let_go()
            return
        try:
            response = await self._respond()
        except SyncError as error:
            response = self._api.planner.refusal(error)
        finally:
            if self._intake is not None:
                await self._intake.discard()
        if isinstance(response, StreamResponse):
            self._hand_over(response)
        elif isinstance(response, FileResponse):
            await self._send_file(response)
        else:
            self._send(response)

    get = head = post = put = patch = delete = options = _any

    async def _respond(self) -> ApiResponse:
        self._options.check_service()
        path = read_utf8(strip_authority(self.request.path))
        if self.request.method == "OPTIONS":
            return self._preflight(path)
        redirect = self._redirect(path)
        if redirect is not None:
            return redirect
        return await self._api.respond(await self._read_request(path))

    async def _read_request(self, path: str) -> ApiRequest:
        return ApiRequest(
            self.request.method or "",
            decode_path(path.removeprefix(PREFIX)),
            parse_arguments(read_utf8(self.request.query)),
            self.request.headers,
            b"".join(self._chunks),
            await self._identify(),
            self._root(),
            time.time_ns() // 1_000_000,
            when_gone=self.when_gone,
            intake=self._intake,
        )

    async def _identify(self) -> Actor:
        authorization = self.request.headers.get("Authorization")
        if authorization is None:
            return ANONYMOUS
        actor = await self._auth.identify(authorization)
        if actor.user_id:
            self.summary["uid"] = actor.user_id
            self.summary["authn_type"] = actor.user_id.partition(":")[0]
        return actor

    def _origin(self) -> str:
        scheme = self._options.scheme or self.request.protocol
        return f"{scheme}://{self._options.host or self.request.host}"

    def _root(self) -> str:
        return self._origin() + PREFIX

    def _redirect(self, path: str) -> ApiResponse | None:
        """The redirect that a path comes to, None for a path of the API.

        Raises:
            SyncError: If it is of no version that is spoken here.
        """
        options = self._options
        if path == PREFIX:
            return self._moved(PREFIX + "/", options.version_seconds)
        if path.startswith(PREFIX + "/"):
            if len(path) == len(PREFIX) + 1 or not path.endswith("/"):
                return None
            if options.slash_seconds is None:
                raise EndpointMissing
            return self._moved(path.rstrip("/"), options.slash_seconds)
        if path.startswith(_WELL_KNOWN) and self._api.routes.fixed(path) is not None:
            return None
        version = _VERSION.match(path)
        if version is not None:
            raise VersionMissing
        if not path.startswith("/"):
            raise EndpointMissing
        if options.version_seconds is None:
            raise EndpointMissing
        return self._moved(PREFIX + path, options.version_seconds)

    def _moved(self, path: str, seconds: int | None) -> ApiResponse:
        query = f"?{self.request.query}" if self.request.query else ""
        headers = {"Location": self._origin() + path + query}
        if seconds is not None and seconds >= 0:
            headers |= caching_headers(seconds)
        return ApiResponse(307, b"", headers)

    def _preflight(self, path: str) -> ApiResponse:
        """The answer to a browser's question whether it may ask.

        Raises:
            InvalidParameters: If it is no preflight, or for a method that is not there.
        """
        if path.startswith(PREFIX + "/"):
            redirect = self._redirect(path)
            if redirect is not None:
                return redirect
            methods = self._api.methods(decode_path(path[len(PREFIX) :]))
        else:
            methods = ("GET", "HEAD", "OPTIONS")
        asked = self.request.headers.get("Access-Control-Request-Method")
        missing = [
            Detail("header", name, "this header is mandatory")
            for name in ("Origin", "Access-Control-Request-Method")
            if name not in self.request.headers
        ]
        if missing:
            raise InvalidParameters(missing)
        if asked not in methods:
            raise invalid("header", "Access-Control-Request-Method", "Method not allowed")
        headers = {"Access-Control-Allow-Methods": ",".join(methods)}
        wanted = self.request.headers.get("Access-Control-Request-Headers")
        if wanted:
            headers["Access-Control-Allow-Headers"] = wanted
        if self._options.cors_seconds is not None:
            headers["Access-Control-Max-Age"] = str(self._options.cors_seconds)
        return ApiResponse(200, b"null", headers)

    def _send(self, response: ApiResponse) -> None:
        self.finish(self._put(response) or None)

    async def _send_file(self, response: FileResponse) -> None:
        """Send a body piece by piece, as fast as the client takes it."""
        self._put(response)
        if response.pieces is None:
            self.finish()
            return
        async with aclosing(response.pieces) as pieces:
            try:
                async for piece in pieces:
                    self.write(piece)
                    await self.flush()
            except (StreamClosedError, FileGone, SyncError) as error:
                # Its head is sent: all that can be done is not to end as if it were whole.
                logger.info("%s was cut short: %r", self.request.uri, error)
                self.detach().close()
                self.application.log_request(self)
            else:
                self.finish()

    def _hand_over(self, response: StreamResponse) -> None:
        """Leave the connection to an answer that writes its body itself."""
        body = self._put(response)
        self._headers["Connection"] = "close"
        fields = "".join(f"{name}: {value}\r\n" for name, value in self._headers.get_all())
        head = f"HTTP/1.1 {response.status} {self._reason}\r\n{fields}\r\n".encode("latin-1")
        stream = self.detach()
        self.application.log_request(self)
        self.on_finish()
        response.take(stream, head if self.request.method == "HEAD" else head + body)

    def _put(self, response: ApiResponse) -> bytes:
        """Set the status and the headers of an answer; its body is given back."""
        self.summary.update(response.facts)
        self.set_status(response.status)
        own = self._headers
        for name, value in response.headers.items():
            own[name] = value
        for name, value in self._options.cors_headers(self.request.headers.get("Origin")).items():
            if name not in response.headers:
                own[name] = value
        self._add_notices(response.status)
        if isinstance(response, FileResponse):
            own["Content-Length"] = str(response.length)
        elif response.status in (204, 304) or not response.body:
            if response.status not in (204, 304):
                own["Content-Length"] = "0"
            del own["Content-Type"]
        if response.status == 401:
            for challenge in self._auth.challenges:
                self.add_header("WWW-Authenticate", challenge)
        return response.body

    def _add_notices(self, status: int) -> None:
        options = self._options
        if options.backoff is not None:
            share = options.backoff_percentage
            if share is None or random.random() * 100 < share:
                self._headers["Backoff"] = str(options.backoff)
        if options.alert and "Alert" not in self._headers:
            code = "hard-eol" if status == 410 else "soft-eol"
            self._headers["Alert"] = json.dumps({"code": code, **options.alert})

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer what nobody foresaw; it has been logged whole."""
        error = self._unspoken() if status_code == 405 else Unforeseen()
        self._send(self._api.planner.refusal(error))

    def _unspoken(self) -> SyncError:
        """The error of a method that is none of the protocol's."""
        path = strip_authority(self.request.path)
        if not path.startswith(PREFIX + "/"):
            return MethodNotAllowed("GET, HEAD, OPTIONS")
        try:
            return MethodNotAllowed(", ".join(self._api.methods(decode_path(path[len(PREFIX) :]))))
        except SyncError as error:
            return error

    def log_exception(self, *arguments: Any) -> None:
        """Log what nobody foresaw."""
        if not isinstance(arguments[1], HTTPError):
            logger.error("%s failed", self.request.uri, exc_info=arguments)
