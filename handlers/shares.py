"""GET /permissions: everything that somebody has a permission on."""

from typing import Any

from handlers.messages import ApiRequest, ApiResponse, stamp_headers
from handlers.plans import Plan
from handlers.routes import Place
from server.core.errors import invalid
from server.core.filters import matches
from server.core.json_text import dump_json
from server.core.pagination import PageToken, make_token, parse_token
from server.core.permissions import Actor, refuse
from server.core.projections import project
from server.core.queries import ListQuery, parse_query
from server.core.sorting import Order, full_order, is_after, keys_of, sort_key
from server.service.pages import ListOptions
from server.service.shares import FIELDS, find_rows
from server.storage.base import Snapshot

_SCOPE = "/permissions"


class PermissionsEndpoint:
    """Plans ``/permissions``."""

    def __init__(self, options: ListOptions) -> None:
        self._options = options

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """The rows, filtered, sorted and paged as any list.

        Never a 304, and an ETag that is always new: what a user may do changes without a
        write to any one list.

        Raises:
            SyncError: If the request cannot be understood, or is refused.
        """
        request.check_acceptable()
        self._check_permitted(request.actor)
        query = parse_query(request.arguments, known_fields=FIELDS)
        if query.cursor is not None:
            raise invalid("querystring", "_since", "_since is no cursor here: this is no list")
        order = full_order(query.sort, unique="uri")
        token = self._parse_token(request, query, order)

        async def read(snapshot: Snapshot) -> ApiResponse:
            rows = await find_rows(snapshot, self._options.rules, request.actor)
            return self._page(request, query, order, token, rows)

        return Plan(read=read)

    def _check_permitted(self, actor: Actor) -> None:
        allowed = self._options.rules.grants.get("permissions:read", frozenset())
        if actor.principals.isdisjoint(allowed):
            raise refuse(actor)

    def _parse_token(self, request: ApiRequest, query: ListQuery, order: Order) -> PageToken | None:
        if query.token is None:
            return None
        return parse_token(
            self._options.secret,
            _scope(order),
            query.token,
            now=request.now,
            validity_seconds=self._options.token_seconds,
        )

    def _page(
        self,
        request: ApiRequest,
        query: ListQuery,
        order: Order,
        token: PageToken | None,
        rows: list[dict[str, Any]],
    ) -> ApiResponse:
        found = [row for row in rows if matches(query.conditions, row)]
        headers = stamp_headers(request.now)
        if request.method == "HEAD":
            headers["Total-Objects"] = headers["Total-Records"] = str(len(found))
            return ApiResponse(200, b"", headers)
        if token is not None:
            found = [row for row in found if is_after(order, row, token.last)]
        found.sort(key=lambda row: sort_key(order, row))
        options = self._options
        limit = options.page_length(query.limit)
        if len(found) > limit:
            found = found[:limit]
            following = PageToken(keys_of(order, found[-1]), 0, "", request.now)
            text = make_token(options.secret, _scope(order), following)
            headers["Next-Page"] = request.link(_token=text)
        if query.fields is not None:
            found = [project(row, (*query.fields, "uri")) for row in found]
        return ApiResponse(200, dump_json({"data": found}), headers)


def _scope(order: Order) -> str:
    return f"{_SCOPE} " + ",".join(f"{'-' * key.descending}{key.field}" for key in order)
