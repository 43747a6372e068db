"""From settings to a server that answers: the only module that knows all the others."""

import secrets
import string
import uuid
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from tornado.netutil import bind_sockets
from tornado.web import Application

from handlers.base import ApiHandler, HttpOptions
from handlers.batch import BatchEndpoint
from handlers.connections import ApiServer
from handlers.flush import FlushEndpoint
from handlers.hello import (
    FileEndpoint,
    HeartbeatEndpoint,
    HelloEndpoint,
    HelloOptions,
    plan_contribute,
    plan_lbheartbeat,
)
from handlers.objects import ListEndpoint, ObjectEndpoint, ObjectOptions
from handlers.plans import Planner
from handlers.routing import Api
from handlers.shares import PermissionsEndpoint
from handlers.summaries import log_request
from server.auth.loader import Authentication, load_policies
from server.capabilities import describe
from server.config import Settings, StartupError
from server.core.paths import KINDS
from server.core.permissions import Rules
from server.service.default_bucket import DefaultBuckets
from server.service.lists import ListOptions, Lists
from server.storage.base import Storage, StorageOptions
from server.storage.loader import load_backend

FINISH_SECONDS = 18.0
"""That a stopping server waits for its last answers: longer than a write is tried."""


class Server:
    """A server that listens.

    Attributes:
        port: TCP port.
        url: root of the API, ending in ``/v1/``.
    """

    def __init__(self, http: ApiServer, storage: Storage, host: str, port: int) -> None:
        self._http = http
        self._storage = storage
        self.port = port
        shown = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/v1/"

    async def stop(self) -> None:
        """Answer what has been asked, commit what was taken, then close."""
        self._http.stop()
        await self._http.finish_requests(FINISH_SECONDS)
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
    try:
        app = await make_app(settings, storage)
        http = ApiServer(app, origins=settings.cors_origins)
        sockets = _listen(settings)
    except BaseException:
        await storage.close()
        raise
    http.add_sockets(sockets)
    return Server(http, storage, settings.host, sockets[0].getsockname()[1])


def _listen(settings: Settings) -> list[Any]:
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


async def make_app(settings: Settings, storage: Storage) -> Application:
    """The application: one handler for every path."""
    secret = settings.userid_hmac_secret or await storage.secret("userid_hmac_secret")
    auth = load_policies(settings.policies, secret)
    api = await _make_api(settings, storage, auth)
    options = {"api": api, "auth": auth, "options": _http_options(settings)}
    return Application([(".*", ApiHandler, options)], log_function=log_request)


async def _make_api(settings: Settings, storage: Storage, auth: Authentication) -> Api:
    rules = make_rules(settings)
    list_options = ListOptions(
        rules,
        bytes.fromhex(await storage.secret("page_token_secret")),
        settings.paginate_by,
        settings.storage_max_fetch_size,
        settings.pagination_token_validity_seconds,
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
