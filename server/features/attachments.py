"""Attachments: files of records."""

from handlers.attachments import METHODS, AttachmentEndpoint
from handlers.downloads import METHODS as READ_METHODS
from handlers.downloads import FileEndpoint
from handlers.routes import Route
from server.config import Settings, StartupError
from server.core.targets import PREFIX
from server.features.base import Context, Feature
from server.features.docs import our_docs
from server.service.attachments import Attachments
from server.service.file_rules import FileRule, FileRules
from server.settings_attachments import OPTIONS, AttachmentSettings
from server.storage.base import Storage
from server.storage.files.base import FileStore, KeepsFiles
from server.storage.files.folder import FolderFiles

_RECORD = "/buckets/{bucket_id}/collections/{collection_id}/records/{record_id}"


async def make(context: Context) -> Feature | None:
    """Where it is named among the features.

    Raises:
        StartupError: If its settings are wrong, or there is no place for files.
    """
    settings = context.settings
    if "attachments" not in settings.includes:
        return None
    given = settings.attachments
    files = await _open_files(settings, context.storage)
    rules = _make_rules(given)
    attachments = Attachments(context.storage, files, context.rules, rules, given.base_url)
    return Feature(
        routes=_routes(attachments, private=given.private),
        kinds={"record": AttachmentEndpoint(attachments).prepare},
        capabilities={"attachments": _describe(settings)},
        watchers=[attachments.orphans],
        checks={"attachments": files.check} if not settings.readonly else {},
        tasks=[attachments.run],
    )


def _routes(attachments: Attachments, *, private: bool) -> list[Route]:
    endpoint = AttachmentEndpoint(attachments)
    reads = FileEndpoint(attachments, private=private)
    return [
        Route(
            f"{_RECORD}/attachment",
            METHODS,
            endpoint.plan,
            {"POST": "Attach a file to a record", "DELETE": "Remove a record's file"},
            "Attachments",
            takes=endpoint.take,
        ),
        Route(
            "/attachments/{path}",
            READ_METHODS,
            reads.plan,
            {"GET": "Download a file", "HEAD": "Tell what a file is"},
            "Attachments",
            # Its link is the credential, or its record is asked.
            is_open=True,
            has_rest=True,
        ),
    ]


async def _open_files(settings: Settings, storage: Storage) -> FileStore:
    base = settings.attachments.base_path
    if base is not None:
        return FolderFiles(base, settings.retry_after_seconds)
    if isinstance(storage, KeepsFiles):
        return await storage.files()
    raise StartupError(
        f"The storage {settings.storage_backend} keeps no files: set attachment.base_path to a"
        " folder for them."
    )


def _make_rules(given: AttachmentSettings) -> FileRules:
    general = FileRule().changed({name: getattr(given, name) for name in OPTIONS})
    try:
        return FileRules(general, given.particular())
    except ValueError as error:
        raise StartupError(str(error)) from None


def _describe(settings: Settings) -> dict[str, str]:
    return {
        "description": "A file can be attached to a record.",
        "url": our_docs("how-to/attachments.html"),
        "version": "8.0.0",
        "base_url": _base_url(settings),
    }


def _base_url(settings: Settings) -> str:
    """What clients put before a location; every location is a whole address already."""
    given = settings.attachments.extra_base_url or settings.attachments.base_url
    if given is not None:
        return given
    if settings.http_host is None or settings.http_scheme is None:
        return ""
    return f"{settings.http_scheme}://{settings.http_host}{PREFIX}/attachments/"
