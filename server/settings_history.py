"""The settings of the history, and of how long it is kept."""

from dataclasses import dataclass, field

from server import settings_values as values
from server.core.errors import EndpointMissing
from server.core.paths import ObjectPath, parse_path
from server.settings_values import about


def parse_uris(text: str) -> tuple[str, ...]:
    """URIs of objects, with white space between them."""
    uris = values.parse_words(text)
    try:
        paths = [parse_path(uri) for uri in uris]
    except EndpointMissing:
        paths = []
    if len(paths) < len(uris) or not all(isinstance(path, ObjectPath) for path in paths):
        raise ValueError("URIs such as /buckets/blog or /buckets/blog/collections/articles")
    return uris


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """What the history shows, and what is kept of it."""

    exclude_resources: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "URIs of buckets, collections and objects whose changes the history does not show.",
            parse_uris,
            name="history.exclude_resources",
        ),
    )
    exclude_user_ids: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Ids of users whose changes the history does not show.",
            values.parse_words,
            name="history.exclude_user_ids",
        ),
    )
    max_age_seconds: int | None = field(
        default=None,
        metadata=about(
            "Seconds for which the log keeps the changes of records; else for ever.",
            values.whole_number(1),
            name="history.max_age_seconds",
        ),
    )
    max_count: int | None = field(
        default=None,
        metadata=about(
            "Changes of records that the log keeps of each collection; else all.",
            values.whole_number(0),
            name="history.max_count",
        ),
    )
    auto_trim_max_count: int = field(
        default=-1,
        metadata=about(
            "Entries of each kind of object that a bucket's history keeps; -1 for all.",
            values.whole_number(-1),
            name="history.auto_trim_max_count",
        ),
    )
    auto_trim_user_ids: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Ids of the users whose entries alone are counted, and trimmed, by that.",
            values.parse_words,
            name="history.auto_trim_user_ids",
        ),
    )
    auto_trim_threshold: int = field(
        default=100,
        metadata=about(
            "Entries beyond that number that are let grow before they are trimmed.",
            values.whole_number(0),
            name="history.auto_trim_threshold",
        ),
    )
