"""``…/records/{id}/attachment``: a record's file is put there, and taken away."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from handlers.messages import (
    ApiRequest,
    ApiResponse,
    Intake,
    json_response,
    written_headers,
)
from handlers.multiparts import FORM, FormReader, PartHead, find_boundary
from handlers.plans import Plan
from handlers.routes import Place
from handlers.routing import Prepared
from server.core.commands import Change, Outcome, Target
from server.core.contents import OBJECT_MAX_BYTES
from server.core.errors import InvalidForm, InvalidParameters, SyncError, TooLarge, invalid
from server.core.json_text import BadJSON, parse_json
from server.core.patches import PATCH_TYPES, SHALLOW, parse_patch
from server.core.paths import ListPath, ObjectPath, invalid_id
from server.core.permissions import GRANTABLE
from server.service.attachments import Attachments, Upload
from server.service.orphans import FIELD

METHODS = ("POST", "DELETE", "OPTIONS")

_TEXTS = ("data", "permissions")

_POINTER = f"/data/{FIELD}"
"""To what a record says of its file, in a JSON Patch."""

_FORM_OVERHEAD_BYTES = 64 << 10
"""Of boundaries and headers: a body that has more than this beside its parts is too large."""


@dataclass(slots=True)
class Form:
    """The parts of a form as they come: the file goes to its upload, the texts are kept.

    Attributes:
        upload: of the file.
        texts: of ``data`` and ``permissions``.
    """

    upload: Upload
    texts: dict[str, bytearray] = field(default_factory=dict)
    _part: str = ""

    async def begin(self, head: PartHead) -> None:
        """A part begins; see ``FormSink``."""
        self._part = head.name
        if head.name == FIELD:
            await self._begin_file(head)
        elif head.name not in _TEXTS:
            raise InvalidForm(f"body: {head.name[:60]!r} not in {_TEXTS}")
        elif head.filename is not None:
            words = "field should be passed as form data, not files"
            raise InvalidForm(f"body: {head.name!r} {words}")
        elif head.name in self.texts:
            raise InvalidForm(f"body: {head.name!r} is given twice")
        else:
            self.texts[head.name] = bytearray()

    async def _begin_file(self, head: PartHead) -> None:
        if head.filename is None:
            raise invalid("body", "", "Filename is required.")
        if self.upload.has_begun:
            raise InvalidForm("body: a record has one attachment")
        await self.upload.begin(head.filename, head.content_type)

    async def add(self, data: bytes) -> None:
        """The next bytes of the part; see ``FormSink``."""
        if self._part == FIELD:
            await self.upload.write(data)
            return
        text = self.texts[self._part]
        text += data
        if len(text) > OBJECT_MAX_BYTES:
            raise TooLarge(f"An object may have at most {OBJECT_MAX_BYTES} bytes of JSON.")

    async def end(self) -> None:
        """The part has ended; see ``FormSink``."""

    def body(self) -> dict[str, Any]:
        """The texts, parsed.

        Raises:
            InvalidForm: If there is no file, or a text is no JSON.
        """
        if not self.upload.has_begun:
            raise InvalidForm("Attachment missing.")
        return {name: _parse(name, bytes(text)) for name, text in self.texts.items()}


def _parse(name: str, text: bytes) -> Any:
    try:
        return parse_json(text)
    except BadJSON as error:
        raise InvalidForm(f"body: {name} is not valid JSON ({error})") from None


class FormIntake:
    """Takes a form in; see ``Intake``.

    Attributes:
        form: its parts.
    """

    def __init__(self, attachments: Attachments, form: Form, boundary: bytes) -> None:
        self.form = form
        self._attachments = attachments
        self._reader = FormReader(boundary, form)

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes; see ``Intake``."""
        await self._reader.feed(chunk)

    def finish(self) -> dict[str, Any]:
        """The form's texts, once all of it has come.

        Raises:
            InvalidParameters: If it is cut short.
            InvalidForm: If it is not what is expected.
        """
        self._reader.check_ended()
        return self.form.body()

    async def discard(self) -> None:
        """Forget it; see ``Intake``."""
        await self.form.upload.discard()

    def abandon(self) -> None:
        """Forget it soon; see ``Intake``."""
        self._attachments.abandon(self.discard())


