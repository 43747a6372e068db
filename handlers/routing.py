"""Which endpoint plans a request; the whole API below ``/v1``."""

from collections.abc import Mapping
from dataclasses import dataclass

from handlers.feeds import FeedEndpoint
from handlers.messages import ApiRequest, ApiResponse
from handlers.objects import LIST_METHODS, OBJECT_METHODS, ListEndpoint, ObjectEndpoint
from handlers.plans import Endpoint, Plan, Planner
from handlers.streams import READ_METHODS, StreamEndpoint, wants_stream
from handlers.waits import Waits
from notifier.topics import is_feed
from server.core.commands import Ensure
from server.core.errors import EndpointMissing, InvalidParameters, MethodNotAllowed, SyncError
from server.core.paths import FEED, ListPath, ObjectPath, parse_path
from server.core.permissions import Actor, Rules
from server.service.default_bucket import DefaultBuckets, is_alias, what_to_make
from server.storage.reader import Reader


@dataclass(frozen=True, slots=True)
class LiveEndpoints:
    """What tells of changes.

    Attributes:
        streams: plans reads that do not end.
        waits: plans reads that may wait.
        feeds: plans reads of buckets' feeds.
    """

    streams: StreamEndpoint
    waits: Waits
    feeds: FeedEndpoint


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
        self._live: LiveEndpoints | None = None

    def go_live(self, live: LiveEndpoints) -> None:
        """Tell of changes, too; they have to know this one's ``resolve``, so they come later."""
        self._live = live

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
            if is_feed(path):
                return ("GET", "HEAD", "OPTIONS")
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
        if is_feed(request.path):
            return self._plan_feed(request)
        path, before = self._find(request)
        if self._readonly and (before is not None or not request.is_read):
            raise MethodNotAllowed("GET, HEAD, OPTIONS")
        live = self._live if request.method in ("GET", "HEAD") else None
        if live is not None and wants_stream(request.headers.get("Accept")):
            return live.streams.plan(request, path.uri, before)
        if isinstance(path, ObjectPath):
            return self._objects.plan(request, path, before)
        if live is None:
            return self._lists.plan(request, path, before)
        return live.waits.plan(
            request, path.uri, lambda again: self._lists.plan(again, path, before)
        )

    def _plan_feed(self, request: ApiRequest) -> Plan:
        live = self._live
        if live is None:
            raise EndpointMissing
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(READ_METHODS)
        path, before = self.resolve(request.path, request.actor)
        if wants_stream(request.headers.get("Accept")):
            return live.streams.plan(request, path, before)
        return live.waits.plan(request, path, lambda again: live.feeds.plan(again, path, before))

    def _find(self, request: ApiRequest) -> tuple[ListPath | ObjectPath, Ensure | None]:
        """What a path names, and what is made first."""
        path = parse_path(request.path)
        if self._defaults is None or not is_alias(request.path):
            return path, None
        real = parse_path(self._defaults.resolve(request.path, request.actor))
        return real, what_to_make(request.actor, real, writes=not request.is_read)

    def resolve(self, path: str, actor: Actor) -> tuple[str, Ensure | None]:
        """A path with the bucket's own id for ``default``, and what is made at its first use.

        Raises:
            MissingAuth: If an anonymous actor names the default bucket.
        """
        if self._defaults is None or not is_alias(path):
            return path, None
        real = self._defaults.resolve(path, actor)
        named = real.removesuffix(f"/{FEED}")
        try:
            found = parse_path(named)
        except SyncError:
            return real, None
        ensure = what_to_make(actor, found, writes=False)
        return real, None if self._readonly else ensure

    async def _consider(self, request: ApiRequest, error: InvalidParameters) -> SyncError:
        """What is wrong with a request is told to who may know; others are refused first."""
        if is_feed(request.path) and not is_alias(request.path) and self._live is not None:
            return await self._live.feeds.consider(request, error)
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
