"""What is counted while a server runs: numbers, and how they are spread."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

GROUP_BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
SECONDS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Distribution:
    """How often a number was how large.

    Attributes:
        bounds: ascending; a number is counted under the first that is not below it.
        counts: under each bound, and at last of what is beyond them all.
        sum: of all numbers.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def add(self, number: float) -> None:
        """Count a number."""
        self.counts[bisect_left(self.bounds, number)] += 1
        self.sum += number

    @property
    def total(self) -> int:
        """How many numbers there were."""
        return sum(self.counts)


@dataclass(slots=True)
class StorageFigures:
    """What a storage has done in this process.

    Attributes:
        group_sizes: commands that were committed together.
        group_seconds: from the first attempt to the commit.
        retries: attempts to commit that failed, and were followed by another or given up.
        snapshots: instants that were read.
    """

    group_sizes: Distribution = field(default_factory=lambda: Distribution(GROUP_BOUNDS))
    group_seconds: Distribution = field(default_factory=lambda: Distribution(SECONDS_BOUNDS))
    retries: int = 0
    snapshots: int = 0

    def committed(self, size: int, seconds: float) -> None:
        """Count a group of commands that was committed."""
        self.group_sizes.add(size)
        self.group_seconds.add(seconds)
