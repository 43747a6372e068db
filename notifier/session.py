"""What one connection has said and may say: message in, effects out. Pure.

The session knows who speaks and which subscriptions there are; it neither
reads nor sends. Whoever carries the connection does what the effects say, in their
order, and tells the session what came of it.
"""

from dataclasses import dataclass, field
from typing import Any

from notifier.messages import (
    Auth,
    BadMessage,
    Hello,
    Message,
    MessageId,
    NotAMessage,
    Ping,
    Subscribe,
    Unsubscribe,
    parse_message,
    parse_subscribe,
)
from notifier.subscriptions import Subscription
from server.core.errors import RateLimited, SyncError, invalid
from server.core.permissions import Actor

BAD_MESSAGE = 4400
SILENT = 4408
TOO_LARGE = 4413
TOO_MANY = 4429

_CLOSE_FACTOR = 10
"""How many times the permitted rate ends the connection."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one connection may do.

    Attributes:
        subscriptions: at most, at a time.
        message_bytes: of one message.
        messages_per_second: in the long run.
        burst: messages at once.
    """

    subscriptions: int = 128
    message_bytes: int = 65536
    messages_per_second: float = 100
    burst: int = 1000


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message.

    Attributes:
        kind: its type.
        members: of the message.
    """

    kind: str
    members: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """Greet the client, who is ``actor`` by now."""

    id: MessageId


@dataclass(frozen=True, slots=True)
class Identify:
    """Find out who sends an ``Authorization``; tell ``Session.identified``.

    Attributes:
        authorization: as the header has it.
        cause: the message it came in.
    """

    authorization: str
    cause: Hello | Auth


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a subscription."""

    request: Subscribe


@dataclass(frozen=True, slots=True)
class End:
    """End a subscription, at its client's wish."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Recheck:
    """The actor is another: every subscription is to be checked again."""

    id: MessageId


Effect = Say | Close | Welcome | Identify | Begin | End | Recheck


@dataclass(slots=True)
class _Allowance:
    """A bucket of messages that may be sent."""

    rate: float
    burst: float
    left: float = field(init=False)
    checked: float | None = None

    def __post_init__(self) -> None:
        self.left = self.burst

    def take(self, now: float) -> bool:
        """Use up one; whether there was one."""
        if self.checked is not None:
            self.left = min(self.burst, self.left + (now - self.checked) * self.rate)
        self.checked = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Session:
    """One connection's conversation.

    Attributes:
        actor: who speaks.
        greeted: whether it said ``hello``.
        subscriptions: by name; None for one that is about to begin.
    """

    def __init__(self, limits: SessionLimits, actor: Actor) -> None:
        self._limits = limits
        self._allowed = _Allowance(limits.messages_per_second, limits.burst)
        self._tolerated = _Allowance(
            limits.messages_per_second * _CLOSE_FACTOR, limits.burst * _CLOSE_FACTOR
        )
        self.actor = actor
        self.greeted = False
        self.subscriptions: dict[str, Subscription | None] = {}

    @property
    def begun(self) -> list[Subscription]:
        """The subscriptions there are."""
        return [one for one in self.subscriptions.values() if one is not None]

    def receive(self, frame: str | bytes, now: float) -> list[Effect]:
        """What follows from a frame.

        Args:
            frame: text, or bytes of a binary one.
            now: seconds of a clock that only goes forward.
        """
        if not isinstance(frame, str):
            return [Close(BAD_MESSAGE, "binary frames mean nothing here")]
        size = len(frame) if frame.isascii() else len(frame.encode())
        if size > self._limits.message_bytes:
            words = f"a message may have {self._limits.message_bytes} bytes"
            return [Close(TOO_LARGE, words)]
        if not self._tolerated.take(now):
            return [Close(TOO_MANY, "too many messages")]
        if not self._allowed.take(now):
            return [_refuse(RateLimited("Too many messages: wait a moment."), retry_after=1)]
        try:
            return self._follow(parse_message(frame))
        except NotAMessage as error:
            return [Close(BAD_MESSAGE, str(error)[:100])]
        except BadMessage as error:
            return [_refuse(error.error, error.id, error.sub)]

    def _follow(self, message: Message) -> list[Effect]:
        if isinstance(message, Ping):
            return [Say("pong", {"id": message.id, "t": message.t})]
        if isinstance(message, Hello):
            return self._hello(message)
        if not self.greeted:
            return [_refuse(invalid("body", "type", "should be hello first"), message.id)]
        if isinstance(message, Auth):
            return [Identify(message.authorization, message)]
        if isinstance(message, Subscribe):
            return self._subscribe(message)
        return self._unsubscribe(message)

    def _hello(self, message: Hello) -> list[Effect]:
        if self.greeted:
            return [_refuse(invalid("body", "type", "hello was said before"), message.id)]
        self.greeted = True
        # Who was known before the upgrade stays who they are.
        if message.authorization is not None and not self.actor.user_id:
            return [Identify(message.authorization, message)]
        return self._greet(message)

    def _greet(self, message: Hello) -> list[Effect]:
        effects: list[Effect] = [Welcome(message.id)]
        for body in message.subscribe:
            try:
                effects += self._subscribe(parse_subscribe(body))
            except BadMessage as error:
                effects.append(_refuse(error.error, error.id, error.sub))
        return effects

    def identified(self, cause: Hello | Auth, actor: Actor) -> list[Effect]:
        """What follows from knowing who speaks."""
        self.actor = actor
        if isinstance(cause, Hello):
            return self._greet(cause)
        return [Recheck(cause.id)]

    def _subscribe(self, message: Subscribe) -> list[Effect]:
        if message.sub in self.subscriptions:
            error: SyncError = invalid("body", "sub", "is the name of another subscription")
            return [_refuse(error, message.id, message.sub)]
        if len(self.subscriptions) >= self._limits.subscriptions:
            words = f"A connection may have {self._limits.subscriptions} subscriptions."
            return [_refuse(RateLimited(words), message.id, message.sub)]
        # Its name is taken from now on: those that follow in one ``hello`` must not have it.
        self.subscriptions[message.sub] = None
        return [Begin(message)]

    def _unsubscribe(self, message: Unsubscribe) -> list[Effect]:
        found = self.subscriptions.get(message.sub)
        if found is None:
            error = invalid("body", "sub", "is no subscription")
            return [_refuse(error, message.id, message.sub)]
        del self.subscriptions[message.sub]
        told = {"id": message.id, "sub": message.sub, "code": 200}
        return [End(found), Say("unsubscribed", {**told, "reason": "unsubscribed", "purge": False})]


def describe_error(
    error: SyncError, message_id: MessageId = None, sub: str | None = None
) -> dict[str, Any]:
    """The members of an ``error``."""
    return {"id": message_id, "sub": sub, **error.body()}


def _refuse(
    error: SyncError,
    message_id: MessageId = None,
    sub: str | None = None,
    retry_after: int | None = None,
) -> Say:
    return Say("error", {**describe_error(error, message_id, sub), "retry_after": retry_after})
