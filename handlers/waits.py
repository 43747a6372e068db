"""Long-poll: reads of lists and feeds that wait until there is something to tell."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from handlers.messages import ApiRequest, ApiResponse, list_body, stamp_headers
from handlers.plans import Plan, Planner
from handlers.streams import pick
from notifier.live import Live
from notifier.topics import Topic, is_feed, parse_topic
from notifier.waiters import MAX_WAIT_SECONDS, Waiter
from server.core.errors import SyncError, invalid
from server.core.positions import make_position, spell_date, spell_full_cursor, timestamp_of
from server.core.queries import ListQuery, parse_query

MakePlan = Callable[[ApiRequest], Plan]

_NOTHING = list_body([])


def asks_to_wait(request: ApiRequest) -> bool:
    """Whether a request says anything of waiting, understood or not."""
    if request.method not in ("GET", "HEAD"):
        return False
    return _preferred(request) is not None or any(
        n.strip() == "_wait" for n, _ in request.arguments
    )


def parse_wait(request: ApiRequest) -> int | None:
    """How many seconds a client wants to wait; None for not at all.

    Raises:
        InvalidParameters: If ``_wait`` is no such number.
    """
    given = pick(request.arguments, ("_wait",)).get("_wait")
    if given is None:
        return _preferred(request)
    digits = given.strip()
    if digits.isascii() and digits.isdigit() and 1 <= int(digits[:4]) <= MAX_WAIT_SECONDS:
        return int(digits[:4])
    raise invalid("querystring", "_wait", f"should be an integer from 1 to {MAX_WAIT_SECONDS}")


def _preferred(request: ApiRequest) -> int | None:
    """``wait`` of the header ``Prefer``; what cannot be understood there does not count."""
    for preference in (request.headers.get("Prefer") or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            digits = value.strip().strip('"')
            known = digits.isascii() and digits.isdigit() and int(digits[:4]) > 0
            return min(int(digits[:4]), MAX_WAIT_SECONDS) if known else None
    return None


@dataclass(frozen=True, slots=True)
class _Wish:
    """A poll that is ready to wait.

    Attributes:
        request: as it came.
        make_plan: makes the plan of a poll that does not wait.
        topic: what is waited for.
        since: timestamp of ``_since``, in ms; None for who waits for another ETag.
        threshold: position below which a change is none for this poll.
        seconds: to wait.
    """

    request: ApiRequest
    make_plan: MakePlan
    topic: Topic
    since: int | None
    threshold: int
    seconds: int

    @property
    def key(self) -> object:
        """Equal for polls that are answered the same."""
        request = self.request
        headers = (request.headers.get("If-Match"), request.headers.get("If-None-Match"))
        return request.path, tuple(request.arguments), request.actor, request.root, headers


@dataclass(frozen=True, slots=True)
class _Read:
    """A read that is under way.

    Attributes:
        begun: when, by the loop's clock: it shows everything that was told before.
        task: whose result is the answer.
    """

    begun: float
    task: asyncio.Task[ApiResponse]


class _Reads:
    """Reads for polls; those that one change wakes share what they have in common."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._under_way: dict[object, _Read] = {}

    async def read(self, wish: _Wish) -> ApiResponse:
        """The answer of a poll that does not wait.

        Raises:
            SyncError: As for any such poll.
        """
        return await self._planner.run(wish.make_plan(replace(wish.request, now=_now())))

    async def read_together(self, wish: _Wish, woken_at: float) -> ApiResponse:
        """The same, begun at ``woken_at`` or later, by the loop's clock."""
        key = wish.key
        found = self._under_way.get(key)
        if found is None or found.begun < woken_at:
            task = asyncio.ensure_future(self.read(wish))
            begun = asyncio.get_running_loop().time()
            found = self._under_way[key] = _Read(begun, task)
            task.add_done_callback(lambda _: self._forget(key, found))
        return await asyncio.shield(found.task)

    def _forget(self, key: object, read: _Read) -> None:
        if self._under_way.get(key) is read:
            del self._under_way[key]
        if not read.task.cancelled():
            # All who waited for it may be gone.
            read.task.exception()


class Waits:
    """Plans polls that wait."""

    def __init__(self, live: Live, planner: Planner) -> None:
        self._live = live
        self._reads = _Reads(planner)

    def plan(self, request: ApiRequest, path: str, make_plan: MakePlan) -> Plan:
        """What a read of a list or feed comes to, whether it waits or not.

        Args:
            request: GET or HEAD; the latter never waits.
            path: of the list or feed, with a bucket's own id in place of ``default``.
            make_plan: makes the plan of one that does not wait.

        Raises:
            SyncError: If it cannot be understood.
        """
        seconds = parse_wait(request)
        plan = make_plan(request)
        if seconds is None or request.method != "GET":
            return plan
        wish = _parse_wish(request, path, make_plan, seconds)
        if wish is None:
            return plan
        return Plan(alone=lambda: _Held(self._live, self._reads, wish).answer(), solitary=True)


