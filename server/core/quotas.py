"""How much may be stored: in a bucket, in a collection, and in one object.

What there is, is counted by the clocks of the lists (``Clock.live``, ``Clock.size``), so
what is asked here is known to the transaction that decides.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from server.core.errors import QuotaExceeded
from server.core.objects import StoredObject
from server.core.paths import FEED, ObjectPath
from server.core.state import State

MEASURES = ("max_bytes", "max_items", "max_bytes_per_item")
"""Bytes of all texts, how many records, bytes of one object's text."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """What the operator has set.

    Attributes:
        buckets: by measure, the most that a bucket may have, by what names the bucket:
            its id, or ``""`` for every other.
        collections: by measure, the same of a collection: ``bucket_collection``,
            ``bucket`` for every other of a bucket, or ``""``.
    """

    buckets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    collections: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def check(
        self, state: State, path: ObjectPath, before: StoredObject | None, after: StoredObject
    ) -> None:
        """Check a write whose effects the state has already.

        A write that makes less of what there is too much of may proceed.

        Args:
            state: with its effects.
            path: of the object that was written, in a bucket or one itself.
            before: the object as it was, if it existed.
            after: as it is.

        Raises:
            QuotaExceeded: If there is more now than there may be.
        """
        grown = len(after.json) - (len(before.json) if before else 0)
        for quota, maximum, wanted, growth in self._measure(state, path, before, after, grown):
            if growth > 0 and wanted > maximum:
                raise QuotaExceeded(quota, maximum, wanted)

    def _measure(
        self,
        state: State,
        path: ObjectPath,
        before: StoredObject | None,
        after: StoredObject,
        grown: int,
    ) -> Iterator[tuple[str, int, int, int]]:
        """Each quota that counts here: its name, what it says, what there is, by how much more."""
        added = int(before is None and path.kind.name == "record")
        for holder in path.chain[:2]:
            kind = holder.kind.name
            if kind not in ("bucket", "collection"):
                continue
            items, size = _contents(state, holder)
            growths = {"max_bytes": grown, "max_items": added, "max_bytes_per_item": grown}
            wanted = {
                "max_bytes": size,
                "max_items": items,
                "max_bytes_per_item": len(after.json),
            }
            for measure in MEASURES:
                maximum = self._maximum(holder, measure)
                if maximum is not None:
                    yield f"quotas.{kind}_{measure}", maximum, wanted[measure], growths[measure]

    def _maximum(self, holder: ObjectPath, measure: str) -> int | None:
        """What is set for a bucket or collection; the most particular counts."""
        if holder.kind.name == "bucket":
            given, names = self.buckets.get(measure, {}), [holder.id]
        else:
            given = self.collections.get(measure, {})
            names = [f"{holder.bucket}_{holder.id}", holder.bucket]
        for name in names:
            # A name that came from the environment has no hyphens and no capitals.
            for spelled in (name, name.replace("-", "_").lower()):
                if spelled in given:
                    return given[spelled]
        return given.get("")


def _contents(state: State, holder: ObjectPath) -> tuple[int, int]:
    """How many records a bucket or collection has, and bytes of all in it, its own included."""
    stored = state.get(holder.uri)
    assert stored is not None, holder.uri
    clock = state.clock_of(holder.uri, FEED if holder.kind.name == "bucket" else "records")
    return clock.live, clock.size + len(stored.json)
