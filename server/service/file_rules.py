"""Which files records may have, and how they are called: rules by bucket and collection."""

import hashlib
import mimetypes
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from server.core.paths import ObjectPath

FILENAME_MAX_LENGTH = 255

_GROUPS = {
    "documents": "pdf rtf odf ods gnumeric abw doc docx xls xlsx",
    "text": "txt",
    "images": "jpg jpe jpeg png gif svg bmp tiff",
    "audio": "wav mp3 aac ogg oga flac",
    "video": "mpeg 3gp avi divx dvr flv mp4 wmv",
    "data": "csv ini json plist xml yaml yml",
    "scripts": "js php pl py rb sh",
    "archives": "gz bz2 zip tar tgz txz 7z",
    "executables": "so exe dll",
    "any": "",
}
_GROUPS["default"] = " ".join(_GROUPS[one] for one in ("documents", "text", "images", "data"))

_TYPES = {".pem": "application/x-pem-file", ".geojson": "application/geojson"}
"""Known wherever the server runs."""

_PLAIN_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,100}", re.ASCII)
UNKNOWN_TYPE = "application/octet-stream"

_SEGMENT_MAX_LENGTH = 200
"""Of a folder's name: file systems take no more than 255 bytes."""


def find_extensions(words: str) -> frozenset[str]:
    """The extensions of groups and of extensions with ``+`` between them; none means any."""
    if "any" in words.split("+"):
        return frozenset()
    return frozenset(" ".join(_GROUPS.get(word, word) for word in words.split("+")).split())


@dataclass(frozen=True, slots=True)
class FileRule:
    """What holds for the files of a collection.

    Attributes:
        extensions: that are taken, without the dot, in lower case; none for any.
        mimetypes: types by extension, which has its dot.
        max_bytes: that a file may have; 0 for any number.
        folder: pattern of the folder of their names.
        randomize: whether their names are made up.
        keeps: whether files are kept that no record names.
    """

    extensions: frozenset[str] = find_extensions("default")
    mimetypes: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = 0
    folder: str = ""
    randomize: bool = True
    keeps: bool = False

    def changed(self, options: Mapping[str, Any]) -> "FileRule":
        """The rule with the values of some settings in the place of its own."""
        known = {_FIELDS[name]: value for name, value in options.items()}
        if "extensions" in known:
            known["extensions"] = find_extensions(known["extensions"])
        return replace(self, **known)

    def allows(self, filename: str) -> bool:
        """Whether a file may be called so."""
        return not self.extensions or extension_of(filename)[1:] in self.extensions

    def type_of(self, filename: str, sent: str | None) -> str:
        """The type of a file: the operator's, its sender's, or what its name tells."""
        extension = extension_of(filename)
        known = self.mimetypes.get(extension) or _TYPES.get(extension)
        if known is not None:
            return known
        plain = (sent or "").partition(";")[0].strip().lower()
        if _PLAIN_TYPE.fullmatch(plain) and plain != UNKNOWN_TYPE:
            return plain
        return mimetypes.guess_type(f"name{extension}")[0] or UNKNOWN_TYPE

    def name(self, path: ObjectPath, filename: str, token: str, attempt: int = 0) -> str:
        """The name under which a file is stored.

        Args:
            path: of its record.
            filename: as ``clean_filename`` gives it.
            token: that nobody can guess.
            attempt: how many names have been taken already.
        """
        stem, extension = PurePosixPath(filename).stem, extension_of(filename)
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", _ascii(stem)).strip("_")[:_SEGMENT_MAX_LENGTH]
        if self.randomize or not plain:
            plain = token
        elif attempt:
            plain = f"{plain}-{attempt}"
        extension = re.sub(r"[^.a-z0-9]", "", extension)[:20]
        return "/".join([*self._folders(path), plain + extension])

    def _folders(self, path: ObjectPath) -> list[str]:
        bucket, collection, record = (step.id for step in path.chain)
        folder = self.folder.format(bucket_id=bucket, collection_id=collection, id=record)
        return [_shorten(one) for one in folder.split("/") if one]


_FIELDS = {
    "extensions": "extensions",
    "folder": "folder",
    "keep_old_files": "keeps",
    "max_size_bytes": "max_bytes",
    "mimetypes": "mimetypes",
    "randomize": "randomize",
}


class FileRules:
    """The rules of all collections."""

    def __init__(
        self, general: FileRule, particular: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Begin.

        Args:
            general: the rule where nothing else is said.
            particular: values of settings by ``bucket`` or ``bucket.collection``, which
                may be spelled as in the environment.
        """
        self.general = general
        self._particular = particular or {}

    def of(self, path: ObjectPath) -> FileRule:
        """The rule for a record: a collection's setting counts before its bucket's."""
        bucket, collection = path.ancestors
        rule = self.general
        for name in (bucket.id, f"{bucket.id}.{collection.id}"):
            for spelled in (_as_variable(name), name):
                rule = rule.changed(self._particular.get(spelled, {}))
        return rule


def _as_variable(name: str) -> str:
    """As it stands in the environment, which has no dots and no capitals."""
    return name.replace(".", "_").replace("-", "_").lower()


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _shorten(segment: str) -> str:
    if len(segment) <= _SEGMENT_MAX_LENGTH:
        return segment
    return hashlib.sha256(segment.encode()).hexdigest()


def extension_of(filename: str) -> str:
    """The extension in lower case, with its dot; empty without one."""
    return PurePosixPath(filename).suffix.lower()


def clean_filename(sent: str) -> str:
    """What a sender calls a file, without folders and characters that cannot be shown.

    Returns:
        At most 255 characters, its extension kept; empty if nothing is left.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", sent))[-1]
    shown = "".join(one for one in last if unicodedata.category(one)[0] != "C").strip()
    if len(shown) > FILENAME_MAX_LENGTH:
        extension = extension_of(shown)[:20]
        shown = shown[: FILENAME_MAX_LENGTH - len(extension)] + extension
    return "" if shown.strip(". ") == "" else shown
