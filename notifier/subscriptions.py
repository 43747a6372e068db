"""One subscription, and what it needs of whoever carries its messages. Pure."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from notifier.authority import Rights
from notifier.messages import MessageId, Options
from notifier.topics import Topic
from notifier.views import Look
from notifier.wires import Wire
from server.core.errors import SyncError
from server.core.permissions import Actor


class State(Enum):
    """Where a subscription stands."""

    CATCHING_UP = auto()
    LIVE = auto()
    WAITING = auto()
    ENDED = auto()


@dataclass(slots=True)
class Request:
    """What a client asked for, until it is let in.

    Attributes:
        id: of its message, until that is answered.
        since: a cursor, ``now``, or None.
        waiting: whether it was told that it waits.
        restarts: whether a cursor that cannot be resumed is answered by a reset and a
            snapshot; else it is refused.
    """

    id: MessageId = None
    since: str | None = None
    waiting: bool = False
    restarts: bool = False


class Outlet(Protocol):
    """Carries messages to a client."""

    async def send(self, frame: bytes) -> None:
        """Take a frame, once there is room for it."""

    def put(self, frame: bytes) -> None:
        """Take a frame that must not be dropped."""

    def push(self, frame: bytes, subscription: "Subscription", prev: int) -> None:
        """Take a frame of a live subscription, whose cursor was ``prev`` before it.

        It may be dropped; then the subscription catches up from ``prev``.
        """

    def poke(self, subscription: "Subscription", position: int) -> None:
        """Hear that something visible changed."""

    def lose(self, subscription: "Subscription", error: SyncError | None) -> None:
        """Hear that the hub tells no more.

        Args:
            subscription: which; it has left the hub.
            error: why it has ended; None if it has to catch up again.
        """


class Subscription:
    """A subscription of one connection.

    Attributes:
        name: chosen by the client.
        topic: what it is about.
        options: how it is told.
        outlet: takes its messages.
        wire: spells them.
        actor: who reads.
        state: where it stands.
        request: what the client asked for; None once it was let in.
        rights: how much may be seen; None before that was read.
        cursor: position of the last message sent; None where there was none yet,
            or the client has to drop what it has.
        owes_ready: whether the client is to be told when its copy is complete.
        since_at: instant as of which it caught up; changes up to it are known.
        key: where the hub has it; None where it has not.
        label: what of it stands in a frame.
    """

    __slots__ = (
        "actor",
        "cursor",
        "key",
        "label",
        "name",
        "options",
        "outlet",
        "owes_ready",
        "request",
        "rights",
        "since_at",
        "state",
        "topic",
        "wire",
    )

    def __init__(
        self,
        name: str,
        topic: Topic,
        options: Options,
        actor: Actor,
        outlet: Outlet,
        wire: Wire,
    ) -> None:
        self.name = name
        self.topic = topic
        self.options = options
        self.actor = actor
        self.outlet = outlet
        self.wire = wire
        self.label = f"{wire.name} {name}"
        self.state = State.CATCHING_UP
        self.request: Request | None = None
        self.rights: Rights | None = None
        self.cursor: int | None = None
        self.owes_ready = False
        self.since_at = 0
        self.key: object = None

    def look(self, event_max_bytes: int) -> Look:
        """What it sees, once its rights are known."""
        assert self.rights is not None
        return Look(self.topic, self.options, self.rights, event_max_bytes)
