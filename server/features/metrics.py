"""``/__metrics__``: what this process has done, as Prometheus reads it."""

from handlers.hello import READ_METHODS
from handlers.metrics import Metrics, MetricsEndpoint, MetricsOptions, RequestFigures, find_prefix
from handlers.routes import Route
from handlers.routing import Api
from notifier.live import Live
from server.config import Settings
from server.features.base import Context, Feature
from server.features.docs import our_docs


async def make(context: Context) -> Feature | None:
    """Where it is named among the features."""
    settings = context.settings
    if "prometheus" not in settings.includes:
        return None
    options = _options(settings)
    requests = RequestFigures(settings.metrics.bounds)
    metrics = Metrics(options, requests, context.storage.figures)
    endpoint = MetricsEndpoint(metrics, settings.metrics.readers)

    def join(api: Api, live: Live) -> None:
        requests.join(api)
        metrics.join(live)

    about = {"GET": "Tell what this process has done, as Prometheus reads it"}
    return Feature(
        routes=[Route("/__metrics__", READ_METHODS, endpoint.plan, about, "Operation")],
        capabilities={
            "prometheus": {
                "description": "What each process has done can be read by Prometheus.",
                "url": our_docs("how-to/monitoring.html"),
                "prefix": options.prefix,
                "disabled_metrics": list(settings.metrics.disabled),
            }
        },
        joins=[join],
        observers=[requests.observe],
    )


def _options(settings: Settings) -> MetricsOptions:
    given = settings.metrics
    prefix = find_prefix(settings.project_name if given.prefix is None else given.prefix)
    disabled = frozenset(one.replace("-", "_").removeprefix(prefix) for one in given.disabled)
    return MetricsOptions(prefix, disabled, given.has_created)
