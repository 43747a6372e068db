"""A TCP relay before a server, that can be cut, silenced, and turned to another server."""

import contextlib
import socket
import threading
from collections.abc import Callable


class Relay:
    """Passes on what is said to a port of the loopback.

    Attributes:
        port: where it listens.
        target: port to which connections from now on lead.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener: socket.socket | None = None
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._deaf: set[socket.socket] = set()
        self.port = 0
        self.restore()

    @property
    def url(self) -> str:
        """Root of the API, through the relay."""
        return f"http://127.0.0.1:{self.port}/v1"

    def restore(self) -> None:
        """Accept connections, on the same port as before, and pass everything on."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)

    def cut(self) -> None:
        """Close every connection, and accept none."""
        if self._listener is not None:
            # Closing alone would not wake the thread that accepts.
            _shut(self._listener)
            self._listener.close()
            self._listener = None
        with self._lock:
            for end in self._ends:
                _shut(end)

    def swallow(self) -> None:
        """Pass nothing on any more over the connections that there are; new ones are whole."""
        with self._lock:
            self._deaf.update(self._ends)

    def close(self) -> None:
        """Cut every connection, for good."""
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for end in self._ends:
            end.close()

    def _spawn(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._ends += [client, server]
            if listener is not self._listener:
                # It was cut while this one came.
                _shut(client)
            self._spawn(self._pass_on, client, server)
            self._spawn(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if source not in self._deaf:
                    sink.sendall(piece)
        _shut(sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
