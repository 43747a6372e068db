"""From settings to a server that answers: the only module that knows all the others."""

import asyncio
import secrets
import socket
import string
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from handlers.base import ApiHandler
from handlers.batch import METHODS as BATCH_METHODS
from handlers.batch import BatchEndpoint
from handlers.connections import ApiServer
from handlers.feeds import FeedEndpoint
from handlers.hello import READ_METHODS, HeartbeatEndpoint, HelloEndpoint, HelloOptions
from handlers.live import LiveHandler
from handlers.objects import ListEndpoint, ObjectEndpoint, ObjectOptions
from handlers.options import HttpOptions
from handlers.plans import Planner
from handlers.routes import Route, Routes
from handlers.routing import Api, LiveEndpoints, Offers, Prepare
from handlers.streams import StreamEndpoint
from handlers.summaries import log_request
from handlers.waits import Waits
from notifier.carrier import CarrierLimits
from notifier.feeds import FeedReader
from notifier.live import Live, LiveOptions
from notifier.session import SessionLimits
from server.auth.policies import Authentication
from server.config import Settings, StartupError
from server.core.errors import Unavailable
from server.core.paths import ALL_KINDS, KINDS
from server.core.permissions import AUTHENTICATED, Rules
from server.core.schemas import Schemas
from server.core.targets import PREFIX
from server.features.base import Context, Feature
from server.features.quotas import make_quotas
from server.features.table import make_features
from server.service.default_bucket import DefaultBuckets
from server.service.lists import Lists
from server.service.pages import ListOptions
from server.storage.base import Storage, StorageError, StorageOptions
from server.storage.loader import load_backend
from server.tasks import end_tasks

MESSAGES_BURST = 10
"""Seconds of its permitted rate that a client may say at once."""

SOCKET_MAX_BYTES = 4 << 20
"""Of a WebSocket message: far above what the session ends a connection for."""

FINISH_SECONDS = 18.0
"""That a stopping server waits for its last answers: longer than a write is tried."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a server is made of.

    Attributes:
        app: one handler for the WebSocket, one for the rest.
        live: tells of changes.
        tasks: what runs as long as the server does.
    """

    app: Application
    live: Live
    tasks: Sequence[Callable[[], Awaitable[None]]]


class Server:
    """A server that listens.

    Attributes:
        port: TCP port.
        url: root of the API, ending in ``/v1/``.
    """

    def __init__(
        self, http: ApiServer, parts: Parts, storage: Storage, address: tuple[str, int]
    ) -> None:
        """Begin what runs as long as it does.

        Args:
            http: listens.
            parts: that it is made of.
            storage: that is closed with it.
            address: host, as it was asked for, and TCP port.
        """
        host, port = address
        self._http = http
        self._live = parts.live
        self._storage = storage
        self._tasks = [asyncio.ensure_future(task()) for task in parts.tasks]
        self.port = port
        shown = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/v1/"

    async def stop(self) -> None:
        """Answer what has been asked, commit what was taken, then close."""
        self._http.stop()
        await asyncio.gather(self._live.stop(), self._http.finish_requests(FINISH_SECONDS))
        # Before the storage: whoever still asks must not meet a closed one.
        await self._http.close_all_connections()
        await end_tasks(self._tasks)
        await self._storage.close()


async def open_server(settings: Settings) -> Server:
    """Open the storage, listen, and answer.

    Raises:
        StartupError: If the address cannot be listened on.
        StorageError: If the storage cannot be opened.
    """
    storage = await open_storage(settings)
    sockets: list[socket.socket] = []
    try:
        parts = await make_app(settings, storage)
        http = ApiServer(parts.app, origins=settings.cors_origins)
        sockets += _listen(settings)
        await parts.live.start()
    except BaseException as error:
        for one in sockets:
            one.close()
        await storage.close()
        if isinstance(error, Unavailable):
            raise StorageError(f"The changes cannot be watched: {error.message}") from error
        raise
    http.add_sockets(sockets)
    return Server(http, parts, storage, (settings.host, sockets[0].getsockname()[1]))


def _listen(settings: Settings) -> list[socket.socket]:
    try:
        return bind_sockets(settings.port, settings.host)
    except OSError as error:
        raise StartupError(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}): "
            "choose another with --port or --host."
        ) from None


