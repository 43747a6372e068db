"""Revisions of objects, and the past of collections as Kinto's history plugin shows it."""

from handlers.hello import READ_METHODS
from handlers.revisions import REVERT_METHODS, RevisionsEndpoint
from handlers.routes import Route
from handlers.snapshots import SnapshotEndpoint
from server.core.paths import KINDS, Kind
from server.features.base import Context, Feature
from server.features.docs import our_docs

_TAG = "Revisions"


async def make(context: Context) -> Feature:
    """Always; the snapshots where the history is."""
    endpoint = RevisionsEndpoint(context.lists.options)
    routes = [route for kind in KINDS.values() for route in _routes(endpoint, kind)]
    if "history" in context.settings.includes:
        routes.append(_snapshots(SnapshotEndpoint(context.lists)))
    return Feature(
        routes=routes,
        capabilities={
            "revisions": {
                "description": "Objects and lists can be read, compared and reverted to as they"
                " were, and changes merged.",
                "url": our_docs("how-to/revisions.html"),
            }
        },
    )


def _routes(endpoint: RevisionsEndpoint, kind: Kind) -> list[Route]:
    above = f"{_template(kind)}/revisions"
    name = kind.name
    return [
        Route(
            above,
            READ_METHODS,
            endpoint.plan_list,
            {"GET": f"List the revisions of a {name}", "HEAD": f"Count the revisions of a {name}"},
            _TAG,
        ),
        Route(
            f"{above}/{{cursor}}",
            READ_METHODS,
            endpoint.plan_one,
            {"GET": f"Show a revision of a {name}, or its difference from another"},
            _TAG,
        ),
        Route(
            f"{above}/{{cursor}}/revert",
            REVERT_METHODS,
            endpoint.plan_revert,
            {"POST": f"Give a {name} back what it held at a revision"},
            _TAG,
        ),
    ]


def _template(kind: Kind) -> str:
    above = "" if kind.parent is None else _template(KINDS[kind.parent])
    return f"{above}/{kind.plural}/{{{kind.name}_id}}"


def _snapshots(endpoint: SnapshotEndpoint) -> Route:
    about = {
        "GET": "List the records of a collection as they were at a time",
        "HEAD": "Count the records of a collection as they were at a time",
    }
    template = "/buckets/{bucket_id}/snapshot/collections/{collection_at}"
    return Route(template, READ_METHODS, endpoint.plan, about, _TAG)
