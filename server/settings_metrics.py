"""Settings of the metrics; the names are those of Kinto's plugin."""

from dataclasses import dataclass, field
from itertools import pairwise

from server import settings_values as values
from server.core.figures import SECONDS_BOUNDS
from server.settings_values import about


def parse_bounds(text: str) -> tuple[float, ...]:
    """Ascending bounds with spaces between them; infinity may be named and goes without saying."""
    try:
        bounds = tuple(float(word) for word in values.parse_words(text))
    except ValueError:
        raise ValueError("numbers with spaces between them") from None
    finite = tuple(one for one in bounds if one != float("inf"))
    if not finite or any(not one < two for one, two in pairwise((*finite, float("inf")))):
        raise ValueError("numbers with spaces between them, each larger than the one before")
    return finite


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """What Prometheus is told."""

    prefix: str | None = field(
        default=None,
        metadata=about(
            "First word of the names of metrics; else `project_name`.",
            values.parse_text,
            name="prometheus_prefix",
        ),
    )
    disabled: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Metrics that are left out, such as `request_size`.",
            values.parse_words,
            name="prometheus_disabled_metrics",
        ),
    )
    has_created: bool = field(
        default=True,
        metadata=about(
            "Tell since when each metric is counted.",
            values.parse_flag,
            name="prometheus_created_metrics_enabled",
        ),
    )
    bounds: tuple[float, ...] = field(
        default=SECONDS_BOUNDS,
        metadata=about(
            "Bounds, in seconds, by which the durations of requests are counted.",
            parse_bounds,
            name="prometheus_histogram_buckets",
        ),
    )
    readers: frozenset[str] = field(
        default=frozenset({"system.Everyone"}),
        metadata=about(
            "Who may `GET /__metrics__`.", values.parse_principals, name="prometheus_principals"
        ),
    )
