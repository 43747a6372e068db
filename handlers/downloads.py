"""``/attachments/…``: the files themselves, whole or in part (RFC 9110, sections 13 and 14)."""

import re
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from handlers.hello import READ_METHODS
from handlers.messages import ApiRequest, ApiResponse, FileResponse
from handlers.plans import Plan
from handlers.routes import Place
from server.core.errors import ObjectMissing, RangeUnsatisfiable
from server.core.positions import spell_date
from server.service.attachments import Attachments
from server.service.orphans import FIELD
from server.storage.files.base import StoredFile

METHODS = READ_METHODS

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.IGNORECASE | re.ASCII)

_HARMLESS = re.compile(
    r"image/(?!svg)[\w.+-]+|audio/[\w.+-]+|video/[\w.+-]+|text/plain|application/(pdf|json)"
)
"""Types that a browser may show; all others it shall save. None can run a script."""

_SECURITY = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_FOREVER = "public, max-age=31536000, immutable"
"""A file never changes: another has another name."""

_ASK_AGAIN = "private, no-cache"


class FileEndpoint:
    """Plans reads of files."""

    def __init__(self, attachments: Attachments, *, private: bool) -> None:
        """Begin.

        Args:
            attachments: that are read.
            private: whether only who may read the record may read its file.
        """
        self._attachments = attachments
        self._private = private

    def plan(self, request: ApiRequest, place: Place) -> Plan:
        """A read; whatever the credentials are for, the file's record is asked."""

        async def alone() -> ApiResponse:
            return await self._read(request, place.names["path"])

        return Plan(alone=alone, solitary=True)

    async def _read(self, request: ApiRequest, name: str) -> ApiResponse:
        file = await self._attachments.find(name)
        if file is None:
            raise ObjectMissing(name, FIELD)
        if self._private:
            await self._attachments.check_readable(request.actor, file)
        headers = self._headers(file)
        if _is_known(request, file):
            kept = ("ETag", "Last-Modified", "Cache-Control")
            return ApiResponse(304, b"", {name: headers[name] for name in kept})
        start, stop = 0, file.size
        found = _find_range(request, file)
        if found is not None:
            start, stop = found
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
        pieces = None
        if request.method == "GET":
            pieces = self._attachments.read(file, start, stop)
        status = 200 if found is None else 206
        return FileResponse(status, b"", headers, length=stop - start, pieces=pieces)

    def _headers(self, file: StoredFile) -> dict[str, str]:
        return {
            "Accept-Ranges": "bytes",
            "Cache-Control": _ASK_AGAIN if self._private else _FOREVER,
            "Content-Disposition": spell_disposition(file.filename, file.mimetype),
            "Content-Type": file.mimetype,
            "ETag": f'"{file.hash}"',
            "Last-Modified": spell_date(file.date),
            **_SECURITY,
        }


def spell_disposition(filename: str, mimetype: str) -> str:
    """Whether a file is shown or saved, and its name (RFC 6266)."""
    how = "inline" if _HARMLESS.fullmatch(mimetype) else "attachment"
    plain = re.sub(r'[^ -~]|["\\%]', "_", filename)
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _is_known(request: ApiRequest, file: StoredFile) -> bool:
    """Whether the client has the file already."""
    none_match = request.headers.get("If-None-Match")
    if none_match is not None:
        tags = [one.strip().removeprefix("W/") for one in none_match.split(",")]
        return "*" in tags or f'"{file.hash}"' in tags
    since = _parse_date(request.headers.get("If-Modified-Since"))
    return since is not None and file.date // 1000 <= since


def _parse_date(text: str | None) -> int | None:
    """Seconds since 1970; None for what is no date."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) if text else None
    except (ValueError, OverflowError):
        return None


def _find_range(request: ApiRequest, file: StoredFile) -> tuple[int, int] | None:
    """The part that is asked for, from its first byte to before another; None for all.

    Several parts at once are answered by the whole, which is permitted.

    Raises:
        RangeUnsatisfiable: If it lies beyond the end.
    """
    asked = _RANGE.fullmatch((request.headers.get("Range") or "").strip())
    if asked is None or not _is_same(request.headers.get("If-Range"), file):
        return None
    first, last = asked.groups()
    if not first:
        return _find_suffix(last, file.size)
    if last and int(last) < int(first):
        return None
    if int(first) >= file.size:
        raise RangeUnsatisfiable(file.size)
    return int(first), min(int(last) + 1, file.size) if last else file.size


def _find_suffix(length: str, size: int) -> tuple[int, int] | None:
    if not length:
        return None
    if int(length) == 0:
        raise RangeUnsatisfiable(size)
    # Of an empty file no part can be named.
    return (max(size - int(length), 0), size) if size else None


def _is_same(validator: str | None, file: StoredFile) -> bool:
    """Whether the file is the one of which the client has a part (``If-Range``)."""
    if validator is None:
        return True
    return validator.strip() in (f'"{file.hash}"', spell_date(file.date))