class AttachmentEndpoint:
    """Plans requests on the file of a record."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments

    async def take(self, request: ApiRequest, place: Place) -> Intake:
        """What takes in a form.

        Raises:
            SyncError: If the record may not be written, or it is certain that the form
                is of no use.
        """
        target = _target(request, place)
        if place.before is None:
            # Who has a bucket of their own may make what is missing.
            await self._attachments.check_writable(target)
        boundary = find_boundary(request.headers.get("Content-Type"))
        if boundary is None:
            raise _no_form()
        upload = self._attachments.begin(target.path)
        _check_length(request.headers.get("Content-Length"), upload.max_bytes())
        return FormIntake(self._attachments, Form(upload), boundary)

    def plan(self, request: ApiRequest, place: Place) -> Plan:
        """What a request comes to; a form was taken in by then.

        Raises:
            SyncError: If it cannot be understood.
        """
        request.check_acceptable()
        target = _target(request, place)
        if request.method == "DELETE":
            return self._plan_removal(target)
        intake = request.intake
        if not isinstance(intake, FormIntake):
            raise _no_form()

        async def alone() -> ApiResponse:
            return await self._attach(request, place, intake)

        return Plan(alone=alone, solitary=True)

    async def _attach(self, request: ApiRequest, place: Place, intake: FormIntake) -> ApiResponse:
        body = intake.finish()
        target = _target(request, place)
        outcome, described = await self._attachments.attach(
            target, intake.form.upload, body, place.before, request.root
        )
        stored = outcome.object
        headers = written_headers(stored.last_modified, stored.position)
        headers["Location"] = request.root + stored.uri
        return json_response(described, 201 if outcome.created else 200, headers)

    def _plan_removal(self, target: Target) -> Plan:
        patch = parse_patch(SHALLOW, {"data": {FIELD: None}}, GRANTABLE["record"])

        def answer(outcome: Outcome) -> ApiResponse:
            self._attachments.let_go(outcome)
            stored = outcome.object
            return ApiResponse(204, b"", written_headers(stored.last_modified, stored.position))

        return Plan(part=Change(target, patch), answer=answer)

    async def prepare(self, request: ApiRequest, path: ObjectPath | ListPath) -> Prepared:
        """Refuse a write of a record that would change what it says of its file.

        Raises:
            AttachmentFixed: If it would.
        """
        if isinstance(path, ObjectPath) and request.method in ("PUT", "PATCH") and path.valid:
            sent = _find_mention(request)
            if sent is not None:
                await self._attachments.check_unchanged(request.actor, path, sent)
        return Prepared(request)


def _find_mention(request: ApiRequest) -> Any:
    """The patch or the data of a write that mentions a file; None if none does, or it is wrong."""
    if request.body and FIELD.encode() not in request.body and b"\\u" not in request.body:
        return None
    try:
        body = request.json()
        if not _mentions(body):
            return None
        if request.method == "PATCH":
            kind = request.content_type(PATCH_TYPES)
            return parse_patch(kind, body, GRANTABLE["record"])
    except SyncError:
        return None
    return body["data"]


def _mentions(body: Any) -> bool:
    """Whether the body of a write has something to say of a file."""
    if isinstance(body, list):
        paths = [one.get("path") for one in body if isinstance(one, dict)]
        return any(path in ("", "/data") or str(path).startswith(_POINTER) for path in paths)
    data = body.get("data") if isinstance(body, Mapping) else None
    return isinstance(data, dict) and bool(data.get(FIELD))


def _target(request: ApiRequest, place: Place) -> Target:
    path = place.object
    if place.before is not None and not path.valid:
        raise invalid_id()
    return Target(request.actor, path, request.precondition())


def _no_form() -> InvalidParameters:
    return invalid("header", "Content-Type", f"Content-Type should be {FORM}")


def _check_length(length: str | None, limit: int) -> None:
    """Check that a form of some length may have a file within the limit.

    Raises:
        InvalidParameters: If it is certain that it has not.
    """
    allowed = limit + 2 * OBJECT_MAX_BYTES + _FORM_OVERHEAD_BYTES
    if limit and length is not None and int(length) > allowed:
        raise invalid("body", "", f"File size exceeds the limit ({limit} bytes).")
