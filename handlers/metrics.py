"""GET /__metrics__: what this process has done, as Prometheus reads it.

Numbers are kept here as plain ones and become metrics when somebody asks: counting a
request costs a look into two dictionaries.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric, SummaryMetricFamily
from tornado.web import RequestHandler

from handlers.messages import ApiRequest, ApiResponse
from handlers.plans import Plan
from handlers.routes import Place
from handlers.routing import Api
from notifier.figures import measure
from notifier.live import Live
from server.core.errors import SyncError
from server.core.figures import SECONDS_BOUNDS, Distribution, StorageFigures
from server.core.permissions import refuse
from server.core.targets import PREFIX, decode_path
from server.storage.base import Change

UNKNOWN = "unknown"
"""Stands for the endpoint of what has none: what strangers ask for must not become labels."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def find_prefix(name: str) -> str:
    """What the names of metrics begin with, ``_`` at its end; empty for none.

    Consoles group metrics by what comes before the first ``_``, so there is none in it.
    """
    word = "".join(one for one in name.lower() if one.isascii() and one.isalnum())
    return f"{word}_" if word else ""


class RequestFigures:
    """Counts requests, once it knows the endpoints."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin.

        Args:
            bounds: by which durations are counted, in seconds.
        """
        self._bounds = bounds
        self._api: Api | None = None
        self.answers: dict[tuple[str, str, str], int] = {}
        self.seconds: dict[tuple[str, str], Distribution] = {}
        self.sizes: dict[tuple[str, str], list[int]] = {}
        self.users: dict[str, int] = {}

    def join(self, api: Api) -> None:
        """Tell endpoints apart by these."""
        self._api = api

    def observe(self, handler: RequestHandler) -> None:
        """Count a request that was answered."""
        request = handler.request
        method = (request.method or "").lower()
        if method.upper() not in _METHODS:
            method = UNKNOWN
        endpoint = self._endpoint(request.path)
        status = str(handler.get_status())
        key = method, endpoint
        counted = method, endpoint, status
        self.answers[counted] = self.answers.get(counted, 0) + 1
        if not _waits(request.query, request.headers.get("Prefer")):
            if key not in self.seconds:
                self.seconds[key] = Distribution(self._bounds)
            self.seconds[key].add(request.request_time())
        size = self.sizes.setdefault(key, [0, 0])
        size[0] += 1
        size[1] += int(handler._headers.get("Content-Length", 0))
        policy = getattr(handler, "summary", {}).get("authn_type")
        if policy:
            self.users[policy] = self.users.get(policy, 0) + 1

    def _endpoint(self, path: str) -> str:
        if not path.startswith(PREFIX + "/") or self._api is None:
            return UNKNOWN
        own = path[len(PREFIX) :]
        if own == "/live":
            return own
        try:
            return self._api.template(decode_path(own)) or UNKNOWN
        except SyncError:
            return UNKNOWN


def _waits(query: str, prefer: str | None) -> bool:
    """Whether a request may have been held: its duration says nothing of the server."""
    return "_wait=" in query or (prefer is not None and "wait" in prefer)


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    """What the operator has set.

    Attributes:
        prefix: of the names, with ``_`` at its end.
        disabled: names without it that are left out.
        has_created: whether it is told since when metrics are counted.
    """

    prefix: str
    disabled: frozenset[str] = frozenset()
    has_created: bool = True


