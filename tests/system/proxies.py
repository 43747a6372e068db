"""A TCP proxy before a mongod that reads the names of the commands, and can hold one back."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_FIRST_NAME = 16 + 4 + 1 + 4 + 1
"""Header, flags, kind of the first section, length of its document, type of its first field."""

_CHATTER = {"hello", "ping", "endSessions", "isMaster", "ismaster"}
"""The drivers' own."""


class MongoProxy:
    """Passes on what is said to the mongod on a port of the loopback.

    Attributes:
        uri: of the proxy, for a driver that speaks to nobody else.
        held: is set once the command to be held has come.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._commands: list[str] = []
        self._hold: str | None = None
        self._pass = 0
        self._released = threading.Event()
        self.held = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}/?directConnection=true"
        self._spawn(self._accept)

    def _spawn(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._upstream))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            self._spawn(self._ask, client, server)
            self._spawn(self._answer, server, client)

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on messages one by one."""
        with contextlib.suppress(OSError), client.makefile("rb") as stream:
            while header := stream.read(_HEADER.size):
                message = header + stream.read(_HEADER.unpack(header)[0] - _HEADER.size)
                name = command_name(message)
                if name not in _CHATTER:
                    self._commands.append(name)
                if name == self._hold:
                    self._wait_for_release()
                server.sendall(message)
        _shut(server)

    def _wait_for_release(self) -> None:
        if self._pass:
            self._pass -= 1
            return
        self.held.set()
        self._released.wait()

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(65536):
                client.sendall(piece)
        _shut(client)

    def take_commands(self) -> list[str]:
        """The names of the commands since the last time, but for those that wait for changes."""
        taken, self._commands = self._commands, []
        return [name for name in taken if name != "getMore"]

    def hold(self, name: str, *, after: int = 0) -> None:
        """Hold back the commands of that name, but for the first few, until they are released."""
        self._pass = after
        self._hold = name

    def release(self) -> None:
        """Pass on what was held back, and hold back no more."""
        self._hold = None
        self._released.set()

    def close(self) -> None:
        """Cut every connection."""
        self.release()
        _shut(self._listener)
        for end in self._sockets:
            _shut(end)
        for thread in self._threads:
            thread.join(10)
        for end in (self._listener, *self._sockets):
            end.close()


def command_name(message: bytes) -> str:
    """The name of the command in a message of MongoDB's wire protocol; "" if it is none."""
    if _HEADER.unpack_from(message)[3] != _OP_MSG:
        return "hello"
    return message[_FIRST_NAME : message.index(b"\0", _FIRST_NAME)].decode()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