def make_rules(settings: Settings) -> Rules:
    """What the settings say about permissions."""
    grants = dict(settings.principals)
    if "api_keys" in settings.includes:
        grants["api_key:create"] = frozenset({AUTHENTICATED})
    quotas = make_quotas(settings.quotas) if "quotas" in settings.includes else None
    schemas = Schemas() if settings.experimental_collection_schema_validation else None
    return Rules(grants, settings.explicit_permissions, quotas, schemas)


async def open_storage(settings: Settings) -> Storage:
    """The storage that the settings name.

    Raises:
        StorageError: If it cannot be opened.
    """
    options = StorageOptions(
        make_rules(settings),
        settings.mongodb_uri or "",
        settings.mongodb_database,
        settings.mongodb_driver,
        settings.write_timeout_seconds,
        settings.retry_after_seconds,
    )
    return await load_backend(settings.storage_backend)(options)


async def make_app(settings: Settings, storage: Storage) -> Parts:
    """The application, and what it runs."""
    context = await _make_context(settings, storage)
    features = await make_features(context)
    auth = _make_authentication(settings, features)
    checks = {name: check for feature in features for name, check in feature.checks.items()}
    api = _make_api(context, features, auth, checks)
    http = _http_options(settings)
    watchers = [one for feature in features for one in feature.watchers]
    options = _live_options(settings)
    live = Live(storage, context.rules, options, auth.identify, api.resolve, watchers)
    # What is live has to know the API, which has to know what is checked.
    checks["live"] = live.check
    api.go_live(_live_endpoints(settings, live, api.planner))
    rest = {"api": api, "auth": auth, "options": http}
    socket = {"live": live, "planner": api.planner, "options": http, "challenges": auth.challenges}
    routes = [(f"{PREFIX}/live", LiveHandler, socket), (".*", ApiHandler, rest)]
    for feature in features:
        for join in feature.joins:
            join(api, live)
    log = _make_log([one for feature in features for one in feature.observers])
    app = Application(routes, log_function=log, websocket_max_message_size=SOCKET_MAX_BYTES)
    return Parts(app, live, [task for feature in features for task in feature.tasks])


def _make_log(
    observers: Sequence[Callable[[RequestHandler], None]],
) -> Callable[[RequestHandler], None]:
    """What is told of every answer; a server that nobody observes pays nothing for it."""
    if not observers:
        return log_request

    def log(handler: RequestHandler) -> None:
        log_request(handler)
        for observe in observers:
            observe(handler)

    return log


async def _make_context(settings: Settings, storage: Storage) -> Context:
    rules = make_rules(settings)
    list_options = ListOptions(
        rules,
        bytes.fromhex(await storage.secret("page_token_secret")),
        settings.paginate_by,
        settings.storage_max_fetch_size,
        settings.pagination_token_validity_seconds,
        settings.sharee_tombstones,
    )
    defaults = None
    if "default_bucket" in settings.includes:
        defaults = DefaultBuckets(settings.default_bucket_hmac_secret)
    return Context(
        settings,
        storage,
        rules,
        Planner(storage, settings.error_info_link, settings.retry_after_seconds),
        Lists(storage, list_options),
        defaults,
        settings.userid_hmac_secret or await storage.secret("userid_hmac_secret"),
    )


def _make_authentication(settings: Settings, features: Sequence[Feature]) -> Authentication:
    """The policies in the order of the settings, after those that these do not name."""
    policies = {name: one for feature in features for name, one in feature.policies.items()}
    first = [one for name, one in policies.items() if name not in settings.policies]
    return Authentication([*first, *(policies[name] for name in settings.policies)])


def _live_endpoints(settings: Settings, live: Live, planner: Planner) -> LiveEndpoints:
    event_max = settings.live_event_max_bytes
    reader = FeedReader(live.surveyor, event_max, settings.storage_max_fetch_size)
    return LiveEndpoints(
        StreamEndpoint(live, settings.disabled_endpoints),
        Waits(live, planner),
        FeedEndpoint(planner, reader),
    )


def _live_options(settings: Settings) -> LiveOptions:
    rate = settings.live_messages_per_second
    return LiveOptions(
        settings.live_event_max_bytes,
        settings.live_hello_seconds,
        settings.live_ping_seconds,
        SessionLimits(
            settings.live_max_subscriptions,
            settings.live_message_max_bytes,
            rate,
            rate * MESSAGES_BURST,
        ),
        CarrierLimits(
            settings.live_outbox_max_messages,
            settings.live_outbox_max_bytes,
            settings.live_stalled_seconds,
            settings.live_heartbeat_seconds,
        ),
        settings.eos.timestamp() if settings.eos else None,
    )


