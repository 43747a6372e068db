"""Settings of the feature ``quotas``: how much may be stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from server import settings_values as values
from server.settings_values import about

_amount = values.whole_number(0)


@dataclass(frozen=True, slots=True)
class QuotaSettings:
    """How much buckets and collections may hold."""

    bucket_max_bytes: int | None = field(
        default=None,
        metadata=about(
            "Bytes of all that a bucket may hold, itself included.",
            _amount,
            name="quotas.bucket_max_bytes",
        ),
    )
    bucket_max_items: int | None = field(
        default=None,
        metadata=about("Records that a bucket may hold.", _amount, name="quotas.bucket_max_items"),
    )
    bucket_max_bytes_per_item: int | None = field(
        default=None,
        metadata=about(
            "Bytes of each object in a bucket, itself included.",
            _amount,
            name="quotas.bucket_max_bytes_per_item",
        ),
    )
    collection_max_bytes: int | None = field(
        default=None,
        metadata=about(
            "Bytes of all that a collection may hold, itself included.",
            _amount,
            name="quotas.collection_max_bytes",
        ),
    )
    collection_max_items: int | None = field(
        default=None,
        metadata=about(
            "Records that a collection may hold.", _amount, name="quotas.collection_max_items"
        ),
    )
    collection_max_bytes_per_item: int | None = field(
        default=None,
        metadata=about(
            "Bytes of each record in a collection, and of itself.",
            _amount,
            name="quotas.collection_max_bytes_per_item",
        ),
    )
    of_bucket_max_bytes: Mapping[str, int] = field(
        default_factory=dict,
        metadata=about(
            "Bytes that one bucket may hold, such as `quotas.bucket_blog_max_bytes`.",
            _amount,
            name="quotas.bucket_<bucket>_max_bytes",
            pattern=r"quotas[._]bucket_(.+)_max_bytes",
        ),
    )
    of_bucket_max_items: Mapping[str, int] = field(
        default_factory=dict,
        metadata=about(
            "Records that one bucket may hold.",
            _amount,
            name="quotas.bucket_<bucket>_max_items",
            pattern=r"quotas[._]bucket_(.+)_max_items",
        ),
    )
    of_bucket_max_bytes_per_item: Mapping[str, int] = field(
        default_factory=dict,
        metadata=about(
            "Bytes of each object in one bucket.",
            _amount,
            name="quotas.bucket_<bucket>_max_bytes_per_item",
            pattern=r"quotas[._]bucket_(.+)_max_bytes_per_item",
        ),
    )
    of_collection_max_bytes: Mapping[str, int] = field(
        default_factory=dict,
        metadata=about(
            "Bytes that one collection may hold, or each of a bucket, such as"
            " `quotas.collection_blog_posts_max_bytes`, or `quotas.collection_blog_max_bytes`.",
            _amount,
            name="quotas.collection_<bucket>[_<collection>]_max_bytes",
            pattern=r"quotas[._]collection_(.+)_max_bytes",
        ),
    )
    of_collection_max_items: Mapping[str, int] = field(
        default_factory=dict,
        metadata=about(
            "Records that one collection may hold, or each of a bucket.",
            _amount,
            name="quotas.collection_<bucket>[_<collection>]_max_items",
            pattern=r"quotas[._]collection_(.+)_max_items",
        ),
    )
    of_collection_max_bytes_per_item: Mapping[str, int] = field(
        default_factory=dict,
        metadata=about(
            "Bytes of each record in one collection, or in all of a bucket.",
            _amount,
            name="quotas.collection_<bucket>[_<collection>]_max_bytes_per_item",
            pattern=r"quotas[._]collection_(.+)_max_bytes_per_item",
        ),
    )

    def limits(self, kind: str) -> dict[str, Mapping[str, int]]:
        """By measure, what is set for a kind: by name, and under ``""`` for all others.

        Args:
            kind: ``bucket`` or ``collection``.
        """
        found: dict[str, Mapping[str, int]] = {}
        for measure in ("max_bytes", "max_items", "max_bytes_per_item"):
            general = getattr(self, f"{kind}_{measure}")
            everywhere = {} if general is None else {"": general}
            found[measure] = {**everywhere, **getattr(self, f"of_{kind}_{measure}")}
        return found
