"""``/buckets/{id}/changes``: all in a bucket that its reader may see, and what became of it."""

from handlers.messages import (
    ApiRequest,
    ApiResponse,
    list_body,
    not_modified_response,
    stamp_headers,
)
from handlers.plans import Plan, Planner
from handlers.streams import options_of, pick, without
from notifier.feeds import PAGE_MAX_EVENTS, FeedPage, FeedReader, FeedRequest
from notifier.topics import parse_topic
from server.core.commands import Ensure
from server.core.errors import InvalidParameters, SyncError, invalid
from server.core.positions import make_position, spell_full_cursor, timestamp_of
from server.core.preconditions import Precondition, check_read, not_modified
from server.core.queries import parse_query
from server.storage.base import Snapshot

_OWN = ("_since", "_limit", "_deliver", "_history", "_include", "_wait")


class FeedEndpoint:
    """Plans polls of feeds."""

    def __init__(self, planner: Planner, reader: FeedReader) -> None:
        self._planner = planner
        self._reader = reader

    def plan(self, request: ApiRequest, path: str, before: Ensure | None) -> Plan:
        """What a request comes to.

        Args:
            request: GET or HEAD.
            path: with the bucket's own id in place of ``default``.
            before: what is made first.

        Raises:
            SyncError: If it cannot be understood.
        """
        request.check_acceptable()
        wanted = _parse(request, path)
        precondition = request.precondition()

        async def read(snapshot: Snapshot) -> ApiResponse:
            ground = await self._reader.survey(snapshot, wanted.topic, wanted.actor)
            assert ground.rights is not None
            stamp = timestamp_of(ground.clock.position)
            if ground.rights.whole and not_modified(precondition, stamp):
                return not_modified_response(stamp)
            page = await self._reader.read(snapshot, ground, wanted)
            return _shown(request, precondition, page)

        return Plan(read=read, before=before, solitary=True)

    async def consider(self, request: ApiRequest, error: InvalidParameters) -> SyncError:
        """What is wrong with a request is told to who may know; others are refused first."""
        try:
            topic = parse_topic(request.path, ())
            async with self._planner.storage.snapshot() as snapshot:
                await self._reader.survey(snapshot, topic, request.actor)
        except SyncError as refusal:
            return refusal
        return error


def _parse(request: ApiRequest, path: str) -> FeedRequest:
    options = options_of(pick(request.arguments, _OWN))
    if options.deliver == "poke":
        raise invalid("querystring", "_deliver", "should be data or ids")
    query = parse_query([(n, v) for n, v in request.arguments if n.strip() in ("_since", "_limit")])
    since = query.cursor
    if since is None and query.since is not None:
        since = make_position(query.since)
    limit = min(query.limit or PAGE_MAX_EVENTS, PAGE_MAX_EVENTS)
    topic = parse_topic(path, without(request.arguments, _OWN))
    return FeedRequest(topic, request.actor, options, since, limit)


def _shown(request: ApiRequest, precondition: Precondition, page: FeedPage) -> ApiResponse:
    stamp = timestamp_of(page.position)
    check_read(precondition, stamp)
    if not page.more and not_modified(precondition, stamp):
        return not_modified_response(stamp)
    cursor = spell_full_cursor(page.position)
    headers = {**stamp_headers(stamp), "Cursor": cursor}
    if page.more:
        headers["Next-Page"] = request.link(_since=cursor)
    return ApiResponse(200, list_body(page.entries), headers)
