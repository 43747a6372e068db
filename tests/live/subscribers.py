"""Subscribers over WebSocket: they are cut off, dawdle, come back, and remember all they heard."""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from tests.live.copies import Broken, Copy, Message, Topic
from tests.live.sockets import EventStream, Lost, WebSocket
from tests.live.writers import Markers

_IDLE_SECONDS = 0.02
GIVE_UP_SECONDS = 30.0


@dataclass(frozen=True)
class Wish:
    """A subscription that somebody wants.

    Attributes:
        topic: what it is about.
        options: further members of ``subscribe``.
    """

    topic: Topic
    options: Message

    @property
    def pokes(self) -> bool:
        return self.options.get("deliver") == "poke"


@dataclass(frozen=True)
class Temper:
    """How a subscriber behaves.

    Attributes:
        slow: whether it stops reading at times.
        patience: messages between two cuts of its connection, about; 0 for no cuts.
        fickle: how often it ends a subscription and begins it again, for each message.
        events: whether it has one subscription, by Server-Sent Events.
    """

    slow: bool = False
    patience: int = 0
    fickle: float = 0.0
    events: bool = False


class Subscriber:
    """One user's connection with some subscriptions, made again whenever it is cut.

    Attributes:
        user: name; "" is an anonymous one.
        wishes: by the name of the subscription.
        copies: of each.
        transcript: names, and the messages each copy heard, in order.
    """

    def __init__(
        self, user: str, wishes: dict[str, Wish], temper: Temper, rng: random.Random
    ) -> None:
        self.user = user
        self.wishes = wishes
        self.temper = temper
        self.copies = {name: Copy(wish.topic) for name, wish in wishes.items()}
        self.transcript: list[tuple[str, Message]] = []
        self._rng = rng
        self._markers: Markers | None = None
        self.closes: list[int | None] = []
        self._asked = 0
        self._broken = False
        self._finished = False
        self._leaving: dict[str, str] = {}
        self._again: dict[str, float] = {}

    def finish(self, markers: Markers) -> None:
        """From now on it is not cut any more, and ends once it has heard all."""
        self._markers = markers

    def missing(self) -> list[str]:
        """Subscriptions that have not heard the last words yet."""
        if not self._finished:
            missing = [name for name in self.copies if not self._has_all(name)]
            self._finished = self._broken or not missing
        return [] if self._finished else missing

    def _has_all(self, name: str) -> bool:
        if self._markers is None:
            return False
        copy, wish = self.copies[name], self.wishes[name]
        uri, last_modified = self._markers[wish.topic.path]
        if wish.pokes:
            return copy.consistent
        return copy.consistent and copy.state.get(uri, {}).get("last_modified") == last_modified

    async def run(self, urls: list[str]) -> None:
        """Until everything was heard after ``finish``."""
        while self.missing():
            try:
                await self._connect(self._rng.choice(urls))
            except Lost:
                await asyncio.sleep(_IDLE_SECONDS)

    async def _connect(self, url: str) -> None:
        if self.temper.events:
            await self._open_stream(url)
            return
        link = await WebSocket.open(url, self.user, narrow=self.temper.slow)
        try:
            bodies = [self._begin(name) for name in self.copies]
            self._rng.shuffle(bodies)
            link.send({"type": "hello", "subscribe": bodies})
            await self._listen(link)
        finally:
            link.abort()
            self._leaving.clear()
            self._again.clear()
            for name in self.copies:
                self._hear(name, {"type": "cut"})

    async def _open_stream(self, url: str) -> None:
        ((name, wish),) = self.wishes.items()
        since = self._begin(name).get("since")
        # The header overrides the query, and is never refused for being too old.
        last = since if since is not None and self._rng.random() < 0.5 else None
        target = _stream_target(wish, None if last else since)
        link: EventStream | None = None
        try:
            slow = self.temper.slow
            link = await EventStream.open(url, self.user, target, last, narrow=slow)
            if link.status == 200:
                await self._listen(link)
            else:
                code = 404 if link.status == 204 else link.status
                self._hear(name, {"type": "error", "code": code})
                await asyncio.sleep(2 * _IDLE_SECONDS)
        finally:
            if link is not None:
                link.abort()
            self._hear(name, {"type": "cut"})

    def _begin(self, name: str) -> Message:
        wish, since = self.wishes[name], self.copies[name].cursor
        self._hear(name, {"type": "begin", "since": since})
        body: Message = {"sub": name, "path": wish.topic.target, **wish.options}
        return body if since is None else body | {"since": since}

    def _hear(self, name: str, message: Message) -> None:
        if self._broken:
            return
        self.transcript.append((name, message))
        try:
            self.copies[name].hear(message)
        except Broken:
            # The judge comes to it again, and tells it with all that happened.
            self._broken = True

    async def _listen(self, link: WebSocket | EventStream) -> None:
        patience = self.temper.patience
        left = self._rng.randint(0, 2 * patience) if patience else 1 << 60
        deadline = asyncio.get_running_loop().time() + self._rng.random()
        reading: asyncio.Future[Message | None] | None = None
        try:
            while self.missing():
                reading = reading or asyncio.ensure_future(link.read())
                await asyncio.wait([reading], timeout=_IDLE_SECONDS)
                if isinstance(link, WebSocket):
                    self._subscribe_again(link)
                over = patience and asyncio.get_running_loop().time() > deadline
                if self._markers is None and (left <= 0 or over):
                    return
                if reading.done():
                    message, reading = reading.result(), None
                    if message is None:
                        # 1012: the server restarts; all else has a reason in its log.
                        self.closes.append(link.code)
                        return
                    left -= 1
                    self._receive(message)
                    if isinstance(link, WebSocket):
                        self._waver(link)
                    if self.temper.slow and self._rng.random() < 0.05:
                        await asyncio.sleep(self._rng.random() * 0.3)
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def _receive(self, message: Message) -> None:
        name = next(iter(self.copies)) if self.temper.events else message.get("sub")
        if message["type"] == "unsubscribed" and "id" in message:
            self._again[self._leaving.pop(message["id"])] = 0
        elif message["type"] == "error" and message.get("id") in self._leaving:
            self._again[self._leaving.pop(message["id"])] = 0
        elif name is not None:
            self._hear(name, message)
            if not self.copies[name].subscribed and name not in self._leaving.values():
                self._again[name] = asyncio.get_running_loop().time() + 0.05 * self._rng.random()

    def _subscribe_again(self, link: WebSocket) -> None:
        now = asyncio.get_running_loop().time()
        for name in [one for one, due in self._again.items() if due <= now]:
            del self._again[name]
            link.send({"type": "subscribe", **self._begin(name)})

    def _waver(self, link: WebSocket) -> None:
        if self._markers is None and self._rng.random() < self.temper.fickle:
            idle = [n for n in self.copies if n not in (*self._leaving.values(), *self._again)]
            if idle:
                self._leave(link, self._rng.choice(idle))

    def _leave(self, link: WebSocket, name: str) -> None:
        self._asked += 1
        self._leaving[str(self._asked)] = name
        link.send({"type": "unsubscribe", "id": str(self._asked), "sub": name})


def _stream_target(wish: Wish, since: str | None) -> str:
    """Path and query of a stream."""
    options = {f"_{k}": v for k, v in wish.options.items() if k != "on_denied"}
    if "_include" in options:
        options["_include"] = ",".join(options["_include"])
    if since is not None:
        options["_since"] = since
    query = "&".join(f"{k}={v}" for k, v in options.items())
    target = wish.topic.target
    return f"{target}{'&' if '?' in target else '?'}{query}" if query else target


def describe(message: Message, width: int = 300) -> str:
    """A message as a line."""
    hidden = ("sub", "type", "resource_name", "user_id", "old", "permissions", "data", "message")
    shown: Any = {k: v for k, v in message.items() if k not in hidden}
    data = message.get("data")
    if isinstance(data, list):
        shown["data"] = [_brief(one) for one in data]
    elif data is not None:
        shown["data"] = _brief(data)
    words = " ".join(f"{k}={v}" for k, v in shown.items())
    return f"{message['type']} {words}"[:width]


def _brief(data: Message) -> Message:
    return {k: v for k, v in data.items() if k != "pad"}
