"""Which endpoint plans a request; the whole API below ``/v1``."""

from collections.abc import Mapping

from handlers.messages import ApiRequest, ApiResponse
from handlers.objects import LIST_METHODS, OBJECT_METHODS, ListEndpoint, ObjectEndpoint
from handlers.plans import Endpoint, Plan, Planner
from server.core.commands import Ensure
from server.core.errors import InvalidParameters, MethodNotAllowed, SyncError
from server.core.paths import ListPath, ObjectPath, parse_path
from server.core.permissions import Rules
from server.service.default_bucket import DefaultBuckets, is_alias, what_to_make
from server.service.reader import Reader


class Api:
    """Answers requests.

    Attributes:
        planner: carries out what they come to.
    """

    def __init__(
        self,
        planner: Planner,
        rules: Rules,
        objects: ObjectEndpoint,
        lists: ListEndpoint,
        defaults: DefaultBuckets | None,
        *,
        readonly: bool,
    ) -> None:
        """Begin with the objects and lists.

        Args:
            planner: carries out plans.
            rules: about permissions.
            objects: plans requests on objects.
            lists: and on lists.
            defaults: where ``default`` is an alias; None where it is not.
            readonly: whether every write is refused.
        """
        self.planner = planner
        self._rules = rules
        self._objects = objects
        self._lists = lists
        self._defaults = defaults
        self._readonly = readonly
        self._fixed: dict[str, Endpoint] = {}

    def add(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Add endpoints that have one path."""
        self._fixed.update(endpoints)

    async def respond(self, request: ApiRequest) -> ApiResponse:
        """The answer to a request; every foreseen error is one too."""
        plan = await self.plan(request)
        if isinstance(plan, SyncError):
            return self.planner.refusal(plan)
        try:
            return await self.planner.run(plan)
        except SyncError as error:
            return self.planner.refusal(error)

    async def plan(self, request: ApiRequest) -> Plan | SyncError:
        """What a request comes to, or why it comes to nothing."""
        try:
            return self._plan(request)
        except InvalidParameters as error:
            return await self._consider(request, error)
        except SyncError as error:
            return error

    def methods(self, path: str) -> tuple[str, ...]:
        """The methods of the endpoint of a path.

        Raises:
            EndpointMissing: If there is none.
        """
        endpoint = self._fixed.get(path)
        if endpoint is None:
            found = parse_path(path)
            return OBJECT_METHODS if isinstance(found, ObjectPath) else LIST_METHODS
        if path in ("/batch", "/__flush__"):
            return ("POST", "OPTIONS")
        return ("GET", "HEAD", "OPTIONS")

    def _plan(self, request: ApiRequest) -> Plan:
        endpoint = self._fixed.get(request.path)
        if endpoint is None:
            return self._plan_stored(request)
        if self._readonly and not request.is_read:
            raise MethodNotAllowed("GET, HEAD, OPTIONS")
        return endpoint(request)

    def _plan_stored(self, request: ApiRequest) -> Plan:
        path, before = self._find(request)
        if self._readonly and (before is not None or not request.is_read):
            raise MethodNotAllowed("GET, HEAD, OPTIONS")
        if isinstance(path, ListPath):
            return self._lists.plan(request, path, before)
        return self._objects.plan(request, path, before)

    def _find(self, request: ApiRequest) -> tuple[ListPath | ObjectPath, Ensure | None]:
        """What a path names, and what is made first."""
        path = parse_path(request.path)
        if self._defaults is None or not is_alias(request.path):
            return path, None
        real = parse_path(self._defaults.resolve(request.path, request.actor))
        return real, what_to_make(request.actor, real, writes=not request.is_read)

    async def _consider(self, request: ApiRequest, error: InvalidParameters) -> SyncError:
        """What is wrong with a request is told to who may know; others are refused first."""
        try:
            path, _ = self._find(request)
        except SyncError:
            return error
        own = self._defaults is not None and is_alias(request.path)
        if own or request.path in self._fixed:
            return error
        writes = not request.is_read
        steps = path.ancestors if isinstance(path, ListPath) else path.chain
        try:
            async with self.planner.storage.snapshot() as snapshot:
                if isinstance(path, ListPath) and not writes:
                    await self._lists.check_readable(request, path, snapshot)
                    return error
                await Reader(snapshot, self._rules).ask(
                    [step.uri for step in steps],
                    lambda judge: judge.check_access(request.actor, path, writes=writes),
                )
        except SyncError as refusal:
            return refusal
        return error
