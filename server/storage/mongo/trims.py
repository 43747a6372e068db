"""The commands that take entries out of the log. Pure.

The change stream tells insertions only: nobody is told of this.
"""

from collections.abc import Collection, Iterator
from typing import Any

from bson.int64 import Int64

from server.storage.base import Trimming
from server.storage.mongo.documents import Document
from server.storage.mongo.schema import REVISIONS

AT_ONCE = 1000
"""Entries that one command is about."""

_MARK: Document = {"$set": {"trimmed": True}}
_HOLLOW: Document = {"$set": {"trimmed": True, "json": b""}, "$unset": {"before": ""}}


def forget_commands(trimming: Trimming) -> Iterator[Document]:
    """Deletions and updates, by the index of a bucket's seqs; done twice they do no more."""
    for entries in _parts(trimming.removed):
        yield _write("delete", "deletes", {"q": _find(trimming, entries), "limit": 0})
    for changed, change in ((trimming.hollowed, _HOLLOW), (trimming.hidden, _MARK)):
        for entries in _parts(changed):
            update = {"q": _find(trimming, entries), "u": change, "multi": True}
            yield _write("update", "updates", update)


def _parts(seqs: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(seqs)
    for start in range(0, len(ordered), AT_ONCE):
        yield ordered[start : start + AT_ONCE]


def _find(trimming: Trimming, seqs: list[int]) -> Document:
    return {"bucket": trimming.bucket, "seq": {"$in": [Int64(seq) for seq in seqs]}}


def _write(verb: str, member: str, statement: dict[str, Any]) -> Document:
    return {verb: REVISIONS, member: [statement]}
