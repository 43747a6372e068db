"""How much is being told, and to how many: figures of the live part at an instant."""

from dataclasses import dataclass, field

from notifier.connection import Connection
from notifier.live import Live


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """Of one process.

    Attributes:
        connections: open ones, by transport: ``websocket``, ``sse``, ``longpoll``.
        subscriptions: that are told of changes, or wait to be let in.
        messages: that wait for each socket.
        message_bytes: of those.
        well: whether changes are read.
    """

    connections: dict[str, int]
    subscriptions: int
    messages: list[int] = field(default_factory=list)
    message_bytes: list[int] = field(default_factory=list)
    well: bool = True


def measure(live: Live) -> LiveFigures:
    """Count what there is now."""
    clients = list(live.clients)
    sockets = sum(isinstance(one, Connection) for one in clients)
    streams = len(clients) - sockets
    connections = {"websocket": sockets, "sse": streams, "longpoll": len(live.waiters)}
    return LiveFigures(
        connections,
        live.hub.count,
        [one.outbox.waiting for one in clients],
        [one.outbox.waiting_bytes for one in clients],
        live.pump is not None and live.pump.well,
    )
