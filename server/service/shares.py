"""Everything that somebody has a permission on: the rows of ``/permissions``."""

from collections.abc import Iterable
from typing import Any

from server.core.judge import Judge
from server.core.objects import StoredObject
from server.core.permissions import Actor, Rules, expand
from server.storage.base import Snapshot
from server.storage.reader import Reader

FIELDS = ("id", "uri", "resource_name", "bucket_id", "collection_id", "group_id", "record_id")
"""What the rows may be filtered and sorted by."""


async def find_rows(snapshot: Snapshot, rules: Rules, actor: Actor) -> list[dict[str, Any]]:
    """One row an object whose own ACL, or a setting, gives the actor something.

    The objects are found by an index on principals, not by looking at all.
    """
    reader = Reader(snapshot, rules)
    principals = await reader.principals(actor)
    # Who the users are is no business of theirs: accounts and API keys are not shared.
    named = [one for one in await snapshot.named(principals) if one.path.kind.is_shared]
    uris = {step.uri for stored in named for step in stored.path.chain}
    living = await reader.ask(uris, lambda judge: _living(judge, named))
    rows = [_row(stored, principals) for stored in living]
    if not actor.principals.isdisjoint(rules.grants.get("bucket:create", frozenset())):
        rows.append(_root_row())
    return rows


def _living(judge: Judge, named: Iterable[StoredObject]) -> list[StoredObject]:
    return [
        stored
        for stored in named
        if all(judge.state.live(step) is not None for step in stored.path.chain)
    ]


def _row(stored: StoredObject, principals: frozenset[str]) -> dict[str, Any]:
    path = stored.path
    own = [name for name, who in stored.acl.items() if not principals.isdisjoint(who)]
    row: dict[str, Any] = {
        "uri": stored.uri,
        "resource_name": path.kind.name,
        "permissions": expand(path.kind.name, own),
        "id": path.id,
    }
    for step in path.chain:
        row[f"{step.kind.name}_id"] = step.id
    return row


def _root_row() -> dict[str, Any]:
    return {"uri": "/", "resource_name": "root", "permissions": ["bucket:create"]}
