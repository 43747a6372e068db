"""The history of buckets, and how long the log is kept."""

from typing import Any

from handlers.history import METHODS, HistoryEndpoint
from handlers.routes import Route
from server.core.paths import object_path
from server.features.base import Context, Feature
from server.features.docs import kinto_docs
from server.service.history import Histories
from server.service.history_searches import Excluded
from server.service.retention import Limits, Retention
from server.settings_history import HistorySettings

_ABOUT = {
    "GET": "List what was done in the bucket, newest first",
    "HEAD": "Count what was done in the bucket",
    "DELETE": "Clear the history, or the entries that match",
}


async def make(context: Context) -> Feature | None:
    """The endpoint where it is named among the features; limits count wherever they are set."""
    settings = context.settings.history
    limits = make_limits(settings)
    tasks = [Retention(context.storage, limits).run] if limits.is_set else []
    if "history" not in context.settings.includes:
        return Feature(tasks=tasks) if tasks else None
    excluded = Excluded(settings.exclude_resources, frozenset(settings.exclude_user_ids))
    histories = Histories(context.storage, context.lists.options, excluded)
    endpoint = HistoryEndpoint(context.storage, histories)
    route = Route("/buckets/{bucket_id}/history", METHODS, endpoint.plan, _ABOUT, "History")
    return Feature(routes=[route], capabilities={"history": _describe(settings)}, tasks=tasks)


def make_limits(settings: HistorySettings) -> Limits:
    """What is kept of the log."""
    return Limits(
        settings.max_age_seconds,
        settings.max_count,
        settings.auto_trim_max_count,
        settings.auto_trim_user_ids,
        settings.auto_trim_threshold,
    )


def _describe(settings: HistorySettings) -> dict[str, Any]:
    told: dict[str, Any] = {
        "description": "What was done in a bucket can be read.",
        "url": kinto_docs("history.html"),
    }
    if settings.auto_trim_max_count > 0:
        told["auto_trim_max_count"] = settings.auto_trim_max_count
    if settings.auto_trim_user_ids:
        told["auto_trim_user_ids"] = list(settings.auto_trim_user_ids)
    if settings.exclude_resources:
        told["excluded_resources"] = [_spell_resource(uri) for uri in settings.exclude_resources]
    return told


def _spell_resource(uri: str) -> dict[str, str]:
    """A resource as the reference tells it: the ids in its URI by kind."""
    return {step.kind.name: step.id for step in object_path(uri).chain}
