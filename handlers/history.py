"""A bucket's history: what was done in it, as a list that is read and cleared."""

from typing import Any

from handlers.messages import (
    ApiRequest,
    ApiResponse,
    json_response,
    not_modified_response,
    stamp_headers,
)
from handlers.plans import Plan
from handlers.routes import Place
from server.core.commands import Command
from server.core.errors import InvalidParameters, SyncError
from server.core.history_entries import parse_history_query
from server.core.paths import ObjectPath, invalid_id
from server.core.projections import project
from server.service.history import Cleared, Histories, HistoryAnswer
from server.service.history_searches import HistoryRequest
from server.storage.base import Snapshot, Storage

METHODS = ("GET", "HEAD", "DELETE", "OPTIONS")


class HistoryEndpoint:
    """Plans requests on histories."""

    def __init__(self, storage: Storage, histories: Histories) -> None:
        self._storage = storage
        self._histories = histories

    def plan(self, request: ApiRequest, place: Place) -> Plan:
        """What a request comes to; what is wrong with it is told to who may know.

        Raises:
            SyncError: If it cannot be understood.
        """
        request.check_acceptable()
        bucket = place.object
        if not bucket.valid:
            raise invalid_id()
        try:
            wanted = _read(request, bucket)
        except InvalidParameters as error:
            return self._consider(request, bucket, error)
        if request.method == "DELETE":
            return self._delete(request, place, wanted)

        async def read(snapshot: Snapshot) -> ApiResponse:
            answer = await self._histories.read(snapshot, wanted)
            return _shown(request, wanted, answer)

        return Plan(read=read)

    def _consider(self, request: ApiRequest, bucket: ObjectPath, error: InvalidParameters) -> Plan:
        async def read(snapshot: Snapshot) -> ApiResponse:
            writes = request.method == "DELETE"
            await self._histories.check_readable(snapshot, request.actor, bucket, writes=writes)
            raise error

        return Plan(read=read)

    def _delete(self, request: ApiRequest, place: Place, wanted: HistoryRequest) -> Plan:
        async def alone() -> ApiResponse:
            if place.before is not None:
                (verdict,) = await self._storage.commit(Command((place.before,)))
                if isinstance(verdict, SyncError):
                    raise verdict
            return _cleared(request, await self._histories.delete(wanted))

        return Plan(alone=alone, solitary=True)


def _read(request: ApiRequest, bucket: ObjectPath) -> HistoryRequest:
    return HistoryRequest(
        request.actor,
        bucket,
        parse_history_query(request.arguments),
        request.precondition(),
        request.now,
        request.method == "HEAD",
    )


def _shown(request: ApiRequest, wanted: HistoryRequest, answer: HistoryAnswer) -> ApiResponse:
    if not answer.modified:
        return not_modified_response(answer.timestamp)
    headers = stamp_headers(answer.timestamp)
    if answer.total is not None:
        headers["Total-Objects"] = headers["Total-Records"] = str(answer.total)
        return ApiResponse(200, b"", headers)
    if answer.token is not None:
        headers["Next-Page"] = request.link(_token=answer.token)
    fields = wanted.query.fields
    shown: list[dict[str, Any]] = list(answer.entries)
    if fields is not None:
        shown = [project(entry, fields) for entry in shown]
    return json_response({"data": shown}, headers=headers)


def _cleared(request: ApiRequest, cleared: Cleared) -> ApiResponse:
    headers = stamp_headers(cleared.timestamp)
    if cleared.token is not None:
        headers["Next-Page"] = request.link(_token=cleared.token)
    gone = [{"id": one, "last_modified": cleared.timestamp, "deleted": True} for one in cleared.ids]
    return json_response({"data": gone}, headers=headers)
