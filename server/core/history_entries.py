"""Entries of a bucket's history: revisions as its readers see them, and questions about them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from server.core.errors import EndpointMissing
from server.core.filters import Condition, Operator
from server.core.json_text import BadJSON, dump_json, load_json, parse_json
from server.core.objects import Permissions
from server.core.paths import KINDS, ObjectPath, object_path, parse_path
from server.core.positions import last_position, make_position, timestamp_of
from server.core.queries import ListQuery, parse_query
from server.core.revisions import Revision
from server.core.sorting import DEFAULT_ORDER, SortKey
from server.core.values import MISSING, find_value

FIELDS: Final = (
    "id",
    "last_modified",
    "date",
    "action",
    "uri",
    "user_id",
    "resource_name",
    "bucket_id",
    "collection_id",
    "group_id",
    "record_id",
    "target",
    "removed",
)
"""What an entry may be filtered and sorted by; ``target`` leads into the object."""

_TEXTS: Final = FIELDS[2:11]
_TEXT_FILTER: Final = re.compile(
    rf"\s*((?:not|lt|gt|min|max|in|exclude|like)_)?(?:id|{'|'.join(_TEXTS)})\s*"
)
_LISTS: Final = ("in_", "exclude_")


def make_entry(revision: Revision) -> dict[str, Any]:
    """A revision as an entry, without the object that it is about."""
    path, stamp = object_path(revision.uri), timestamp_of(revision.seq)
    # One of another kind than a bucket does not name its bucket: it is in the URI.
    steps = path.chain[1:] or path.chain
    entry: dict[str, Any] = {
        "id": str(stamp),
        "last_modified": stamp,
        "date": spell_moment(revision.date),
        "action": revision.action,
        "uri": revision.uri,
        "user_id": revision.by or None,
        "resource_name": path.kind.name,
        **{f"{step.kind.name}_id": step.id for step in steps},
    }
    if revision.took:
        entry["removed"] = {path.kind.children[0]: revision.took}
    return entry


def make_target(revision: Revision, acl: Permissions) -> dict[str, Any]:
    """The object of an entry as it was after it.

    Args:
        revision: with its texts.
        acl: what of the object's permissions is shown.
    """
    permissions = {name: list(who) for name, who in acl.items()}
    return {"data": load_json(revision.json), "permissions": permissions}


def spell_moment(timestamp: int) -> str:
    """A time in ms as ISO 8601 has it, in UTC."""
    seconds, milliseconds = divmod(timestamp, 1000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000)
    return moment.isoformat(timespec="milliseconds")


def parse_history_query(arguments: Sequence[tuple[str, str]]) -> ListQuery:
    """Read the query string of a history.

    Ids and names are texts, also those that look like numbers.

    Raises:
        InvalidParameters: If it cannot be understood, or asks for what no entry has.
    """
    given = [(name, _quoted(name, value)) for name, value in arguments]
    return parse_query(given, known_fields=FIELDS)


def _quoted(name: str, value: str) -> str:
    match = _TEXT_FILTER.fullmatch(name)
    if match is None:
        return value
    if match[1] not in _LISTS:
        return _quote(value)
    if value[:1] in ('"', "["):
        return value
    return ",".join(_quote(one) for one in value.split(","))


def _quote(value: str) -> str:
    try:
        parsed = parse_json(value)
    except BadJSON:
        return dump_json(value).decode()
    # An anonymous user has no id.
    return value if parsed is None or isinstance(parsed, str) else dump_json(value).decode()


@dataclass(frozen=True, slots=True)
class Span:
    """Where in a bucket's log the entries lie that a question is about.

    Attributes:
        after: seq after which they come.
        upto: seq up to which they do.
        uri: of the only object they are about, if there is one.
        plural: how the lists end that they lie in, if that is known.
        by: who made them, if that is known; empty for an anonymous user.
    """

    after: int
    upto: int
    uri: str | None = None
    plural: str | None = None
    by: str | None = None


def find_span(query: ListQuery, bucket: ObjectPath, span: Span) -> Span:
    """The narrowest span that certainly holds all that matches a query.

    Args:
        query: of the history.
        bucket: whose history it is.
        span: of the whole history.
    """
    if query.cursor is not None:
        span = replace(span, after=max(span.after, query.cursor))
    for one in query.conditions:
        if one.field == "last_modified" and type(one.value) is int:
            span = _cut(span, one.operator, min(one.value, 1 << 42))
    known = {
        one.field: one.value
        for one in query.conditions
        if one.operator is Operator.EQ and isinstance(one.value, str)
    }
    return replace(
        span, uri=_find_uri(known, bucket), plural=_find_plural(known), by=known.get("user_id")
    )


def _cut(span: Span, operator: Operator, value: int) -> Span:
    first, last = make_position(value), last_position(value)
    if operator is Operator.GT:
        return replace(span, after=max(span.after, last))
    if operator is Operator.MIN:
        return replace(span, after=max(span.after, first - 1))
    if operator is Operator.LT:
        return replace(span, upto=min(span.upto, first - 1))
    if operator is Operator.MAX:
        return replace(span, upto=min(span.upto, last))
    if operator is Operator.EQ:
        return replace(span, after=max(span.after, first - 1), upto=min(span.upto, last))
    return span


def _find_uri(known: Mapping[str, str], bucket: ObjectPath) -> str | None:
    if "uri" in known:
        uri = known["uri"]
    elif "record_id" in known and "collection_id" in known:
        uri = f"{bucket.uri}/collections/{known['collection_id']}/records/{known['record_id']}"
    else:
        return None
    try:
        path = parse_path(uri)
    except EndpointMissing:
        return None
    # An object of another bucket matches nothing here; the evaluator will find out.
    is_here = isinstance(path, ObjectPath) and path.valid and path.bucket == bucket.id
    return uri if is_here else None


def _find_plural(known: Mapping[str, str]) -> str | None:
    kind = KINDS.get(known.get("resource_name", ""))
    if kind is None:
        return None
    collection = known.get("collection_id")
    if kind.name == "record" and collection is not None and re.fullmatch(r"[\w-]+", collection):
        return f"collections/{collection}/records"
    return kind.plural


def is_in_order(query: ListQuery) -> bool:
    """Whether the log itself stands in the order that is wanted, or in its reverse."""
    return query.order in (DEFAULT_ORDER, OLDEST_FIRST)


OLDEST_FIRST: Final = (SortKey("last_modified"), SortKey("id"))


def split_conditions(
    conditions: Sequence[Condition],
) -> tuple[tuple[Condition, ...], tuple[Condition, ...]]:
    """Those that can be asked of an entry without its object, and the others."""
    of_target = tuple(one for one in conditions if _root(one.field) == "target")
    return tuple(one for one in conditions if _root(one.field) != "target"), of_target


def matches_head(conditions: Iterable[Condition], revision: Revision) -> bool:
    """Whether an entry satisfies conditions that have nothing to do with its object.

    Sparing: of most entries nobody wants more than one member.
    """
    return all(one.test(_find_head(revision, one.field)) for one in conditions)


def _find_head(revision: Revision, field: str) -> Any:
    find = _HEADS.get(field)
    return find_value(make_entry(revision), field) if find is None else find(revision)


def _find_record(revision: Revision) -> Any:
    listed, _, object_id = revision.uri.rpartition("/")
    return object_id if listed.endswith("/records") else MISSING


_NAMES: Final = {kind.plural: kind.name for kind in KINDS.values()}
_HEADS: Final[Mapping[str, Callable[[Revision], Any]]] = {
    "last_modified": lambda revision: timestamp_of(revision.seq),
    "action": lambda revision: revision.action,
    "uri": lambda revision: revision.uri,
    "user_id": lambda revision: revision.by or None,
    "resource_name": lambda revision: _NAMES[revision.list.rpartition("/")[2]],
    "record_id": _find_record,
}


def needs_target(query: ListQuery) -> bool:
    """Whether what is shown, or sorted by, has to do with the object."""
    shown = query.fields is None or any(_root(one) == "target" for one in query.fields)
    return shown or any(_root(key.field) == "target" for key in query.sort)


def _root(field: str) -> str:
    return field.partition(".")[0]