class Metrics:
    """What is told, of everything that is counted; a collector of Prometheus's client."""

    def __init__(
        self, options: MetricsOptions, requests: RequestFigures, storage: StorageFigures
    ) -> None:
        """Begin to count.

        Args:
            options: what the operator has set.
            requests: their figures.
            storage: its figures.
        """
        self._options = options
        self._requests = requests
        self._storage = storage
        self._live: Live | None = None
        self._lag = Distribution(SECONDS_BOUNDS)
        self._since = time.time()

    def join(self, live: Live) -> None:
        """Count what is told of changes, too."""
        self._live = live
        live.told = self._told

    def _told(self, change: Change) -> None:
        self._lag.add(max(0.0, time.time() - change.revision.date / 1000))

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        parts: tuple[Callable[[], Iterable[Metric]], ...] = (
            self._of_requests,
            self._of_storage,
            self._of_live,
        )
        for part in parts:
            for metric in part():
                if metric.name.removeprefix(self._options.prefix) not in self._options.disabled:
                    yield metric

    def _of_requests(self) -> Iterator[Metric]:
        figures = self._requests
        answers = list(figures.answers.items())
        yield self._counter(
            "request_summary", "Requests answered", ("method", "endpoint", "status"), answers
        )
        seconds = self._histogram(
            "request_duration_seconds", "Until the answer", ("method", "endpoint")
        )
        for labels, distribution in list(figures.seconds.items()):
            self._spread(seconds, labels, distribution)
        yield seconds
        sizes = SummaryMetricFamily(
            self._options.prefix + "request_size",
            "Bytes of the bodies of answers",
            labels=("method", "endpoint"),
        )
        for labels, (count, total) in list(figures.sizes.items()):
            sizes.add_metric(labels, count, total)
            self._date(sizes, labels)
        yield sizes
        users = [((policy,), count) for policy, count in list(figures.users.items())]
        yield self._counter("authentication", "Requests of users by policy", ("type",), users)

    def _of_storage(self) -> Iterator[Metric]:
        figures = self._storage
        for name, about, distribution in (
            ("ledger_group_commands", "Commands committed together", figures.group_sizes),
            ("ledger_commit_seconds", "Until a group is committed", figures.group_seconds),
        ):
            family = self._histogram(name, about)
            self._spread(family, (), distribution)
            yield family
        for name, about, count in (
            ("ledger_retries", "Attempts to commit that failed", figures.retries),
            ("storage_snapshots", "Instants that were read", figures.snapshots),
        ):
            yield self._counter(name, about, (), [((), count)])

    def _of_live(self) -> Iterator[Metric]:
        if self._live is None:
            return
        figures = measure(self._live)
        lag = self._histogram("live_lag_seconds", "From a write until its subscribers are told")
        self._spread(lag, (), self._lag)
        yield lag
        connections = self._gauge("live_connections", "Open now", ("transport",))
        for transport, count in figures.connections.items():
            connections.add_metric((transport,), count)
        yield connections
        for name, about, value in (
            (
                "live_subscriptions",
                "Told of changes, or waiting to be let in",
                figures.subscriptions,
            ),
            ("live_reading", "1 while changes are read", int(figures.well)),
            ("live_outbox_messages", "Waiting for sockets", sum(figures.messages)),
            ("live_outbox_messages_max", "Of one socket", max(figures.messages, default=0)),
            ("live_outbox_bytes", "Of those messages", sum(figures.message_bytes)),
            ("live_outbox_bytes_max", "Of one socket", max(figures.message_bytes, default=0)),
        ):
            gauge = self._gauge(name, about)
            gauge.add_metric((), value)
            yield gauge

    def _counter(
        self,
        name: str,
        about: str,
        labels: Sequence[str],
        counts: Iterable[tuple[Sequence[str], int]],
    ) -> CounterMetricFamily:
        family = CounterMetricFamily(self._options.prefix + name, about, labels=labels)
        for values, count in counts:
            since = self._since if self._options.has_created else None
            family.add_metric(values, count, created=since)
        return family

    def _histogram(
        self, name: str, about: str, labels: Sequence[str] = ()
    ) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._options.prefix + name, about, labels=labels)

    def _gauge(self, name: str, about: str, labels: Sequence[str] = ()) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._options.prefix + name, about, labels=labels)

    def _spread(
        self, family: HistogramMetricFamily, labels: Sequence[str], distribution: Distribution
    ) -> None:
        below = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(
            (*distribution.bounds, float("inf")), distribution.counts, strict=True
        ):
            below += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), below))
        family.add_metric(labels, buckets, distribution.sum)
        self._date(family, labels)

    def _date(self, family: Metric, labels: Sequence[str]) -> None:
        if self._options.has_created:
            names: Sequence[str] = family._labelnames  # type: ignore[attr-defined]
            family.add_sample(
                family.name + "_created", dict(zip(names, labels, strict=True)), self._since
            )


class MetricsEndpoint:
    """Plans ``/__metrics__``."""

    def __init__(self, metrics: Metrics, principals: frozenset[str]) -> None:
        """Begin.

        Args:
            metrics: that are told, beside those of the process itself.
            principals: who may ask.
        """
        self._principals = principals
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(metrics)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def plan(self, request: ApiRequest, _: Place) -> Plan:
        """The metrics, as text.

        Raises:
            SyncError: If somebody else asks.
        """
        if request.actor.principals.isdisjoint(self._principals):
            raise refuse(request.actor)
        encode, content_type = choose_encoder(request.headers.get("Accept") or "")

        async def alone() -> ApiResponse:
            headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
            return ApiResponse(200, encode(self._registry), headers)

        # No JSON: it cannot be a part of a batch.
        return Plan(alone=alone, solitary=True)
