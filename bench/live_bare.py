"""The limits of a live server: ``send(2)`` in a loop, and a Tornado WebSocket that says nothing.

Run as ``python -m bench.live_bare send`` or ``... tornado``; prints its port on the
first line. The first lets whoever connects upgrade, and then sends as each line on its
input, a ``Load`` as JSON, tells; it answers by a ``Cost``.
"""

import asyncio
import json
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket
import uvloop

from notifier.wires import make_frame

_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
_SEND_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Attributes:
        text: of one event.
        together: how many of them in one call.
        rounds: how often to every socket.
        pause: seconds between two rounds.
    """

    text: str
    together: int
    rounds: int
    pause: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What sending cost, in seconds.

    Attributes:
        calls: of ``send``.
        cpu: of the process, user and system.
        seconds: by the clock.
    """

    calls: int
    cpu: float
    seconds: float


class Bare:
    """Sockets, and nothing else."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []

    def run(self) -> None:
        """Accept, and send as told, until the input ends."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(0, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == 0:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    cost = self._send(Load(**json.loads(line)))
                    print(json.dumps(asdict(cost)), flush=True)
                else:
                    self._accept()

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += accepted.recv(4096)
        accepted.send(_UPGRADED)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setblocking(False)
        self._sockets.append(accepted)

    def _send(self, load: Load) -> Cost:
        chunk = make_frame(load.text.encode()) * load.together
        size, sockets = len(chunk), self._sockets
        start, used = time.monotonic(), time.process_time()
        for number in range(1, load.rounds + 1):
            for one in sockets:
                try:
                    sent = one.send(chunk)
                except BlockingIOError:
                    sent = 0
                if sent < size:
                    _finish(one, chunk[sent:])
            if load.pause:
                time.sleep(max(0.0, start + number * load.pause - time.monotonic()))
        calls = load.rounds * len(sockets)
        return Cost(calls, time.process_time() - used, time.monotonic() - start)


def _finish(one: socket.socket, rest: bytes) -> None:
    """Send what a full socket left, as it is read.

    Raises:
        TimeoutError: If it is not.
    """
    one.settimeout(_SEND_SECONDS)
    one.sendall(rest)
    one.setblocking(False)


class SilentHandler(tornado.websocket.WebSocketHandler):
    """Accepts."""

    def check_origin(self, origin: str) -> bool:
        """True: whoever."""
        return True


async def serve_tornado() -> None:
    """Accept WebSockets on a free port of the loopback until killed."""
    app = tornado.web.Application([(r"/.*", SilentHandler)])
    [listener] = tornado.netutil.bind_sockets(0, "127.0.0.1", backlog=1024)
    tornado.httpserver.HTTPServer(app).add_socket(listener)
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Be the one or the other."""
    if sys.argv[1:] == ["tornado"]:
        uvloop.run(serve_tornado())
        return
    bare = Bare()
    print(bare.port, flush=True)
    bare.run()


if __name__ == "__main__":
    main()
