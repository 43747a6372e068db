"""The finds that a snapshot needs, as commands. Pure."""

from collections.abc import Collection

from bson.int64 import Int64

from server.core.paths import ListPath, object_path
from server.core.sorting import DEFAULT_ORDER, SortKey
from server.storage.base import LogPage, Page, RightsQuery
from server.storage.mongo.documents import EVERYBODY, WITHOUT_TEXTS, Document
from server.storage.mongo.preselect import preselect
from server.storage.mongo.schema import BUCKET_SEQ, OBJECT_POS, REVISIONS

_ASCENDING = (SortKey("last_modified"), SortKey("id"))


def is_stored_order(order: tuple[SortKey, ...]) -> bool:
    """Whether the database has an index in this order."""
    return order in (DEFAULT_ORDER, _ASCENDING)


def page_filter(page: Page) -> Document:
    """Selects what may be in a page, its evaluator's conditions aside."""
    positions = {"$gt": Int64(page.floor)}
    if page.upto is not None:
        positions["$lte"] = Int64(page.upto)
    clauses: list[Document] = [_list_filter(page.path), {"pos": positions}]
    if not page.tombstones:
        clauses.append({"deleted": False})
    if page.readers is not None:
        clauses.append({"readers": _one_of(page.readers)})
    if page.conditions:
        clauses.append(preselect(page.conditions))
    if page.after is not None and is_stored_order(page.order):
        clauses.append(_after_filter(page))
    return {"$and": clauses}


def _list_filter(path: ListPath) -> Document:
    if path.ancestors:
        return {"bucket": path.bucket, "list": path.uri}
    return {"list": path.uri}


def _after_filter(page: Page) -> Document:
    assert page.after is not None
    (date,), (object_id,) = page.after
    beyond = "$lt" if page.order[0].descending else "$gt"
    return {
        "$or": [
            {"last_modified": {beyond: date}},
            {"last_modified": date, "id": {"$gt": object_id}},
        ]
    }


def log_find(page: LogPage) -> Document:
    """Finds a page of the log, without a bound of bytes."""
    selector: Document
    if isinstance(page.scope, str):
        order, selector = "seq", {"bucket": page.scope}
    else:
        order, selector = "pos", _list_filter(page.scope)
    selector[order] = {"$gt": Int64(page.after), "$lte": Int64(page.upto)}
    command: Document = {"find": REVISIONS, "filter": selector, "limit": page.limit}
    if page.uri is not None:
        # In the log of one object both orders are the same. The database would not know that
        # this is the shorter way: a list may be long.
        order = "pos"
        selector |= {"bucket": object_path(page.uri).bucket, "uri": page.uri}
        command["hint"] = OBJECT_POS
    elif isinstance(page.scope, str) and (page.plural or page.also):
        # Nor that to look at all lists, and then to sort, is the longer one.
        command["hint"] = BUCKET_SEQ
    selector |= _narrowed(page)
    if page.skip:
        command["skip"] = page.skip
    if not page.texts:
        command["projection"] = WITHOUT_TEXTS
    return command | {"sort": {order: -1 if page.descending else 1}}


def _narrowed(page: LogPage) -> Document:
    """Selects among the entries of a range."""
    clauses: list[Document] = []
    if page.readers is not None:
        who = _one_of(page.readers)
        seen = [{"readers": who}, {"readers_before": who}]
        clauses.append({"$or": [*seen, {"list": _one_of(page.also)}] if page.also else seen})
    if page.plural is not None:
        clauses.append({"list": {"$regex": f"/{page.plural}$"}})
    if page.by is not None:
        clauses.append({"by": page.by})
    if page.action is not None:
        clauses.append({"action": page.action})
    if not page.trimmed:
        clauses.append({"trimmed": {"$exists": False}})
    return {"$and": clauses} if clauses else {}


def last_entry_find(path: ListPath, upto: int) -> Document:
    """Finds the last entry of a list's log at or below a position."""
    return {
        "find": REVISIONS,
        "filter": {**_list_filter(path), "pos": {"$lte": Int64(upto)}},
        "projection": WITHOUT_TEXTS,
        "sort": {"pos": -1},
        "limit": 1,
        "singleBatch": True,
    }


def rights_find(query: RightsQuery) -> Document:
    """Finds entries that may have changed what somebody may read, and those of crowds."""
    here = {"bucket": query.bucket, "seq": {"$gt": Int64(query.seq)}}
    elsewhere = {"bucket": {"$ne": query.bucket}, "date": {"$gt": Int64(query.date)}}
    touched = _one_of({*query.principals, EVERYBODY} if query.principals else ())
    # Each by an index of its own. Sorted by who asked: the database would look for one of all.
    clauses = [
        {"uri": _one_of(query.uris), **here},
        {"touched": touched, **here},
        {"touched": touched, **elsewhere},
    ]
    return {"find": REVISIONS, "filter": {"$or": clauses}, "projection": WITHOUT_TEXTS}


def _one_of(names: Collection[str]) -> Document:
    return {"$in": sorted(names)}
