"""What the operator has set about HTTP, and the headers that every answer has."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from server.core.errors import ServiceDeprecated

_EXPOSED = (
    "Alert, Backoff, Cache-Control, Content-Disposition, Content-Length, Content-Range,"
    " Content-Type, Cursor, ETag, Expires,"
    " Last-Modified, Location, Merged, Next-Page, Pragma, Preference-Applied, Retry-After,"
    " Total-Objects, Total-Records"
)
"""A browser cannot read what is not named here."""

CONSTANT_HEADERS = {
    "Access-Control-Expose-Headers": _EXPOSED,
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none';",
    "Content-Type": "application/json",
    "X-Content-Type-Options": "nosniff",
}


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

    def check_service(self) -> None:
        """Check that the service has not reached its end.

        Raises:
            ServiceDeprecated: If it has.
        """
        if self.eos is not None and time.time() >= self.eos:
            raise ServiceDeprecated("The service you are trying to connect no longer exists")

    def allows(self, origin: str) -> bool:
        """Whether pages of an origin may talk to this server."""
        return "*" in self.origins or origin in self.origins

    def cors_headers(self, origin: str | None) -> Mapping[str, str]:
        """Headers by which a page of an origin may read an answer."""
        if "*" in self.origins:
            return _FOR_ALL
        allowed = {"Access-Control-Allow-Origin": origin} if origin in self.origins else {}
        return {"Vary": "Origin", **{k: v for k, v in allowed.items() if v is not None}}


_FOR_ALL: Mapping[str, str] = {"Access-Control-Allow-Origin": "*"}
