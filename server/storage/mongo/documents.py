"""Objects and revisions as BSON documents, and back. Pure."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from bson import Timestamp
from bson.int64 import Int64

from server.core.objects import Clock, Listed, Permissions, StoredObject
from server.core.paths import ROOT, bucket_of
from server.core.revisions import Revision
from server.core.state import State
from server.storage.mongo.shadow import make_shadow

Document = dict[str, Any]

CROWD = 1000
"""More principals than that are not in the index: the keys of a hundred thousand fill the cache of
a small database, in which the transaction then never succeeds."""

EVERYBODY = "*"
"""Stands in the index for the principals of an entry that touched a crowd."""

_NOTHING: Mapping[str, Any] = {}

DEAD_FIELDS = ("q", "acl", "readers", "principals", "members")
"""What the purger takes from a parent that is gone; its clocks stay."""


def encode_object(stored: StoredObject) -> Document:
    """The document of an object, tombstone or root."""
    document: Document = {
        "_id": stored.uri,
        "last_modified": Int64(stored.last_modified),
        "pos": Int64(stored.position),
        "deleted": stored.deleted,
        "json": stored.json,
    }
    if stored.uri == ROOT:
        document["epoch"] = stored.epoch
    else:
        list_uri, _, object_id = stored.uri.rpartition("/")
        document |= {"bucket": bucket_of(stored.uri), "list": list_uri, "id": object_id}
        document |= _encode_rights(stored)
    if not stored.deleted and stored.uri != ROOT:
        shadow = make_shadow(stored.data, len(stored.json))
        if shadow is not None:
            document["q"] = shadow
    if stored.secret:
        document["secret"] = stored.secret
    if stored.clocks:
        document["clocks"] = encode_clocks(stored.clocks)
        # Somebody has to look whether its lists hold what is not there any more. Not those of the
        # root: every bucket that is gone has its own tombstone, and keeps it.
        leftovers = stored.deleted or any(clock.floor for clock in stored.clocks.values())
        if leftovers and stored.uri != ROOT:
            document["purge"] = True
    return document


def _encode_rights(stored: StoredObject) -> Document:
    rights: Document = {"readers": list(stored.readers)}
    if stored.acl:
        rights["acl"] = {name: list(who) for name, who in stored.acl.items()}
        rights["principals"] = list({one: None for who in stored.acl.values() for one in who})
    if stored.members is not None:
        rights["members"] = list(stored.members)
    return rights


def encode_clocks(clocks: Mapping[str, Clock]) -> Document:
    """The clocks of a parent."""
    return {plural: _encode_clock(clock) for plural, clock in clocks.items()}


def _encode_clock(clock: Clock) -> Document:
    return {
        "pos": Int64(clock.position),
        "floor": Int64(clock.floor),
        "live": Int64(clock.live),
        "size": Int64(clock.size),
        "kept": Int64(clock.kept),
    }


def decode_object(document: Document) -> StoredObject:
    """The object of a document; fields that were not asked for are empty."""
    acl: Permissions = document.get("acl", _NOTHING)
    if acl:
        acl = {name: tuple(who) for name, who in acl.items()}
    clocks = document.get("clocks", _NOTHING)
    members = document.get("members")
    return StoredObject(
        document["_id"],
        document["last_modified"],
        document["pos"],
        document.get("json", b""),
        document["deleted"],
        acl,
        tuple(document.get("readers", ())),
        None if members is None else tuple(members),
        {plural: _decode_clock(clock) for plural, clock in clocks.items()} if clocks else clocks,
        document.get("epoch", ""),
        document.get("secret", ""),
    )


LISTED = {"last_modified": 1, "deleted": 1, "json": 1}
"""The projection that ``decode_listed`` needs."""


def decode_listed(document: Document) -> Listed:
    """What a list shows of a document."""
    return Listed(document["_id"], document["last_modified"], document["deleted"], document["json"])


def _decode_clock(clock: Document) -> Clock:
    size, kept = clock.get("size", 0), clock.get("kept", 0)
    return Clock(clock["pos"], clock["floor"], clock["live"], size, kept)


def encode_updates(
    state: State, stored: Mapping[str, StoredObject] = _NOTHING, locked: Set[str] = frozenset()
) -> list[Document]:
    """The statements of one ``update`` that store a state's effects.

    Written objects are replaced whole; of those of which only clocks moved,
    the clocks are set; of a bucket that was only read, a counter moves, so that
    whoever changes it meanwhile conflicts.

    Args:
        state: what was decided.
        stored: what this transaction has stored of it before, by URI.
        locked: ids of the buckets that it has locked before.
    """
    finished = state.finished()
    fresh = {uri: one for uri, one in finished.items() if stored.get(uri) != one}
    updates = [
        {"q": {"_id": uri}, "u": encode_object(one), "upsert": True}
        for uri, one in fresh.items()
        if uri in state.written
    ]
    for uri, plurals in _moved(state).items():
        if uri in fresh and uri not in state.written:
            moved = {
                f"clocks.{plural}": _encode_clock(state.clocks[uri, plural]) for plural in plurals
            }
            updates.append({"q": {"_id": uri}, "u": {"$set": moved}})
    for bucket in sorted(state.locked - locked):
        uri = ROOT if bucket == ROOT else f"/buckets/{bucket}"
        if uri not in finished:
            updates.append({"q": {"_id": uri}, "u": {"$inc": {"lock": 1}}})
    return updates


def _moved(state: State) -> dict[str, list[str]]:
    moved: dict[str, list[str]] = {}
    for uri, plural in state.clocks:
        moved.setdefault(uri, []).append(plural)
    return moved


def decode_time(time: Timestamp) -> int:
    """A cluster time as one number, which sorts as it does."""
    return (time.time << 32) + time.inc


def encode_revisions(revisions: Sequence[Revision], batch: str, start: int = 0) -> list[Document]:
    """The documents of a transaction's revisions.

    Args:
        revisions: all of the transaction, in order.
        batch: fixed before the first attempt, so that a second application
            of the same effects is a duplicate key.
        start: how many of them are stored already.
    """
    return [
        _encode_revision(revisions[index], batch, index) for index in range(start, len(revisions))
    ]


def _encode_revision(revision: Revision, batch: str, index: int) -> Document:
    document: Document = {
        "_id": f"{batch}-{index}",
        "tx": batch,
        "bucket": revision.bucket,
        "seq": Int64(revision.seq),
        "list": revision.list,
        "pos": Int64(revision.position),
        "uri": revision.uri,
        "action": revision.action,
        "by": revision.by,
        "date": Int64(revision.date),
        "last_modified": Int64(revision.last_modified),
        "json": revision.json,
        "acl": {name: list(who) for name, who in revision.acl.items()},
        "readers": list(revision.readers),
    }
    if revision.before is not None:
        document["before"] = revision.before
        document["acl_before"] = {name: list(who) for name, who in revision.acl_before.items()}
        document["readers_before"] = list(revision.readers_before)
    if revision.took:
        document["took"] = Int64(revision.took)
    if revision.trimmed:
        document["trimmed"] = True
    if revision.touched:
        document |= _encode_touched(revision.touched)
    return document


def _encode_touched(touched: Sequence[str]) -> Document:
    if len(touched) <= CROWD:
        return {"touched": list(touched)}
    return {"touched": [EVERYBODY], "crowd": list(touched)}


WITHOUT_TEXTS = {"json": 0, "before": 0}
"""The projection of a revision of which only who, where and when are wanted."""


def decode_revision(document: Document) -> Revision:
    """The revision of a document; texts that were not asked for are empty."""
    acl_before = document.get("acl_before")
    return Revision(
        uri=document["uri"],
        list=document["list"],
        bucket=document["bucket"],
        seq=document["seq"],
        position=document["pos"],
        action=document["action"],
        by=document["by"],
        date=document["date"],
        last_modified=document["last_modified"],
        # Stored together: where the one is, the other is or was left out.
        before=None if acl_before is None else document.get("before", b""),
        json=document.get("json", b""),
        acl={name: tuple(who) for name, who in document["acl"].items()},
        acl_before={name: tuple(who) for name, who in (acl_before or _NOTHING).items()},
        readers=tuple(document["readers"]),
        readers_before=tuple(document.get("readers_before", ())),
        touched=tuple(document.get("crowd") or document.get("touched", ())),
        took=document.get("took", 0),
        trimmed=document.get("trimmed", False),
    )
