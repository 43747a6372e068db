"""HTTP in, the API's answers out: limits, redirects, CORS, errors and the log."""

import json
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tornado.web import HTTPError, RequestHandler, stream_request_body

from handlers.messages import ApiRequest, ApiResponse, caching_headers
from handlers.routing import Api
from handlers.targets import PREFIX, decode_path, parse_arguments
from server.auth.loader import Authentication
from server.core.errors import (
    Detail,
    EndpointMissing,
    HeadersTooLarge,
    InvalidParameters,
    MethodNotAllowed,
    ServiceDeprecated,
    SyncError,
    TooLarge,
    Unforeseen,
    VersionMissing,
    invalid,
)
from server.core.permissions import ANONYMOUS, Actor

logger = logging.getLogger(__name__)

HEADERS_MAX_BYTES = 64 << 10

_EXPOSED = (
    "Alert, Backoff, Cache-Control, Content-Length, Content-Type, Cursor, ETag, Expires,"
    " Last-Modified, Location, Merged, Next-Page, Pragma, Preference-Applied, Retry-After,"
    " Total-Objects, Total-Records"
)
"""A browser cannot read what is not named here."""

_CONSTANT_HEADERS = {
    "Access-Control-Expose-Headers": _EXPOSED,
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none';",
    "Content-Type": "application/json",
    "X-Content-Type-Options": "nosniff",
}
_VERSION = re.compile(r"/v[0-9]+(?=/|$)")


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What the operator has set about HTTP.

    Attributes:
        origins: whose pages may read the answers; ``*`` for all.
        cors_seconds: that a browser may keep a preflight; None sends nothing.
        body_max_bytes: the largest body that is read.
        host: public name of the server; None for what the client says.
        scheme: ``http`` or ``https``; None for what the connection has.
        slash_seconds: that a redirect of a trailing slash is kept; None for no redirect.
        version_seconds: that a redirect to the version is kept; None for no redirect.
        backoff: seconds that clients are asked to wait; None for no header.
        backoff_percentage: of the answers that carry it.
        alert: announces an end of service, as JSON text.
        eos: time of that end, in seconds since 1970; None for none.
    """

    origins: tuple[str, ...] = ("*",)
    cors_seconds: int | None = 3600
    body_max_bytes: int = 8 << 20
    host: str | None = None
    scheme: str | None = None
    slash_seconds: int | None = 3600
    version_seconds: int | None = -1
    backoff: int | None = None
    backoff_percentage: int | None = None
    alert: Mapping[str, str] = field(default_factory=dict)
    eos: float | None = None


class _AnyMethod:
    """Lets every method in, so that the API answers those it does not know."""

    def __contains__(self, method: object) -> bool:
        return True


@stream_request_body
class ApiHandler(RequestHandler):
    """Hands every request to the API, whatever its path and method."""

    SUPPORTED_METHODS = _AnyMethod()  # type: ignore[assignment]

    def initialize(self, api: Api, auth: Authentication, options: HttpOptions) -> None:
        self._api = api
        self._auth = auth
        self._options = options
        self._chunks: list[bytes] = []
        self._size = 0
        self.summary: dict[str, Any] = {}

    def set_default_headers(self) -> None:
        for name, value in _CONSTANT_HEADERS.items():
            self._headers[name] = value

    def compute_etag(self) -> None:
        """None: ETags are the API's own, no hash of the body."""

    def check_xsrf_cookie(self) -> None:
        """Nothing: there are no cookies."""

    def prepare(self) -> None:
        headers = self.request.headers
        if sum(len(name) + len(value) for name, value in headers.get_all()) > HEADERS_MAX_BYTES:
            self._refuse(HeadersTooLarge(f"Headers may have {HEADERS_MAX_BYTES} bytes in all."))
        elif int(headers.get("Content-Length") or 0) > self._options.body_max_bytes:
            self._refuse(self._too_large())

    def _too_large(self) -> TooLarge:
        return TooLarge(f"A body may have at most {self._options.body_max_bytes} bytes.")

    def data_received(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._finished:
            return
        if self._size > self._options.body_max_bytes:
            self._refuse(self._too_large())
        else:
            self._chunks.append(chunk)

    def _refuse(self, error: SyncError) -> None:
        """Answer before the body is read; the connection is closed with it."""
        self.set_header("Connection", "close")
        self._send(self._api.planner.refusal(error))

    def __getattr__(self, name: str) -> Callable[[], Awaitable[None]]:
        # Tornado looks for the method's name in lower case.
        if name != "request" and name == (self.request.method or "").lower():
            return self._any
        raise AttributeError(name)

    async def _any(self) -> None:
        try:
            response = await self._respond()
        except SyncError as error:
            response = self._api.planner.refusal(error)
        self._send(response)

    get = head = post = put = patch = delete = options = _any

    async def _respond(self) -> ApiResponse:
        options = self._options
        if options.eos is not None and time.time() >= options.eos:
            raise ServiceDeprecated("The service you are trying to connect no longer exists")
        path = self.request.path
        if self.request.method == "OPTIONS":
            return self._preflight(path)
        redirect = self._redirect(path)
        if redirect is not None:
            return redirect
        request = ApiRequest(
            self.request.method or "",
            decode_path(path[len(PREFIX) :]),
            parse_arguments(self.request.query),
            self.request.headers,
            b"".join(self._chunks),
            await self._identify(),
            self._root(),
            time.time_ns() // 1_000_000,
        )
        return await self._api.respond(request)

    async def _identify(self) -> Actor:
        authorization = self.request.headers.get("Authorization")
        if authorization is None:
            return ANONYMOUS
        actor = await self._auth.identify(authorization)
        self.summary["uid"] = actor.user_id
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
        version = _VERSION.match(path)
        if version is not None:
            raise VersionMissing
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
        self.set_status(response.status)
        own = self._headers
        for name, value in response.headers.items():
            own[name] = value
        self._add_cors()
        self._add_notices(response.status)
        if response.status in (204, 304) or not response.body:
            if response.status not in (204, 304):
                own["Content-Length"] = "0"
            del own["Content-Type"]
        if response.status == 401:
            for challenge in self._auth.challenges:
                self.add_header("WWW-Authenticate", challenge)
        self.finish(response.body or None)

    def _add_cors(self) -> None:
        origins = self._options.origins
        if "*" in origins:
            self._headers["Access-Control-Allow-Origin"] = "*"
            return
        self._headers["Vary"] = "Origin"
        origin = self.request.headers.get("Origin")
        if origin in origins:
            self._headers["Access-Control-Allow-Origin"] = origin

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
        error: SyncError = Unforeseen()
        if status_code == 405:
            error = MethodNotAllowed("GET, HEAD, OPTIONS")
        self._send(self._api.planner.refusal(error))

    def log_exception(self, *arguments: Any) -> None:
        """Log what nobody foresaw."""
        if not isinstance(arguments[1], HTTPError):
            logger.error("%s failed", self.request.uri, exc_info=arguments)
