"""``Prefer: merge``: a PATCH of an older state, merged into the present one."""

from collections.abc import Callable
from dataclasses import replace

from handlers.messages import ApiRequest, ApiResponse
from handlers.plans import Plan
from server.core.commands import Change, Outcome, Target
from server.core.permissions import Rules
from server.core.positions import spell_etag
from server.core.preconditions import ANY
from server.service.revisions import Merging


def wants_merge(request: ApiRequest, target: Target) -> bool:
    """Whether a PATCH of an older state shall be merged (RFC 7240)."""
    match = target.precondition.match
    if match is None or match == ANY or not target.path.kind.is_shared:
        return False
    preferences = (request.headers.get("Prefer") or "").split(",")
    return any(one.partition(";")[0].strip().lower() == "merge" for one in preferences)


def plan_merge(
    rules: Rules, part: Change, answer: Callable[[Outcome], ApiResponse], size: int
) -> Plan:
    """A PATCH that is merged if it has to be; then the answer says on which state.

    Args:
        rules: about permissions.
        part: the PATCH, with the older state in its precondition.
        answer: to a PATCH that was done.
        size: of its body.
    """
    merging = Merging(rules, part)

    def tell(outcome: Outcome) -> ApiResponse:
        response = answer(outcome)
        if merging.base is None:
            return response
        merged = {"Merged": spell_etag(merging.base), "Preference-Applied": "merge"}
        return replace(response, headers={**response.headers, **merged})

    return Plan(part=merging.part(), answer=tell, size=size)
