"""Buckets, collections, groups and records: objects and lists of every kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from handlers.merges import plan_merge, wants_merge
from handlers.messages import (
    ApiRequest,
    ApiResponse,
    caching_headers,
    list_body,
    not_modified_response,
    object_body,
    object_response,
    stamp_headers,
    written_headers,
    written_response,
)
from handlers.plans import Plan
from server.core.commands import (
    Change,
    Create,
    Ensure,
    ListOutcome,
    Outcome,
    Remove,
    Replace,
    Target,
)
from server.core.contents import (
    NO_ID,
    Content,
    check_date,
    check_new_id,
    check_same_id,
    parse_content,
)
from server.core.errors import MethodNotAllowed, invalid
from server.core.json_text import dump_json
from server.core.objects import Listed, StoredObject
from server.core.patches import PATCH_TYPES, Behavior, parse_behavior, parse_patch, shape_answer
from server.core.paths import KINDS, Kind, ListPath, ObjectPath, invalid_id
from server.core.permissions import GRANTABLE, Rules
from server.core.positions import spell_full_cursor, timestamp_of
from server.core.preconditions import NONE, check_read, not_modified
from server.core.projections import project
from server.core.queries import ListQuery, parse_at, parse_fields, parse_query
from server.service.lists import ListAnswer, Lists, Removal
from server.service.pages import ListRequest
from server.service.past import read_past_object
from server.storage.base import Snapshot
from server.storage.reader import Reader

OBJECT_METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
LIST_METHODS = ("HEAD", "GET", "POST", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """What the operator has set about objects.

    Attributes:
        rules: about permissions.
        new_ids: makes an id, by kind.
        disabled: (``plural`` or ``object``, kind, method) that are switched off.
        cache_seconds: for anonymous readers of records, by ``bucket.collection.record``,
            ``bucket.record`` or ``record``.
        batch_delete_max: objects that a DELETE of a list in a batch deletes.
    """

    rules: Rules
    new_ids: Mapping[str, Callable[[], str]]
    disabled: frozenset[tuple[str, str, str]] = frozenset()
    cache_seconds: Mapping[str, int] | None = None
    batch_delete_max: int = 10000


class ObjectEndpoint:
    """Plans requests on an object."""

    def __init__(self, options: ObjectOptions) -> None:
        self._options = options
        self._methods = {
            "GET": self._get,
            "HEAD": self._get,
            "PUT": self._put,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }

    def plan(self, request: ApiRequest, path: ObjectPath, before: Ensure | None) -> Plan:
        """What the request comes to.

        Args:
            request: of any method.
            path: the object.
            before: what is made first; given for the default bucket.

        Raises:
            SyncError: If it cannot be understood.
        """
        off = ("object", path.kind.name, request.method) in self._options.disabled
        method = self._methods.get(request.method)
        if method is None or off:
            raise MethodNotAllowed(", ".join(OBJECT_METHODS))
        request.check_acceptable()
        if not path.valid:
            raise invalid_id()
        _check_at(request, path.kind)
        target = Target(request.actor, path, request.precondition())
        plan = method(request, target)
        return plan if before is None else replace(plan, before=before)

    def _get(self, request: ApiRequest, target: Target) -> Plan:
        fields, at = parse_fields(request.arguments), parse_at(request.arguments)
        path, rules = target.path, self._options.rules

        async def read(snapshot: Snapshot) -> ApiResponse:
            reader = Reader(snapshot, rules)
            if at is None:
                uris = [step.uri for step in path.chain]
                ask = reader.ask(uris, lambda judge: judge.read_object(target.actor, path))
                reading = await ask
            else:
                reading = await read_past_object(reader, target.actor, path, at)
            stored = reading.object
            check_read(target.precondition, stored.last_modified)
            if not_modified(target.precondition, stored.last_modified):
                return not_modified_response(stored.last_modified)
            response = _shown(stored, fields, writable=reading.writable)
            return self._cached(response, request, path.list, reader)

        return Plan(read=read)

    def _cached(
        self, response: ApiResponse, request: ApiRequest, path: ListPath, reader: Reader
    ) -> ApiResponse:
        """Let what an anonymous reader gets be kept, where the operator or owner says so."""
        seconds = cache_seconds(request, path, reader, self._options.cache_seconds)
        return response if seconds is None else cached(response, seconds)

    def _put(self, request: ApiRequest, target: Target) -> Plan:
        request.content_type()
        content = parse_content(target.path.kind.name, request.json())
        check_same_id(content.id, target.path.id)
        part = Replace(target, _with_secret(content, request))
        return Plan(part=part, answer=_written, size=len(request.body))

    def _patch(self, request: ApiRequest, target: Target) -> Plan:
        content_type = request.content_type(PATCH_TYPES)
        behavior = parse_behavior(request.headers.get("Response-Behavior"))
        patch = parse_patch(content_type, request.json(), GRANTABLE[target.path.kind.name])
        part = Change(target, patch, request.secret)

        def answer(outcome: Outcome) -> ApiResponse:
            return _patched(outcome, behavior)

        if wants_merge(request, target):
            return plan_merge(self._options.rules, part, answer, len(request.body))
        return Plan(part=part, answer=answer, size=len(request.body))

    def _delete(self, request: ApiRequest, target: Target) -> Plan:
        part = Remove(target, parse_deletion_date(request))
        return Plan(part=part, answer=_removed)


def _check_at(request: ApiRequest, kind: Kind) -> None:
    """Check that only what has a past is asked for it, and nothing is written there.

    Raises:
        InvalidParameters: If it is otherwise.
    """
    if not any(name.strip() == "_at" for name, _ in request.arguments):
        return
    if request.method not in ("GET", "HEAD"):
        raise invalid("querystring", "_at", "The past can only be read")
    if not kind.is_shared:
        raise invalid("querystring", "_at", f"The past of an {kind.name} cannot be read")


def _with_secret(content: Content, request: ApiRequest) -> Content:
    return content if request.secret is None else replace(content, secret=request.secret)


def _shown(stored: StoredObject, fields: tuple[str, ...] | None, *, writable: bool) -> ApiResponse:
    if fields is None:
        return object_response(stored, writable=writable)
    body = object_body(dump_json(project(stored.data, fields)), None)
    return ApiResponse(200, body, stamp_headers(stored.last_modified))


def _written(outcome: Outcome) -> ApiResponse:
    status = 201 if outcome.created else 200
    stored = outcome.object
    body = object_body(stored.json, stored.acl if outcome.writable else {})
    return written_response(stored, status, body)


def _patched(outcome: Outcome, behavior: Behavior) -> ApiResponse:
    if behavior is Behavior.FULL:
        return _written(outcome)
    assert outcome.before is not None
    assert outcome.sent is not None
    shown = shape_answer(behavior, outcome.sent, outcome.before.data, outcome.object.data)
    return written_response(outcome.object, 200, object_body(dump_json(shown), None))


def _removed(outcome: Outcome) -> ApiResponse:
    return written_response(outcome.object, 200, object_body(outcome.object.json, None))


def parse_deletion_date(request: ApiRequest) -> int | None:
    """The ``last_modified`` of a DELETE's query string, in ms, with or without quotes.

    Raises:
        InvalidParameters: If it is no date.
    """
    given = [value for name, value in request.arguments if name == "last_modified"]
    if not given:
        return None
    text = given[0].strip('"')
    if len(given) > 1 or not text.isascii() or not text.isdigit() or len(text) > 15:
        raise invalid("querystring", "last_modified", "should be an integer, given once")
    check_date("querystring", "last_modified", int(text))
    return int(text)


class ListEndpoint:
    """Plans requests on a list."""

    def __init__(self, options: ObjectOptions, lists: Lists) -> None:
        self._options = options
        self._lists = lists
        self._methods = {
            "GET": self._get,
            "HEAD": self._get,
            "POST": self._post,
            "DELETE": self._delete,
        }

    def plan(self, request: ApiRequest, path: ListPath, before: Ensure | None) -> Plan:
        """What the request comes to; as ``ObjectEndpoint.plan``."""
        off = ("plural", path.kind.name, request.method) in self._options.disabled
        method = self._methods.get(request.method)
        if method is None or off:
            raise MethodNotAllowed(", ".join(LIST_METHODS))
        request.check_acceptable()
        if not path.valid:
            raise invalid_id()
        _check_at(request, path.kind)
        plan = method(request, path, before)
        return plan if before is None else replace(plan, before=before)

    async def check_readable(self, request: ApiRequest, path: ListPath, snapshot: Snapshot) -> None:
        """Refuse who may not read a list, whatever else is wrong with the request.

        Raises:
            SyncError: As for a request with nothing wrong.
        """
        wanted = ListRequest(request.actor, path, ListQuery(limit=1), NONE, request.now)
        await self._lists.read(snapshot, wanted)

    def _list_request(self, request: ApiRequest, path: ListPath) -> ListRequest:
        query = parse_query(request.arguments)
        return ListRequest(request.actor, path, query, request.precondition(), request.now)

    def _get(self, request: ApiRequest, path: ListPath, _: Ensure | None) -> Plan:
        wanted = self._list_request(request, path)
        wanted = replace(wanted, count=request.method == "HEAD")

        async def read(snapshot: Snapshot) -> ApiResponse:
            answer = await self._lists.read(snapshot, wanted)
            if not answer.modified:
                return not_modified_response(answer.timestamp)
            response = show_list(request, wanted, answer)
            seconds = self._cache_seconds(request, path, answer)
            return response if seconds is None else cached(response, seconds)

        return Plan(read=read)

    def _cache_seconds(self, request: ApiRequest, path: ListPath, answer: ListAnswer) -> int | None:
        return cache_seconds(request, path, answer.reader, self._options.cache_seconds)

    def _post(self, request: ApiRequest, path: ListPath, _: Ensure | None) -> Plan:
        request.content_type()
        kind = path.kind.name
        content = parse_content(kind, request.json())
        new_id = self._options.new_ids[kind] if content.id is NO_ID else None
        object_id = new_id() if new_id else check_new_id(content.id, kind)
        target = Target(request.actor, path.object(object_id), request.precondition())
        part = Create(target, _with_secret(content, request), new_id)
        return Plan(part=part, answer=_written, size=len(request.body))

    def _delete(self, request: ApiRequest, path: ListPath, before: Ensure | None) -> Plan:
        wanted = self._list_request(request, path)
        size = wanted.query.limit or self._options.batch_delete_max
        removal = Removal(self._lists, wanted, size)

        async def alone() -> ApiResponse:
            first = () if before is None else (before,)
            outcome, token = await self._lists.delete(wanted, first)
            return _emptied(request, outcome, token)

        return Plan(
            part=removal.part(),
            answer=lambda outcome: _emptied(request, outcome, removal.token),
            alone=alone,
        )


def show_list(request: ApiRequest, wanted: ListRequest, answer: ListAnswer) -> ApiResponse:
    """The answer to a read of a list; a client that has it already is answered otherwise."""
    headers = stamp_headers(answer.timestamp)
    if answer.position is not None:
        headers["Cursor"] = spell_full_cursor(answer.position)
    _announce(headers, request, answer.token)
    if wanted.query.uses_to:
        headers["Alert"] = _TO_IS_DEPRECATED
    if answer.total is not None:
        headers["Total-Objects"] = headers["Total-Records"] = str(answer.total)
        return ApiResponse(200, b"", headers)
    fields = wanted.query.fields
    if fields is None:
        texts = [stored.json for stored in answer.objects]
    else:
        texts = [_projected(stored, fields) for stored in answer.objects]
    return ApiResponse(200, list_body(texts), headers)


_TO_IS_DEPRECATED = dump_json(
    {
        "code": "soft-eol",
        "message": "_to is now deprecated, you should use _before instead",
        "url": "https://kinto.readthedocs.io/en/latest/api/1.x/filtering.html",
    }
).decode()


def _projected(stored: Listed, fields: tuple[str, ...]) -> bytes:
    if stored.deleted:
        # Without its mark nobody could tell a tombstone from an object.
        return stored.json
    return dump_json(project(stored.data, fields))


def _emptied(request: ApiRequest, outcome: ListOutcome, token: str | None) -> ApiResponse:
    stamps = [stored.last_modified for stored in outcome.tombstones]
    stamp = max(stamps, default=timestamp_of(outcome.position))
    headers = written_headers(stamp, outcome.position)
    _announce(headers, request, token)
    return ApiResponse(200, list_body([one.json for one in outcome.tombstones]), headers)


def _announce(headers: dict[str, str], request: ApiRequest, token: str | None) -> None:
    if token is not None:
        headers["Next-Page"] = request.link(_token=token)


def cache_seconds(
    request: ApiRequest, path: ListPath, reader: Reader | None, settings: Mapping[str, int] | None
) -> int | None:
    """How long an anonymous reader may keep records, in seconds; None for not at all.

    A setting for the collection counts before one for the bucket, and that
    before the collection's own ``cache_expires``.
    """
    if request.actor.user_id or path.kind is not KINDS["record"] or reader is None:
        return None
    bucket, collection = path.ancestors
    names = (f"{bucket.id}.{collection.id}.record", f"{bucket.id}.record", "record")
    # A name that came from the environment has no dots and no capitals.
    spelled = [one for name in names for one in (name, _as_variable(name))]
    known = [settings[name] for name in spelled if settings and name in settings]
    if known:
        return known[0]
    stored = reader.judge.state.get(collection.uri)
    own = stored.data.get("cache_expires") if stored else None
    return int(own) if isinstance(own, int | float) else None


def _as_variable(name: str) -> str:
    return name.replace(".", "_").replace("-", "_").lower()


def cached(response: ApiResponse, seconds: int) -> ApiResponse:
    """The answer with leave to be kept."""
    return replace(response, headers={**response.headers, **caching_headers(seconds)})
