"""``/buckets/{b}/snapshot/collections/{c}@{time}``: a collection's records as they were."""

import re
from dataclasses import replace

from handlers.messages import (
    ApiRequest,
    ApiResponse,
    list_body,
    not_modified_response,
    stamp_headers,
)
from handlers.objects import show_list
from handlers.plans import Plan
from handlers.routes import Place
from server.core.envelopes import spell_value
from server.core.errors import ParentMissing, invalid
from server.core.paths import ListPath, invalid_id, parse_path
from server.core.positions import last_position
from server.core.queries import parse_query
from server.service.lists import Lists
from server.service.pages import ListRequest
from server.storage.base import Snapshot

_TARGET = re.compile(r"([^@]+)@(.*)")
_TIME = re.compile(r"[0-9]{1,13}")


class SnapshotEndpoint:
    """Plans reads of a collection as it was."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists

    def plan(self, request: ApiRequest, place: Place) -> Plan:
        """The records at a time; a time to come is now.

        Raises:
            SyncError: If the request cannot be understood.
        """
        request.check_acceptable()
        wanted = _parse(request, place)

        async def read(snapshot: Snapshot) -> ApiResponse:
            try:
                answer = await self._lists.read(snapshot, wanted)
            except ParentMissing as error:
                if error.details["resource_name"] != "collection":
                    raise
                return _nothing(request)
            if not answer.modified:
                return not_modified_response(answer.timestamp)
            return show_list(request, wanted, answer)

        return Plan(read=read)


def _parse(request: ApiRequest, place: Place) -> ListRequest:
    match = _TARGET.fullmatch(place.names["collection_at"])
    if match is None:
        raise invalid("path", "", "should be a collection's id, @ and a time in milliseconds")
    if _TIME.fullmatch(match[2]) is None:
        raise invalid("path", "timestamp", f"Invalid timestamp '{spell_value(match[2])}'")
    path = parse_path(f"{place.object.uri}/collections/{match[1]}/records")
    assert isinstance(path, ListPath)
    if not path.valid:
        raise invalid_id()
    query = parse_query(request.arguments)
    for name in ("_since", "_at"):
        if any(given.strip() == name for given, _ in request.arguments):
            raise invalid("querystring", name, "The path says which state is wanted")
    # Its clients don't know of pages: they take what comes for the whole.
    limit = 0 if query.limit is None else query.limit
    query = replace(query, at=last_position(int(match[2])), limit=limit)
    count = request.method == "HEAD"
    return ListRequest(
        request.actor, path, query, request.precondition(), request.now, count, clamps=True
    )


def _nothing(request: ApiRequest) -> ApiResponse:
    """What there was in a collection that is not there."""
    headers = stamp_headers(request.now)
    if request.method == "HEAD":
        headers["Total-Objects"] = headers["Total-Records"] = "0"
        return ApiResponse(200, b"", headers)
    return ApiResponse(200, list_body([]), headers)
