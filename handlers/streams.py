"""Server-Sent Events: a topic's changes as the body of a GET that does not end."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

from tornado.iostream import IOStream

from handlers.messages import JSON, ApiRequest, ApiResponse
from handlers.plans import Plan
from handlers.transports import StreamTransport
from notifier.live import Live
from notifier.messages import Options, parse_options
from notifier.streams import EventStream
from notifier.subscriptions import Request
from notifier.topics import Topic, parse_topic
from server.core.commands import Ensure
from server.core.conditions import single
from server.core.errors import InvalidParameters, MethodNotAllowed, SyncError, invalid
from server.core.paths import ListPath
from server.core.positions import parse_cursor

EVENT_STREAM = "text/event-stream"

RETRY = b"retry: 3000\n\n"
"""Milliseconds after which a browser comes back."""

READ_METHODS = "GET, HEAD, OPTIONS"

_OPTIONS = ("_deliver", "_history", "_include")
_HEADERS = {
    "Content-Type": EVENT_STREAM,
    "Cache-Control": "no-store",
    # Or nginx keeps the events until it has a buffer full of them.
    "X-Accel-Buffering": "no",
}


@dataclass(frozen=True, slots=True)
class StreamResponse(ApiResponse):
    """An answer that goes on after its head and what is known of its body.

    Attributes:
        take: given the connection and the head, writes all there is; it has to end the
            connection too.
    """

    take: Callable[[IOStream, bytes], None] = field(kw_only=True)


def wants_stream(accept: str | None) -> bool:
    """Whether a client wants events rather than JSON.

    ``text/event-stream`` must be listed by its name. Where JSON is too, the greater
    ``q`` decides, and the first of equals.
    """
    if not accept or EVENT_STREAM not in accept.lower():
        return False
    ranks: dict[str, float] = {}
    for element in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in element.split(";"))
        ranks.setdefault(kind, _quality(parameters))
    events, json = ranks.get(EVENT_STREAM, 0.0), ranks.get(JSON, 0.0)
    if events != json:
        return events > json
    order = list(ranks)
    return events > 0 and order.index(EVENT_STREAM) < order.index(JSON)


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def pick(arguments: Sequence[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    """The arguments that have one of some names.

    Raises:
        InvalidParameters: If one is given twice.
    """
    given: dict[str, list[str]] = {}
    for name, value in arguments:
        if name.strip() in names:
            given.setdefault(name.strip(), []).append(value)
    return {name: single(name, values) for name, values in given.items()}


def without(arguments: Sequence[tuple[str, str]], names: Collection[str]) -> list[tuple[str, str]]:
    """The arguments that have none of some names."""
    return [(name, value) for name, value in arguments if name.strip() not in names]


def options_of(given: Mapping[str, str]) -> Options:
    """How somebody wants to be told, of the query string's parameters.

    Raises:
        InvalidParameters: If a value is none of those that are known.
    """
    body: dict[str, Any] = {name: given[name] for name in _OPTIONS if name in given}
    if "_include" in body:
        body["_include"] = [one for one in body["_include"].split(",") if one]
    return parse_options(body, "querystring", "_")


class StreamEndpoint:
    """Plans streams of lists, objects and feeds."""

    def __init__(self, live: Live, disabled: Collection[tuple[str, str, str]]) -> None:
        """Begin.

        Args:
            live: of the process.
            disabled: as ``ObjectOptions.disabled``.
        """
        self._live = live
        self._disabled = disabled

    def plan(self, request: ApiRequest, path: str, ensure: Ensure | None) -> Plan:
        """What a request comes to.

        Args:
            request: GET or HEAD.
            path: with a bucket's own id in place of ``default``.
            ensure: what is made at the first use of the default bucket.

        Raises:
            SyncError: If it cannot be understood.
        """
        given = pick(request.arguments, ("_since", *_OPTIONS))
        rest = without(request.arguments, ("_since", *_OPTIONS))
        topic = parse_topic(path, rest, urlencode(rest))
        self._check_enabled(request, topic)
        options = options_of(given)
        wanted = _request_of(given.get("_since"), request.headers.get("Last-Event-ID"))

        async def alone() -> ApiResponse:
            return await self._begin(request, topic, options, wanted, ensure)

        return Plan(alone=alone, solitary=True)

    def _check_enabled(self, request: ApiRequest, topic: Topic) -> None:
        kind = "plural" if isinstance(topic.path, ListPath) else "object"
        if not topic.feed and (kind, topic.path.kind.name, request.method) in self._disabled:
            raise MethodNotAllowed(READ_METHODS)

    async def _begin(
        self,
        request: ApiRequest,
        topic: Topic,
        options: Options,
        wanted: Request,
        ensure: Ensure | None,
    ) -> ApiResponse:
        events = self._live.stream(topic, options, request.actor)
        try:
            await events.begin(replace(wanted), ensure)
        except SyncError as error:
            if wanted.restarts and error.status == 404:
                # The one answer after which a browser does not come back for ever.
                return ApiResponse(204)
            if wanted.restarts and error.status == 503:
                # To a browser any refusal is the end; from an empty stream it comes back.
                seconds = error.headers.get("Retry-After", "3")
                retry = b"retry: %d\n\n" % (1000 * int(seconds))
                return StreamResponse(200, retry, _HEADERS, take=_write_head)
            raise
        if request.method == "HEAD":
            events.closed()
            return StreamResponse(200, RETRY, _HEADERS, take=_write_head)
        return StreamResponse(200, RETRY, _HEADERS, take=partial(self._take, events))

    def _take(self, events: EventStream, stream: IOStream, head: bytes) -> None:
        def closed() -> None:
            events.closed()
            self._live.forget(events)

        if stream.closed():
            closed()
            return
        stream.set_close_callback(closed)
        stream.set_nodelay(True)
        events.open(StreamTransport(stream, lambda code, reason: _end(stream)), head)
        self._live.adopt(events)


def _request_of(since: str | None, last: str | None) -> Request:
    """Where a stream begins.

    Raises:
        InvalidParameters: If that is no cursor.
    """
    if last:
        try:
            parse_cursor(last)
        except InvalidParameters:
            raise invalid("header", "Last-Event-ID", "should be a cursor") from None
        return Request(None, last, restarts=True)
    if since is not None and since != "now":
        parse_cursor(since, "_since")
    return Request(None, since)


def _write_head(stream: IOStream, head: bytes) -> None:
    if not stream.closed():
        stream.write(head)
        _end(stream)


def _end(stream: IOStream) -> None:
    """Close a connection after what is being written."""

    def close(future: Any) -> None:
        if not future.cancelled():
            future.exception()
        stream.close()

    if stream.writing():
        stream.write(b"").add_done_callback(close)
    else:
        stream.close()
