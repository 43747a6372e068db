"""Every failure a client is told about: one class is one (status, errno).

The core and the storage raise these; ``handlers/base.py`` alone turns them
into an answer. The table of errno is part of the public protocol and is
documented in ``docs/reference/errors.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing that is wrong with a request.

    Attributes:
        location: ``body``, ``querystring``, ``header`` or ``path``.
        name: the parameter or dotted field, ``""`` for the whole location.
        description: what is wrong with it, for a person.
    """

    location: str
    name: str
    description: str

    @property
    def sentence(self) -> str:
        """The message of an error that has this detail first."""
        if not self.name:
            return f"{self.location}: {self.description}"
        if self.name in self.description:
            return self.description
        return f"{self.name} in {self.location}: {self.description}"


class SyncError(Exception):
    """A failure with a place in the table of errors.

    Attributes:
        status: HTTP status.
        errno: the protocol's number of the error.
        message: for a person; what the client can do.
        details: JSON value for ``details``; None leaves the member out.
        headers: headers that belong to the answer, such as ``Retry-After``.
    """

    status: ClassVar[int]
    errno: ClassVar[int]

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.headers = dict(headers or {})

    @property
    def title(self) -> str:
        """The member ``error``: the status in words."""
        return HTTPStatus(self.status).phrase

    def body(self) -> dict[str, Any]:
        """The error object as it is sent: ``code, errno, error[, message][, details]``."""
        answer: dict[str, Any] = {"code": self.status, "errno": self.errno, "error": self.title}
        if self.message:
            answer["message"] = self.message
        if self.details is not None:
            answer["details"] = self.details
        return answer


_INVALID = "Invalid parameters"
"""The protocol's own words for what cannot be read, whatever the status."""


class InvalidParameters(SyncError):
    """The request cannot be understood, or asks for what cannot be.

    Attributes:
        problems: each thing that is wrong, sorted by name.
    """

    status = 400
    errno = 107

    def __init__(self, problems: Sequence[Detail]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.name)
        rows = [
            {"location": p.location, "name": p.name, "description": p.description}
            for p in self.problems
        ]
        super().__init__(self.problems[0].sentence, details=rows)

    @property
    def title(self) -> str:
        """See ``_INVALID``."""
        return _INVALID


def invalid(location: str, name: str, description: str) -> InvalidParameters:
    """The 400 for one thing that is wrong."""
    return InvalidParameters([Detail(location, name, description)])


class InvalidForm(SyncError):
    """A form lacks a part, has one that is not known, or one that is no JSON."""

    status = 400
    errno = 109


class AttachmentFixed(SyncError):
    """A client would change what a record says of its file."""

    status = 400
    errno = 999

    def __init__(self) -> None:
        super().__init__("Attachment metadata cannot be modified.")


class MissingAuth(SyncError):
    """The operation needs a user and the request names none."""

    status = 401
    errno = 104

    def __init__(self) -> None:
        super().__init__("Please authenticate yourself to use this endpoint.")


class InvalidAuth(SyncError):
    """The credentials are malformed or wrong."""

    status = 401
    errno = 105

    def __init__(self, message: str) -> None:
        super().__init__(message)


class Forbidden(SyncError):
    """The user may not do this; says nothing of whether the object exists."""

    status = 403
    errno = 121

    def __init__(self, message: str = "This user cannot access this resource.") -> None:
        super().__init__(message)


_NOT_FOUND = "The resource you are looking for could not be found."


class ObjectMissing(SyncError):
    """The object of the URL does not exist, or is a tombstone."""

    status = 404
    errno = 110

    def __init__(self, object_id: str, resource_name: str) -> None:
        super().__init__(_NOT_FOUND, details={"id": object_id, "resource_name": resource_name})


class ParentMissing(SyncError):
    """The bucket or collection that the URL passes through does not exist."""

    status = 404
    errno = 111

    def __init__(self, object_id: str, resource_name: str) -> None:
        super().__init__(_NOT_FOUND, details={"id": object_id, "resource_name": resource_name})


class EndpointMissing(SyncError):
    """No endpoint has this URL."""

    status = 404
    errno = 111

    def __init__(self) -> None:
        super().__init__(_NOT_FOUND)


