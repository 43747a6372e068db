"""Which endpoint plans a request; the whole API below ``/v1``."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from handlers.feeds import FeedEndpoint
from handlers.messages import ApiRequest, ApiResponse, Intake
from handlers.objects import LIST_METHODS, OBJECT_METHODS, ListEndpoint, ObjectEndpoint
from handlers.plans import Plan, Planner
from handlers.routes import (
    Place,
    Route,
    Routes,
    list_template,
    object_template,
    parse_stored,
)
from handlers.streams import READ_METHODS, StreamEndpoint, wants_stream
from handlers.waits import Waits
from notifier.topics import is_feed
from server.core.commands import Ensure
from server.core.errors import (
    EndpointMissing,
    Forbidden,
    InvalidParameters,
    MethodNotAllowed,
    SyncError,
)
from server.core.paths import ALL_KINDS, FEED, KINDS, ListPath, ObjectPath, parse_path
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request on an object or list of some kind, made ready to be planned.

    Attributes:
        request: as it is to be planned.
        finish: makes of the answer what is sent; None leaves it.
    """

    request: ApiRequest
    finish: Callable[[ApiResponse], ApiResponse] | None = None


FEED_TEMPLATE = f"/buckets/{{bucket_id}}/{FEED}"
"""What the paths of feeds look like."""

Prepare = Callable[[ApiRequest, ObjectPath | ListPath], Awaitable[Prepared]]
"""Does what a kind asks for before its requests are planned; raises what refuses them."""


@dataclass(frozen=True, slots=True)
class Offers:
    """What an API has.

    Attributes:
        objects: plans requests on objects.
        lists: and on lists.
        routes: all other endpoints.
        kinds: the kinds that are served, and what is done first with their
            requests, if anything is.
        defaults: where ``default`` is an alias; None where it is not.
        readonly: whether every write is refused.
    """

    objects: ObjectEndpoint
    lists: ListEndpoint
    routes: Routes = field(default_factory=Routes)
    kinds: Mapping[str, Prepare | None] = field(default_factory=lambda: dict.fromkeys(KINDS))
    defaults: DefaultBuckets | None = None
    readonly: bool = False


