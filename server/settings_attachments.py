"""Settings of attachments: kinto-attachment's names where it has the setting."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server import settings_values as values
from server.settings_values import about

_MIMETYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


def parse_extensions(text: str) -> str:
    """Groups of extensions, or extensions, with ``+`` between them."""
    words = values.parse_text(text).strip().lower()
    if not all(re.fullmatch(r"[\w ]+", word, re.ASCII) for word in words.split("+")):
        raise ValueError("groups or extensions with + between them, such as default+video")
    return words


def parse_mimetypes(text: str) -> dict[str, str]:
    """Types by extension: ``.ftl:application/vnd.fluent;.db:application/vnd.sqlite3``."""
    found = {}
    for pair in filter(None, values.parse_text(text).strip().split(";")):
        extension, _, mimetype = (part.strip().lower() for part in pair.partition(":"))
        if not extension.startswith(".") or not _MIMETYPE.fullmatch(mimetype):
            raise ValueError("pairs with ; between them, such as .ftl:application/vnd.fluent")
        found[extension] = mimetype
    return found


def parse_folder(text: str) -> str:
    """A relative path, which may have ``{bucket_id}``, ``{collection_id}`` and ``{id}``."""
    folder = values.parse_text(text).strip().strip("/")
    try:
        shown = folder.format(bucket_id="b", collection_id="c", id="r")
    except (KeyError, ValueError, IndexError, AttributeError):
        shown = ".."
    if any(part in ("", ".", "..", ".kintoun") for part in shown.split("/")) and shown:
        raise ValueError("a relative path such as {bucket_id}/{collection_id}")
    return folder


def parse_url(text: str) -> str:
    """The address of a folder; ends in a slash."""
    url = values.parse_text(text).strip()
    if not re.match(r"(https?:/)?/", url):
        raise ValueError("an address such as https://cdn.example.org/files/")
    return url.rstrip("/") + "/"


OPTIONS = {
    "extensions": parse_extensions,
    "folder": parse_folder,
    "keep_old_files": values.parse_flag,
    "max_size_bytes": values.whole_number(0),
    "mimetypes": parse_mimetypes,
    "randomize": values.parse_flag,
}
"""What can be set for a bucket or collection, too."""

_RESOURCE = re.compile(rf"(.+?)[._]({'|'.join(OPTIONS)})")


@dataclass(frozen=True, slots=True)
class AttachmentSettings:
    """Where files lie, how they are called, and which are taken."""

    base_path: Path | None = field(
        default=None,
        metadata=about(
            "Folder for the files; without it they lie in the database.",
            Path,
            name="attachment.base_path",
        ),
    )
    base_url: str | None = field(
        default=None,
        metadata=about(
            "What `location` begins with; else this server's own `/v1/attachments/`.",
            parse_url,
            name="attachment.base_url",
        ),
    )
    extra_base_url: str | None = field(
        default=None,
        metadata=about(
            "The `base_url` that the hello view shows, if it is another.",
            parse_url,
            name="attachment.extra.base_url",
        ),
    )
    folder: str = field(
        default="",
        metadata=about(
            "Folder of a file's name, such as `{bucket_id}/{collection_id}`.",
            parse_folder,
            name="attachment.folder",
        ),
    )
    randomize: bool = field(
        default=True,
        metadata=about(
            "Give files names that nobody can guess; else that of their sender.",
            values.parse_flag,
            name="attachment.randomize",
        ),
    )
    extensions: str = field(
        default="default",
        metadata=about(
            "Extensions, or groups of them, that files may have, such as `default+video`; `any`"
            " for all.",
            parse_extensions,
            name="attachment.extensions",
        ),
    )
    mimetypes: Mapping[str, str] = field(
        default_factory=dict,
        metadata=about(
            "Types by extension, such as `.ftl:application/vnd.fluent;.db:application/x-db`.",
            parse_mimetypes,
            name="attachment.mimetypes",
        ),
    )
    max_size_bytes: int = field(
        default=0,
        metadata=about(
            "Bytes that a file may have; 0 for any number.",
            values.whole_number(0),
            name="attachment.max_size_bytes",
        ),
    )
    keep_old_files: bool = field(
        default=False,
        metadata=about(
            "Keep the files that no record names any more.",
            values.parse_flag,
            name="attachment.keep_old_files",
        ),
    )
    private: bool = field(
        default=False,
        metadata=about(
            "Serve a file only to who may read its record.",
            values.parse_flag,
            name="attachment.private",
        ),
    )
    resources: Mapping[str, str] = field(
        default_factory=dict,
        metadata=about(
            "One of these for a bucket or collection, such as"
            " `attachment.resources.blog.articles.max_size_bytes`.",
            str,
            name="attachment.resources.<bucket>.<collection>.<option>",
            pattern=r"attachment[._]resources[._](.+)",
        ),
    )

    def particular(self) -> dict[str, dict[str, Any]]:
        """The options of buckets and collections, by ``bucket`` or ``bucket.collection``.

        Raises:
            ValueError: If one is none, or does not parse; its text is a sentence.
        """
        found: dict[str, dict[str, Any]] = {}
        for name, text in self.resources.items():
            match = _RESOURCE.fullmatch(name)
            if match is None or match[1].count(".") > 1:
                raise ValueError(
                    f"attachment.resources.{name} is no setting of this server: it ends in one of"
                    f" {', '.join(OPTIONS)}, after a bucket or a bucket and a collection."
                )
            try:
                found.setdefault(match[1], {})[match[2]] = OPTIONS[match[2]](text)
            except ValueError as error:
                raise ValueError(
                    f"attachment.resources.{name} is {text!r}: it must be {error}."
                ) from None
        return found