class VersionMissing(SyncError):
    """The URL asks for a version of the protocol that is not spoken here."""

    status = 404
    errno = 116

    def __init__(self) -> None:
        super().__init__("The requested API version is not available on this server.")


class MethodNotAllowed(SyncError):
    """The endpoint exists and does not know this method, or it is switched off."""

    status = 405
    errno = 115

    def __init__(self, allow: str) -> None:
        super().__init__("Method not allowed on this endpoint.", headers={"Allow": allow})


class _UnspokenType(SyncError):
    """A header allows or names types of which none is spoken here."""

    header: ClassVar[str]

    def __init__(self, expected: Sequence[str]) -> None:
        sentence = f"{self.header} header should be one of {list(expected)!r}"
        row = {"location": "header", "name": self.header, "description": sentence}
        super().__init__(sentence, details=[row])

    @property
    def title(self) -> str:
        """See ``_INVALID``."""
        return _INVALID


class NotAcceptable(_UnspokenType):
    """The client accepts no JSON."""

    status = 406
    errno = 107
    header = "Accept"


class UnsupportedMediaType(_UnspokenType):
    """The body is of a type that this endpoint does not read."""

    status = 415
    errno = 107
    header = "Content-Type"


class ModifiedMeanwhile(SyncError):
    """The object or list is not in the state that the precondition names.

    Args:
        etag: the ETag of what is there now, with quotes; None leaves it out.
        existing: the object as it is now, where the caller may read it.
        more: further members of ``details``: of a merge, what is in its way.
    """

    status = 412
    errno = 114

    def __init__(
        self, etag: str | None, existing: Any = None, more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(
            "Resource was modified meanwhile",
            details=None if existing is None else {"existing": existing, **(more or {})},
            headers={} if etag is None else {"ETag": etag},
        )


class TooLarge(SyncError):
    """The body, or one object in it, is larger than this server stores."""

    status = 413
    errno = 113

    @property
    def title(self) -> str:
        """The same words with every Python; 3.13 has new ones."""
        return "Request Entity Too Large"


class RangeUnsatisfiable(SyncError):
    """The part of a file that is asked for lies beyond its end."""

    status = 416
    errno = 107

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The file has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
        )

    @property
    def title(self) -> str:
        """The same words with every Python; 3.13 has new ones."""
        return "Range Not Satisfiable"


class HeadersTooLarge(SyncError):
    """The request's line and headers are larger than this server reads."""

    status = 431
    errno = 107


class CursorExpired(SyncError):
    """Nothing can be resumed from this cursor; the client starts again without it.

    Args:
        reason: ``floor`` for what is kept no more, ``ahead`` for a cursor that
            this server has not reached.
        cursor: the list's cursor now.
        floor: the oldest that can be resumed from.
    """

    status = 410
    errno = 118

    def __init__(self, reason: str, cursor: str, floor: str) -> None:
        super().__init__(
            "What this cursor asks for is not known here: start again without it.",
            details={"floor": floor, "cursor": cursor, "reason": reason},
        )


class PartFailed(SyncError):
    """Another part of an atomic batch failed, so this one was not done either."""

    status = 424
    errno = 119

    def __init__(self) -> None:
        super().__init__("Nothing of this batch was done, because another part of it failed.")


class QuotaExceeded(SyncError):
    """The write would store more than there may be.

    Args:
        quota: name of the setting that says how much.
        maximum: what it says.
        wanted: what there would be.
    """

    status = 507
    errno = 121

    def __init__(self, quota: str, maximum: int, wanted: int) -> None:
        super().__init__(
            f"There is no room for this: {quota} is {maximum}, and it would be {wanted}.",
            details={"quota": quota, "maximum": maximum, "wanted": wanted},
        )


class RateLimited(SyncError):
    """The client asks for more than one connection may."""

    status = 429
    errno = 117

    def __init__(self, message: str) -> None:
        super().__init__(message)


class ServiceDeprecated(SyncError):
    """The service has reached its announced end of life."""

    status = 410
    errno = 202


class Unavailable(SyncError):
    """The database cannot be reached now; the client should come back."""

    status = 503
    errno = 201

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class Unforeseen(SyncError):
    """An error of ours; its text is logged, never sent."""

    status = 500
    errno = 999

    def __init__(self) -> None:
        super().__init__("A programmatic error occurred, developers have been informed.")