class Api:
    """Answers requests.

    Attributes:
        planner: carries out what they come to.
        routes: the endpoints that are neither of objects nor of lists.
        kinds: of objects that are served.
    """

    def __init__(self, planner: Planner, rules: Rules, offers: Offers) -> None:
        """Begin.

        Args:
            planner: carries out plans.
            rules: about permissions.
            offers: what there is.
        """
        self.planner = planner
        self.routes = offers.routes
        self._rules = rules
        self.kinds = tuple(ALL_KINDS[name] for name in offers.kinds)
        self._offers = offers
        self._live: LiveEndpoints | None = None

    def go_live(self, live: LiveEndpoints) -> None:
        """Tell of changes, too; they have to know this one's ``resolve``, so they come later."""
        self._live = live

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
            return await self._plan(request)
        except InvalidParameters as error:
            return await self._consider(request, error)
        except SyncError as error:
            return error

    def methods(self, path: str) -> tuple[str, ...]:
        """The methods of the endpoint of a path.

        Raises:
            EndpointMissing: If there is none.
        """
        if is_feed(path):
            return ("GET", "HEAD", "OPTIONS")
        stored = self._parse(path)
        if stored is not None:
            return OBJECT_METHODS if isinstance(stored, ObjectPath) else LIST_METHODS
        found = self.routes.find(path)
        if found is None:
            raise EndpointMissing
        return found[0].methods

    def template(self, path: str) -> str | None:
        """The template of the endpoint of a path; None if there is none."""
        if is_feed(path):
            return FEED_TEMPLATE
        stored = self._parse(path)
        if isinstance(stored, ObjectPath):
            return object_template(stored.kind)
        if stored is not None:
            return list_template(stored.kind)
        found = self.routes.find(path)
        return found[0].template if found else None

    def _parse(self, path: str) -> ObjectPath | ListPath | None:
        """The object or list of a path, if it is of a kind that is served."""
        found = parse_stored(path)
        if found is None or found.kind.name not in self._offers.kinds:
            return None
        return found

    async def _plan(self, request: ApiRequest) -> Plan:
        fixed = self.routes.fixed(request.path)
        if fixed is not None:
            return self._plan_route(request, fixed, Place())
        if self._parse(request.path) is not None:
            return await self._plan_stored(request)
        if is_feed(request.path):
            return self._plan_feed(request)
        found = self.routes.find(request.path)
        if found is None:
            raise EndpointMissing
        return self._plan_route(request, *self._place(request, *found))

    def _place(
        self, request: ApiRequest, route: Route, names: dict[str, str]
    ) -> tuple[Route, Place]:
        """Where a route's path leads: ``default`` is resolved in it."""
        if not route.depth:
            return route, Place(names)
        own, _ = route.stored(request.path)
        path, before = self._find(request, own)
        return route, Place(names, path, before)

    async def intake(self, request: ApiRequest) -> Intake | None:
        """What takes in the body of a form as it comes; None where it is read as a whole.

        Args:
            request: without its body.

        Raises:
            SyncError: If the request is refused whatever its body is.
        """
        found = self.routes.find(request.path)
        if found is None or found[0].takes is None:
            return None
        try:
            route, place = self._place(request, *found)
            self._check_route(request, route, place)
            assert route.takes is not None
            return await route.takes(request, place)
        except InvalidParameters as error:
            raise await self._consider(request, error) from None

    def _check_route(self, request: ApiRequest, route: Route, place: Place) -> None:
        if self._offers.readonly and not request.is_read:
            raise MethodNotAllowed("GET, HEAD, OPTIONS")
        if request.method not in route.methods or request.method == "OPTIONS":
            raise MethodNotAllowed(", ".join(route.methods))
        if not route.is_open:
            _check_scopes(request, place.path.uri if place.path else request.path)

    def _plan_route(self, request: ApiRequest, route: Route, place: Place) -> Plan:
        self._check_route(request, route, place)
        if self._offers.readonly and place.before is not None:
            place = replace(place, before=None)
        plan = route.plan(request, place)
        return plan if place.before is None else replace(plan, before=place.before)

    async def _plan_stored(self, request: ApiRequest) -> Plan:
        path, before = self._find(request, request.path)
        if self._offers.readonly and (before is not None or not request.is_read):
            raise MethodNotAllowed("GET, HEAD, OPTIONS")
        _check_scopes(request, path.uri)
        prepare = self._offers.kinds[path.kind.name]
        if prepare is None:
            return self._plan_found(request, path, before)
        prepared = await prepare(request, path)
        return _finishing(self._plan_found(prepared.request, path, before), prepared)

    def _plan_found(
        self, request: ApiRequest, path: ListPath | ObjectPath, before: Ensure | None
    ) -> Plan:
        live = self._live if request.method in ("GET", "HEAD") else None
        if live is not None and wants_stream(request.headers.get("Accept")):
            return live.streams.plan(request, path.uri, before)
        if isinstance(path, ObjectPath):
            return self._offers.objects.plan(request, path, before)
        lists = self._offers.lists
        if live is None:
            return lists.plan(request, path, before)
        return live.waits.plan(request, path.uri, lambda again: lists.plan(again, path, before))

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

    def _find(self, request: ApiRequest, named: str) -> tuple[ListPath | ObjectPath, Ensure | None]:
        """What a path names, and what is made first."""
        path = parse_path(named)
        defaults = self._offers.defaults
        if defaults is None or not is_alias(named):
            return path, None
        real = parse_path(defaults.resolve(named, request.actor))
        return real, what_to_make(request.actor, real, writes=not request.is_read)

    def resolve(self, path: str, actor: Actor) -> tuple[str, Ensure | None]:
        """A path with the bucket's own id for ``default``, and what is made at its first use.

        Raises:
            MissingAuth: If an anonymous actor names the default bucket.
            Forbidden: If the actor's credential is not for it.
        """
        real, ensure = self._resolve(path, actor)
        stored = real.removesuffix(f"/{FEED}") if is_feed(real) else real
        if not actor.may_ask(stored, writes=False):
            raise Forbidden
        found = parse_stored(stored)
        if found is not None and found.kind.name not in self._offers.kinds:
            raise EndpointMissing
        return real, ensure

    def _resolve(self, path: str, actor: Actor) -> tuple[str, Ensure | None]:
        defaults = self._offers.defaults
        if defaults is None or not is_alias(path):
            return path, None
        real = defaults.resolve(path, actor)
        found = parse_stored(real.removesuffix(f"/{FEED}"))
        if found is None:
            return real, None
        ensure = what_to_make(actor, found, writes=False)
        return real, None if self._offers.readonly else ensure

    async def _consider(self, request: ApiRequest, error: InvalidParameters) -> SyncError:
        """What is wrong with a request is told to who may know; others are refused first."""
        own = self._offers.defaults is not None and is_alias(request.path)
        if own or self.routes.fixed(request.path) is not None:
            return error
        if is_feed(request.path) and self._live is not None:
            return await self._live.feeds.consider(request, error)
        path = self._parse(request.path)
        if path is None:
            found = self.routes.find(request.path)
            path = parse_stored(found[0].stored(request.path)[0]) if found else None
        if path is None:
            return error
        return await self._consider_stored(request, path, error)

    async def _consider_stored(
        self, request: ApiRequest, path: ObjectPath | ListPath, error: InvalidParameters
    ) -> SyncError:
        writes = not request.is_read
        steps = path.ancestors if isinstance(path, ListPath) else path.chain
        try:
            async with self.planner.storage.snapshot() as snapshot:
                if isinstance(path, ListPath) and not writes:
                    await self._offers.lists.check_readable(request, path, snapshot)
                    return error
                await Reader(snapshot, self._rules).ask(
                    [step.uri for step in steps],
                    lambda judge: judge.check_access(request.actor, path, writes=writes),
                )
        except SyncError as refusal:
            return refusal
        return error


def _check_scopes(request: ApiRequest, path: str) -> None:
    """Check that a credential is for a request.

    Raises:
        Forbidden: If it is limited to others.
    """
    if not request.actor.may_ask(path, writes=not request.is_read):
        raise Forbidden


def _finishing(plan: Plan, prepared: Prepared) -> Plan:
    """The plan with its answer finished."""
    finish = prepared.finish
    if finish is None:
        return plan
    answer, alone = plan.answer, plan.alone
    assert plan.read is None, "nothing that is read has to be finished"
    assert answer is not None
    finished = replace(plan, answer=lambda verdict: finish(answer(verdict)))
    if alone is None:
        return finished

    async def run() -> ApiResponse:
        return finish(await alone())

    return replace(finished, alone=run)