def _parse_wish(request: ApiRequest, path: str, make_plan: MakePlan, seconds: int) -> _Wish | None:
    query = parse_query(request.arguments)
    known = request.precondition().none_match
    since = query.since if query.cursor is None else timestamp_of(query.cursor)
    if (
        query.at is not None
        or query.token is not None
        or (since is None and (known is None or known < 0))
    ):
        # The past, the page of a walk, or somebody who has nothing yet.
        return None
    filters = [] if since is None else _filters(request)
    topic = parse_topic(path, filters)
    threshold = _threshold(query, known if since is None else since, feed=is_feed(path))
    return _Wish(request, make_plan, topic, since, threshold, seconds)


def _filters(request: ApiRequest) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.arguments if name.strip()[:1] != "_"]


def _threshold(query: ListQuery, timestamp: int | None, *, feed: bool) -> int:
    """The first position that an answer without waiting would tell of.

    Writes that are dated in the past leave an ETag as it is; only a cursor tells them.
    """
    assert timestamp is not None
    if query.cursor is not None:
        return query.cursor + 1
    return make_position(timestamp) + 1 if feed else make_position(timestamp + 1)


def _now() -> int:
    return time.time_ns() // 1_000_000


class _Held:
    """One poll, until it is answered."""

    def __init__(self, live: Live, reads: _Reads, wish: _Wish) -> None:
        self._live = live
        self._reads = reads
        self._wish = wish
        self._waiter: Waiter | None = None
        self._gone = False

    async def answer(self) -> ApiResponse:
        """The answer, at once or when there is one.

        Raises:
            SyncError: As for a poll that does not wait.
        """
        request = self._wish.request
        if request.when_gone is not None:
            request.when_gone(self._hang_up)
        response = await self._hold(asyncio.get_running_loop().time() + self._wish.seconds)
        headers = {name: one for name, one in response.headers.items() if name != "Expires"}
        headers["Cache-Control"] = "no-cache, no-store"
        # Clients take the server's time from it: it is that of the answer, not of the request.
        headers["Date"] = spell_date(_now())
        if _preferred(request) is not None and "_wait" not in dict(request.arguments):
            headers["Preference-Applied"] = f"wait={self._wish.seconds}"
        return replace(response, headers=headers)

    def _hang_up(self) -> None:
        """Nobody is there any more who could be answered."""
        self._gone = True
        if self._waiter is not None:
            self._waiter.release()

    def _tells_nothing(self, response: ApiResponse) -> bool:
        if response.status == 304:
            return True
        idle = response.body == _NOTHING and "Next-Page" not in response.headers
        return idle and self._wish.since is not None

    async def _hold(self, deadline: float) -> ApiResponse:
        response, final = await self._reads.read(self._wish), False
        while not final and not self._gone and self._tells_nothing(response):
            wish = self._wish
            waiter = self._live.wait_for(wish.topic, wish.request.actor, wish.threshold)
            self._waiter = waiter
            try:
                response, final = await self._listen(waiter, response, deadline)
            finally:
                waiter.leave()
        return response

    async def _listen(
        self, waiter: Waiter, response: ApiResponse, deadline: float
    ) -> tuple[ApiResponse, bool]:
        """Wait for one change.

        Args:
            waiter: that has heard nothing yet.
            response: what is answered if it hears nothing.
            deadline: of the loop's clock.

        Returns:
            An answer, and whether it is the last word.
        """
        try:
            async with asyncio.timeout_at(deadline):
                position = await waiter.join()
        except TimeoutError:
            return self._unchanged(response), True
        except SyncError:
            # What a poll is told then, a tombstone or a refusal, is not ours to say.
            return await self._reads.read(self._wish), True
        if position is None or response.headers.get("Cursor") != spell_full_cursor(position):
            # Something may have come before anybody listened.
            response = await self._reads.read(self._wish)
            if not self._tells_nothing(response):
                return response, True
        await waiter.wait(deadline - asyncio.get_running_loop().time())
        if self._gone or not (waiter.heard or waiter.lost):
            return self._unchanged(response), True
        # Whatever a list says then: also that an object has left it may be told by nothing.
        response = await self._reads.read_together(self._wish, waiter.woken_at)
        return response, waiter.heard and self._wish.since is not None

    def _unchanged(self, response: ApiResponse) -> ApiResponse:
        """The answer at the end of a wait in which nothing happened."""
        since = self._wish.since
        if response.status != 200 or since is None:
            return response
        stamps = {name: stamp_headers(since)[name] for name in ("ETag", "Last-Modified")}
        return replace(response, headers={**response.headers, **stamps})
