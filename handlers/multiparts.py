"""Forms (``multipart/form-data``, RFC 7578), read as they come."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from server.core.errors import invalid

FORM = "multipart/form-data"

_BOUNDARY_MAX_LENGTH = 70
"""RFC 2046, section 5.1.1."""

_SILENT = logging.Logger("silent", logging.CRITICAL + 1)
"""What is wrong with a form is told to its sender, not to the operator."""


@dataclass(frozen=True, slots=True)
class PartHead:
    """What a part of a form says of itself.

    Attributes:
        name: of the field; empty without one.
        filename: None for what is no file.
        content_type: as sent; None without one.
    """

    name: str
    filename: str | None
    content_type: str | None


class FormSink(Protocol):
    """Is told what a form holds, in order; each call is awaited before the next."""

    async def begin(self, head: PartHead) -> None:
        """A part begins."""

    async def add(self, data: bytes) -> None:
        """The next bytes of the part."""

    async def end(self) -> None:
        """The part has ended."""


def find_boundary(content_type: str | None) -> bytes | None:
    """What separates the parts of a form; None if the type is that of no form."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != FORM.encode() or not 0 < len(boundary) <= _BOUNDARY_MAX_LENGTH:
        return None
    return boundary


class FormReader:
    """Cuts a form into its parts."""

    def __init__(self, boundary: bytes, sink: FormSink) -> None:
        self._sink = sink
        self._events: list[Callable[[], object]] = []
        self._headers: dict[str, str] = {}
        self._field = self._value = b""
        self._has_ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )
        self._parser.logger = _SILENT

    async def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the form, and tell what they hold.

        Raises:
            InvalidParameters: If they are no part of one.
            SyncError: As the sink does.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise invalid("body", "", f"The form is malformed: {error}") from None
        events, self._events = self._events, []
        for event in events:
            await event()  # type: ignore[misc]

    def check_ended(self) -> None:
        """Check that nothing of the form is missing.

        Raises:
            InvalidParameters: If its last boundary has not come.
        """
        if not self._has_ended:
            raise invalid("body", "", "The form has no end: its last boundary is missing.")

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[_decode(self._field).strip().lower()] = _decode(self._value)
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        head = _read_head(self._headers)
        self._events.append(lambda: self._sink.begin(head))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        self._events.append(lambda: self._sink.add(piece))

    def _on_part_end(self) -> None:
        self._events.append(self._sink.end)

    def _on_end(self) -> None:
        self._has_ended = True


def _decode(value: bytes) -> str:
    """UTF-8, as browsers send it; else what older clients do."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _read_head(headers: dict[str, str]) -> PartHead:
    options = _read_options(headers.get("content-disposition", ""))
    filename = options.get("filename")
    extended = options.get("filename*", "")
    if filename is None and extended.lower().startswith("utf-8'"):
        # RFC 7578 forbids it, and older clients send it.
        filename = unquote(extended.split("'", 2)[-1])
    elif filename is not None:
        # So browsers write what would end the quotes.
        for escaped, character in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
            filename = filename.replace(escaped, character)
    return PartHead(options.get("name", ""), filename, headers.get("content-type"))


def _read_options(header: str) -> dict[str, str]:
    """The parameters of a header; a quoted one may have ``;`` in it."""
    found: dict[str, str] = {}
    rest = header.partition(";")[2]
    while rest:
        name, _, rest = rest.partition("=")
        rest = rest.lstrip()
        value, rest = _read_quoted(rest[1:]) if rest[:1] == '"' else _read_plain(rest)
        found.setdefault(name.strip(" ;\t").lower(), value)
    return found


def _read_plain(text: str) -> tuple[str, str]:
    value, _, rest = text.partition(";")
    return value.strip(), rest


def _read_quoted(text: str) -> tuple[str, str]:
    value = ""
    at = 0
    while at < len(text) and text[at] != '"':
        # A backslash before anything else is one of a path of Windows.
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        value += text[at]
        at += 1
    return value, text[at + 1 :].partition(";")[2]
