"""Faults of a network, made on purpose: a TCP proxy between a driver and MongoDB.

It reads the messages that pass (MongoDB's wire protocol, OP_MSG) well enough
to know which command one carries and which reply belongs to it. Clients must
connect with ``directConnection=true``, or they go round it.
"""

import asyncio
import struct
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import bson

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_CHATTER = frozenset({"hello", "ismaster", "isMaster", "ping", "endSessions", "saslStart"})


class Loss(Enum):
    """What happens to a command; in each case both connections are closed."""

    REQUEST = "it never arrives"
    REPLY = "it is carried out, and its reply is lost"


@dataclass(slots=True)
class Hold:
    """A command that is held back on its way to the server.

    Attributes:
        arrived: set when there is one.
        released: set it to let it go on.
    """

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class _Link:
    """A client's connection and the one to the server that belongs to it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    doomed: set[int] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, *pumps: Coroutine[Any, Any, None]) -> None:
        """Forward until one side ends, or somebody ends it; then close both."""
        tasks = [asyncio.ensure_future(one) for one in (*pumps, self.ended.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in (self.client, self.server):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class FaultyNetwork:
    """A proxy before a MongoDB, in the running event loop.

    Attributes:
        commands: names of those that passed, in order, without heartbeats and the like.
    """

    def __init__(self, host: str, port: int) -> None:
        self.commands: list[str] = []
        self._target = (host, port)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._connecting = 0
        self._losses: dict[str, list[Loss]] = {}
        self._holds: dict[str, Hold] = {}

    @property
    def uri(self) -> str:
        """Where clients connect."""
        return f"mongodb://127.0.0.1:{self._port}/?directConnection=true"

    async def restore(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Close every connection, and accept none."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        while self._links or self._connecting:
            for link in self._links:
                link.ended.set()
            await asyncio.sleep(0)

    def lose(self, command: str, loss: Loss, times: int = 1) -> None:
        """Lose the next commands of a name."""
        self._losses[command] = [loss] * times

    def hold(self, command: str) -> Hold:
        """Hold the next command of a name until it is released."""
        self._holds[command] = Hold()
        return self._holds[command]

    async def _connect(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self._connecting += 1
        try:
            from_server, server = await asyncio.open_connection(*self._target)
        finally:
            self._connecting -= 1
        link = _Link(client, server)
        self._links.add(link)
        await link.run(
            self._forward_requests(reader, link), self._forward_replies(from_server, link)
        )
        self._links.discard(link)

    async def _forward_requests(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while (message := await _read_message(reader)) is not None:
            name = _command_of(message)
            if name is not None:
                self.commands.append(name)
                if name in self._holds:
                    hold = self._holds.pop(name)
                    hold.arrived.set()
                    await hold.released.wait()
                if not self._let_through(name, message, link):
                    return
            link.server.write(message)

    def _let_through(self, name: str, message: bytes, link: _Link) -> bool:
        losses = self._losses.get(name)
        if not losses:
            return True
        loss = losses.pop()
        if loss is Loss.REPLY:
            link.doomed.add(_HEADER.unpack_from(message)[1])
        return loss is Loss.REPLY

    async def _forward_replies(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while (message := await _read_message(reader)) is not None:
            if _HEADER.unpack_from(message)[2] in link.doomed:
                return
            link.client.write(message)


async def _read_message(reader: asyncio.StreamReader) -> bytes | None:
    """The next message of the wire protocol; None at the end."""
    try:
        length = await reader.readexactly(4)
        return length + await reader.readexactly(int.from_bytes(length, "little") - 4)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _command_of(message: bytes) -> str | None:
    """The name of the command that a message carries; None for heartbeats and the like."""
    if _HEADER.unpack_from(message)[3] != _OP_MSG:
        return None
    for body in _bodies(message):
        name = next(iter(body))
        return None if name in _CHATTER else name
    return None


def _bodies(message: bytes) -> Iterator[dict[str, Any]]:
    """The sections of kind 0; there is one."""
    at = _HEADER.size + 4
    while at < len(message) - 4:
        kind, size = message[at], int.from_bytes(message[at + 1 : at + 5], "little")
        if kind == 0:
            yield bson.decode(message[at + 1 : at + 1 + size])
        at += 1 + size
