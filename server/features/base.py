"""What a feature is: a part of the server that is made of settings, and may be switched off.

A feature is a function that gets a ``Context`` and gives a ``Feature``, or None
where it is switched off; ``server.features.table`` lists them all.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tornado.web import RequestHandler

from handlers.plans import Planner
from handlers.routes import Route
from handlers.routing import Api, Prepare
from notifier.live import Live
from notifier.pump import Watcher
from server.auth.base import Authenticator
from server.config import Settings
from server.core.permissions import Rules
from server.service.default_bucket import DefaultBuckets
from server.service.lists import Lists
from server.storage.base import Storage


@dataclass(frozen=True, slots=True)
class Context:
    """What features are made of.

    Attributes:
        settings: all of them.
        storage: of everything.
        rules: about permissions.
        planner: carries out plans.
        lists: reads lists.
        defaults: tells whose the default buckets are; None where there are none.
        secret: from which ids of users are made.
    """

    settings: Settings
    storage: Storage
    rules: Rules
    planner: Planner
    lists: Lists
    defaults: DefaultBuckets | None
    secret: str


@dataclass(frozen=True, slots=True)
class Feature:
    """What a feature adds to the server.

    Attributes:
        routes: its endpoints.
        kinds: of objects that it serves, and what is done first with their requests.
        policies: ways to authenticate, by the name that the settings give them; one
            that they do not name is asked before all others.
        capabilities: what the hello view says of it, by name.
        watchers: what is told of every change.
        checks: parts of the heartbeat, by name.
        tasks: what runs as long as the server does; is cancelled in the end.
        joins: are called once, when all is made, before the first request.
        observers: are told of every request that was answered.
    """

    routes: Sequence[Route] = ()
    kinds: Mapping[str, Prepare | None] = field(default_factory=dict)
    policies: Mapping[str, Authenticator] = field(default_factory=dict)
    capabilities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    watchers: Sequence[Watcher] = ()
    checks: Mapping[str, Callable[[], Awaitable[bool]]] = field(default_factory=dict)
    tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    joins: Sequence[Callable[[Api, Live], None]] = ()
    observers: Sequence[Callable[[RequestHandler], None]] = ()


MakeFeature = Callable[[Context], Awaitable[Feature | None]]
"""Makes a feature; None where it is switched off."""
