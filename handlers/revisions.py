"""Revisions of an object over HTTP: all, one, the difference of two, and back to one."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from handlers.messages import (
    ApiRequest,
    ApiResponse,
    list_body,
    not_modified_response,
    object_body,
    stamp_headers,
    written_response,
)
from handlers.plans import Plan
from handlers.routes import Place
from handlers.streams import pick
from server.core.commands import Outcome, Target
from server.core.diffs import diff_values
from server.core.errors import InvalidParameters, invalid
from server.core.json_text import dump_json, load_json
from server.core.pagination import PageToken, make_token, parse_token
from server.core.paths import ObjectPath, invalid_id
from server.core.positions import Position, parse_cursor, spell_cursor
from server.core.preconditions import Precondition, check_read, not_modified
from server.core.queries import parse_limit
from server.core.revisions import Revision
from server.service.pages import ListOptions
from server.service.revisions import Reversion, Revisions, RevisionsQuery, open_revisions
from server.storage.base import Snapshot
from server.storage.reader import Reader

REVERT_METHODS = ("POST", "OPTIONS")

DEFAULT_LIMIT = 100

SMALL_BYTES = 2048
"""Of two texts, beyond which their difference is looked for in a thread."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RevisionsEndpoint:
    """Plans requests on the revisions of an object."""

    def __init__(self, options: ListOptions) -> None:
        self._options = options

    def plan_list(self, request: ApiRequest, place: Place) -> Plan:
        """All of them, the newest first; with HEAD, how many.

        Raises:
            SyncError: If the request cannot be understood.
        """
        path, query = _check(request, place), self._parse(request, place)
        precondition = request.precondition()

        async def read(snapshot: Snapshot) -> ApiResponse:
            reader = Reader(snapshot, self._options.rules)
            revisions = await open_revisions(reader, request.actor, path)
            stamp = await revisions.check_known()
            known = _check_known(precondition, stamp)
            if known is not None:
                return known
            if request.method == "HEAD":
                return _counted(stamp, await revisions.count(query))
            return await self._listed(request, path, revisions, query, stamp)

        return Plan(read=read)

    def _parse(self, request: ApiRequest, place: Place) -> RevisionsQuery:
        given = pick(request.arguments, ("_limit", "_token", "_since", "_before"))
        asked = parse_limit(given.get("_limit"))
        since, before = (
            parse_cursor(given[name].strip(), name) if name in given else None
            for name in ("_since", "_before")
        )
        limit = self._options.page_length(DEFAULT_LIMIT if asked is None else asked)
        text = given.get("_token")
        walk = self._open_token(request, place.object, text) if text else None
        return RevisionsQuery(limit, since, before, walk)

    def _open_token(self, request: ApiRequest, path: ObjectPath, text: str) -> int:
        options = self._options
        token = parse_token(
            options.secret,
            _scope(path),
            text,
            now=request.now,
            validity_seconds=options.token_seconds,
        )
        return token.position

    async def _listed(
        self,
        request: ApiRequest,
        path: ObjectPath,
        revisions: Revisions,
        query: RevisionsQuery,
        stamp: int,
    ) -> ApiResponse:
        page = await revisions.find(query)
        headers = stamp_headers(stamp)
        if page.more:
            token = PageToken([], page.entries[-1].position, "", request.now)
            text = make_token(self._options.secret, _scope(path), token)
            headers["Next-Page"] = request.link(_token=text)
        shows = revisions.standing.writable
        texts = [_spell(entry, writable=shows) for entry in page.entries]
        return ApiResponse(200, list_body(texts), headers)

    def plan_one(self, request: ApiRequest, place: Place) -> Plan:
        """One of them; with ``_diff``, what makes it of another.

        Raises:
            SyncError: If the request cannot be understood.
        """
        path, cursor = _check(request, place), _parse_cursor(place)
        given = pick(request.arguments, ("_diff",)).get("_diff")
        other = None if given is None else parse_cursor(given.strip(), "_diff")
        precondition = request.precondition()

        async def read(snapshot: Snapshot) -> ApiResponse:
            reader = Reader(snapshot, self._options.rules)
            revisions = await open_revisions(reader, request.actor, path)
            entry = await revisions.get(cursor)
            known = _check_known(precondition, entry.last_modified)
            if known is not None:
                return known
            if other is None:
                text = _spell(entry, writable=revisions.standing.writable)
            else:
                text = await _compare(await revisions.get(other), entry)
            return ApiResponse(200, object_body(text, None), stamp_headers(entry.last_modified))

        return Plan(read=read)

    def plan_revert(self, request: ApiRequest, place: Place) -> Plan:
        """The object as it was at one of them.

        Raises:
            SyncError: If the request cannot be understood.
        """
        path, cursor = _check(request, place), _parse_cursor(place)
        target = Target(request.actor, path, request.precondition())
        reversion = Reversion(self._options.rules, target, cursor)
        return Plan(part=reversion.part(), answer=_reverted)


def _check(request: ApiRequest, place: Place) -> ObjectPath:
    request.check_acceptable()
    if not place.object.valid:
        raise invalid_id()
    return place.object


def _parse_cursor(place: Place) -> Position:
    try:
        return parse_cursor(place.names["cursor"])
    except InvalidParameters:
        raise invalid("path", "cursor", "should be a number, or t-n") from None


def _check_known(precondition: Precondition, stamp: int) -> ApiResponse | None:
    """The 304 for who has what is there; raises where that is not what they believe."""
    check_read(precondition, stamp)
    return not_modified_response(stamp) if not_modified(precondition, stamp) else None


def _scope(path: ObjectPath) -> str:
    return f"{path.uri} revisions"


def _counted(stamp: int, total: int) -> ApiResponse:
    headers = stamp_headers(stamp)
    headers["Total-Objects"] = headers["Total-Records"] = str(total)
    return ApiResponse(200, b"", headers)


def _spell(entry: Revision, *, writable: bool) -> bytes:
    """A revision as it is sent: its facts, then the object's own text, as it was sent then."""
    facts = {
        "cursor": spell_cursor(entry.position),
        "last_modified": entry.last_modified,
        "date": spell_iso_date(entry.date),
        "action": entry.action,
        "user_id": entry.by,
    }
    text = b'%b,"data":%b' % (dump_json(facts)[:-1], entry.json)
    return text + (b',"permissions":%b}' % dump_json(entry.acl) if writable else b"}")


def spell_iso_date(timestamp: int) -> str:
    """A time in ms as ISO 8601 has it, in UTC: ``2026-11-23T18:54:04.120+00:00``."""
    return (_EPOCH + timedelta(milliseconds=timestamp)).isoformat(timespec="milliseconds")


async def _compare(old: Revision, new: Revision) -> bytes:
    texts: Sequence[bytes] = (old.json, new.json)
    if len(old.json) + len(new.json) <= SMALL_BYTES:
        return _diff(*texts)
    return await asyncio.to_thread(_diff, *texts)


def _diff(old: bytes, new: bytes) -> bytes:
    return dump_json(diff_values(load_json(old), load_json(new), len(old) + len(new)))


def _reverted(outcome: Outcome) -> ApiResponse:
    stored = outcome.object
    body = object_body(stored.json, stored.acl if outcome.writable else {})
    return written_response(stored, 201 if outcome.created else 200, body)
