"""What became of what was read."""

from collections import Counter
from dataclasses import dataclass, field

from server.core.commands import Loaded


@dataclass(slots=True)
class Tally:
    """Counts of an import.

    Attributes:
        outcomes: how many objects came to what.
        failed: how many could not be loaded.
        left_out: accounts that nobody asked for.
        hidden: objects whose permissions the source did not show.
        files: attachments that were copied.
    """

    outcomes: Counter[Loaded] = field(default_factory=Counter)
    failed: int = 0
    left_out: int = 0
    hidden: int = 0
    files: int = 0

    @property
    def total(self) -> int:
        """Objects that were looked at."""
        return self.outcomes.total() + self.failed

    def spell(self) -> str:
        """The counts in one line."""
        names = {
            Loaded.CREATED: "new",
            Loaded.UPDATED: "replaced",
            Loaded.DELETED: "deleted",
            Loaded.SAME: "the same already",
            Loaded.NEWER: "newer here and left as they are",
        }
        parts = [f"{self.outcomes[one]:,} {words}" for one, words in names.items()]
        parts.append(f"{self.failed:,} refused")
        if self.files:
            parts.append(f"{self.files:,} files copied")
        if self.left_out:
            parts.append(f"{self.left_out:,} accounts left out (--accounts takes them along)")
        return ", ".join(parts)