def _make_api(
    context: Context,
    features: Sequence[Feature],
    auth: Authentication,
    checks: Mapping[str, Callable[[], Awaitable[bool]]],
) -> Api:
    settings, rules, planner = context.settings, context.rules, context.planner
    options = ObjectOptions(
        rules,
        _id_makers(settings),
        settings.disabled_endpoints,
        settings.cache_expires_seconds,
        settings.storage_max_fetch_size,
    )
    kinds: dict[str, Prepare | None] = dict.fromkeys(KINDS)
    routes = Routes()
    for feature in features:
        kinds.update(feature.kinds)
        for route in feature.routes:
            routes.add(route)
    offers = Offers(
        ObjectEndpoint(options),
        ListEndpoint(options, context.lists),
        routes,
        kinds,
        context.defaults,
        settings.readonly,
    )
    api = Api(planner, rules, offers)
    batch = BatchEndpoint(planner, api.plan, auth.identify, settings.batch_max_requests)
    hello = HelloEndpoint(_hello_options(settings, features), rules, context.defaults)
    heartbeat = HeartbeatEndpoint(context.storage, checks, settings.heartbeat_timeout_seconds)
    for path, methods, plan, about, tag in (
        ("/", READ_METHODS, hello.plan, {"GET": "Tell what this server is and can"}, "Hello"),
        ("/batch", BATCH_METHODS, batch.plan, {"POST": "Do many requests at once"}, "Batch"),
        ("/__heartbeat__", READ_METHODS, heartbeat.plan, {"GET": "Tell how it is"}, "Operation"),
    ):
        routes.add(Route(path, methods, plan, about, tag, is_open=True))
    return api


def _hello_options(settings: Settings, features: Sequence[Feature]) -> HelloOptions:
    capabilities = {name: one for feature in features for name, one in feature.capabilities.items()}
    return HelloOptions(
        {
            "project_name": settings.project_name,
            "project_version": settings.project_version or version("kintoun"),
            "project_docs": settings.project_docs,
        },
        {
            "batch_max_requests": settings.batch_max_requests,
            "readonly": settings.readonly,
            "explicit_permissions": settings.explicit_permissions,
        },
        dict(sorted(capabilities.items())),
        _spell_eos(settings),
        settings.root_cache_expires_seconds,
    )


def _spell_eos(settings: Settings) -> str:
    if settings.eos is None:
        return ""
    return settings.eos.isoformat().removesuffix("+00:00").removesuffix("T00:00:00")


def _http_options(settings: Settings) -> HttpOptions:
    slash = settings.trailing_slash_redirect_ttl_seconds
    prefix = settings.version_prefix_redirect_ttl_seconds
    alert = {"message": settings.eos_message, "url": settings.eos_url}
    return HttpOptions(
        origins=settings.cors_origins,
        cors_seconds=settings.cors_max_age_seconds,
        body_max_bytes=settings.max_body_bytes,
        host=settings.http_host,
        scheme=settings.http_scheme,
        slash_seconds=slash if settings.trailing_slash_redirect_enabled else None,
        version_seconds=prefix if settings.version_prefix_redirect_enabled else None,
        backoff=settings.backoff,
        backoff_percentage=settings.backoff_percentage,
        alert={k: v for k, v in alert.items() if v} if settings.eos else {},
        eos=settings.eos.timestamp() if settings.eos else None,
    )


def _id_makers(settings: Settings) -> Mapping[str, Callable[[], str]]:
    made = {kind: _MAKERS[getattr(settings, f"{kind}_id_generator")] for kind in KINDS}
    return {**dict.fromkeys(ALL_KINDS, make_name), **made}


_FIRST = string.ascii_letters + string.digits
_REST = _FIRST + "-_"


def make_name() -> str:
    """A short id: 8 characters, the first a letter or digit."""
    return secrets.choice(_FIRST) + "".join(secrets.choice(_REST) for _ in range(7))


def make_uuid() -> str:
    """A UUID, version 4."""
    return str(uuid.uuid4())


_MAKERS = {"NameGenerator": make_name, "RelaxedUUID": make_uuid, "UUID4": make_uuid}
