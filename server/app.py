"""From settings to a server that answers: the only module that knows all the others."""

import asyncio
import secrets
import socket
import string
import uuid
from collections.abc import Callable, Mapping
from importlib.metadata import version

from tornado.netutil import bind_sockets
from tornado.web import Application

from handlers.base import ApiHandler, HttpOptions
from handlers.batch import BatchEndpoint
from handlers.connections import ApiServer
from handlers.feeds import FeedEndpoint
from handlers.flush import FlushEndpoint
from handlers.hello import (
    FileEndpoint,
    HeartbeatEndpoint,
    HelloEndpoint,
    HelloOptions,
    plan_contribute,
    plan_lbheartbeat,
)
from handlers.live import LiveHandler
from handlers.objects import ListEndpoint, ObjectEndpoint, ObjectOptions
from handlers.plans import Planner
from handlers.routing import Api, LiveEndpoints
from handlers.shares import PermissionsEndpoint
from handlers.streams import StreamEndpoint
from handlers.summaries import log_request
from handlers.waits import Waits
from notifier.carrier import CarrierLimits
from notifier.feeds import FeedReader
from notifier.live import Live, LiveOptions
from notifier.session import SessionLimits
from server.auth.loader import Authentication, load_policies
from server.capabilities import describe
from server.config import Settings, StartupError
from server.core.errors import Unavailable
from server.core.paths import KINDS
from server.core.permissions import Rules
from server.core.targets import PREFIX
from server.service.default_bucket import DefaultBuckets
from server.service.lists import Lists
from server.service.pages import ListOptions
from server.storage.base import Storage, StorageError, StorageOptions
from server.storage.loader import load_backend

MESSAGES_BURST = 10
"""Seconds of its permitted rate that a client may say at once."""

SOCKET_MAX_BYTES = 4 << 20
"""Of a WebSocket message: far above what the session ends a connection for."""

FINISH_SECONDS = 18.0
"""That a stopping server waits for its last answers: longer than a write is tried."""


class Server:
    """A server that listens.

    Attributes:
        port: TCP port.
        url: root of the API, ending in ``/v1/``.
    """

    def __init__(self, http: ApiServer, live: Live, storage: Storage, host: str, port: int) -> None:
        self._http = http
        self._live = live
        self._storage = storage
        self.port = port
        shown = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/v1/"

    async def stop(self) -> None:
        """Answer what has been asked, commit what was taken, then close."""
        self._http.stop()
        await asyncio.gather(self._live.stop(), self._http.finish_requests(FINISH_SECONDS))
        # Before the storage: whoever still asks must not meet a closed one.
        await self._http.close_all_connections()
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
        app, live = await make_app(settings, storage)
        http = ApiServer(app, origins=settings.cors_origins)
        sockets += _listen(settings)
        await live.start()
    except BaseException as error:
        for one in sockets:
            one.close()
        await storage.close()
        if isinstance(error, Unavailable):
            raise StorageError(f"The changes cannot be watched: {error.message}") from error
        raise
    http.add_sockets(sockets)
    return Server(http, live, storage, settings.host, sockets[0].getsockname()[1])


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
    return Rules(settings.principals, settings.explicit_permissions)


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


async def make_app(settings: Settings, storage: Storage) -> tuple[Application, Live]:
    """The application, and what it tells live: one handler for the WebSocket, one for the rest."""
    secret = settings.userid_hmac_secret or await storage.secret("userid_hmac_secret")
    auth = load_policies(settings.policies, secret)
    api = await _make_api(settings, storage, auth)
    http = _http_options(settings)
    live = Live(storage, make_rules(settings), _live_options(settings), auth.identify, api.resolve)
    api.go_live(_live_endpoints(settings, live, api.planner))
    rest = {"api": api, "auth": auth, "options": http}
    socket = {"live": live, "planner": api.planner, "options": http, "challenges": auth.challenges}
    routes = [(f"{PREFIX}/live", LiveHandler, socket), (".*", ApiHandler, rest)]
    app = Application(routes, log_function=log_request, websocket_max_message_size=SOCKET_MAX_BYTES)
    return app, live


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


async def _make_api(settings: Settings, storage: Storage, auth: Authentication) -> Api:
    rules = make_rules(settings)
    list_options = ListOptions(
        rules,
        bytes.fromhex(await storage.secret("page_token_secret")),
        settings.paginate_by,
        settings.storage_max_fetch_size,
        settings.pagination_token_validity_seconds,
        settings.sharee_tombstones,
    )
    planner = Planner(storage, settings.error_info_link, settings.retry_after_seconds)
    options = ObjectOptions(
        rules,
        _id_makers(settings),
        settings.disabled_endpoints,
        settings.cache_expires_seconds,
        settings.storage_max_fetch_size,
    )
    lists = Lists(storage, list_options)
    defaults = None
    if "default_bucket" in settings.includes:
        defaults = DefaultBuckets(settings.default_bucket_hmac_secret)
    api = Api(
        planner,
        rules,
        ObjectEndpoint(options),
        ListEndpoint(options, lists),
        defaults,
        readonly=settings.readonly,
    )
    batch = BatchEndpoint(planner, api.plan, auth.identify, settings.batch_max_requests)
    api.add(
        {
            "/": HelloEndpoint(_hello_options(settings), rules, defaults).plan,
            "/batch": batch.plan,
            "/__heartbeat__": HeartbeatEndpoint(storage, settings.heartbeat_timeout_seconds).plan,
            "/__lbheartbeat__": plan_lbheartbeat,
            "/__version__": FileEndpoint(settings.version_json_path).plan,
            "/contribute.json": plan_contribute,
        }
    )
    if settings.experimental_permissions_endpoint:
        api.add({"/permissions": PermissionsEndpoint(list_options).plan})
    if "flush" in settings.includes:
        api.add({"/__flush__": FlushEndpoint(storage, settings.flush_principals).plan})
    return api


def _hello_options(settings: Settings) -> HelloOptions:
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
        describe(settings),
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
    return {kind: _MAKERS[getattr(settings, f"{kind}_id_generator")] for kind in KINDS}


_FIRST = string.ascii_letters + string.digits
_REST = _FIRST + "-_"


def make_name() -> str:
    """A short id: 8 characters, the first a letter or digit."""
    return secrets.choice(_FIRST) + "".join(secrets.choice(_REST) for _ in range(7))


def make_uuid() -> str:
    """A UUID, version 4."""
    return str(uuid.uuid4())


_MAKERS = {"NameGenerator": make_name, "RelaxedUUID": make_uuid, "UUID4": make_uuid}
