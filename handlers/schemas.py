"""POST .../schema:check: which records a schema would refuse."""

from typing import Any

from handlers.messages import ApiRequest, ApiResponse, json_response
from handlers.plans import Plan
from handlers.routes import Place
from server.core.errors import invalid
from server.core.paths import invalid_id
from server.core.permissions import Rules
from server.core.schemas import FIELD, BadSchema, Schema
from server.service.schema_checks import check_records
from server.storage.base import Snapshot

METHODS = ("POST", "OPTIONS")


class SchemaCheckEndpoint:
    """Plans checks of a collection's records by a schema that is not the collection's yet."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def plan(self, request: ApiRequest, place: Place) -> Plan:
        """What a request comes to.

        Raises:
            SyncError: If its body is no schema.
        """
        request.check_acceptable()
        request.content_type()
        if not place.object.valid:
            raise invalid_id()
        schema = parse_candidate(request.json())

        async def read(snapshot: Snapshot) -> ApiResponse:
            report = await check_records(snapshot, self._rules, request.actor, place.object, schema)
            return json_response({"data": report.body()})

        # In a batch it would hold up everybody's writes.
        return Plan(read=read, solitary=True)


def parse_candidate(body: Any) -> Schema:
    """The schema of a body: ``{"data": {"schema": {...}}}`` or ``{"schema": {...}}``.

    Raises:
        InvalidParameters: If it is no schema, or none that could be the collection's.
    """
    holder = body.get("data", body) if isinstance(body, dict) else body
    name = f"data.{FIELD}" if isinstance(body, dict) and "data" in body else FIELD
    if not isinstance(holder, dict) or FIELD not in holder:
        raise invalid("body", name, "Required")
    if not isinstance(holder[FIELD], dict):
        raise invalid("body", name, "should be a JSON object")
    try:
        return Schema(holder[FIELD], "record")
    except BadSchema as error:
        raise invalid("body", FIELD if error.is_reference else name, str(error)) from None
