"""A server that says what a test wants said, right or wrong."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

Message = dict[str, Any]

Say = Message | str | int
"""A message, any text, or the code to close with; 0 drops the connection."""

Script = Callable[[int, Message], list[Say]]
"""What is said to a message: given the number of the connection, from 0, and the message."""

WELCOME: Message = {"type": "welcome", "user": None, "heartbeat": 25, "limits": {}, "epoch": "one"}


class FakeServer:
    """Answers over WebSocket as its script says.

    Attributes:
        url: root of the API.
        heard: the messages that came, with the numbers of their connections.
    """

    def __init__(self, script: Script) -> None:
        self.heard: list[tuple[int, Message]] = []
        self._connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        fake = self

        class Handler(WebSocketHandler):
            def check_origin(self, origin: str) -> bool:
                return True

            def select_subprotocol(self, subprotocols: list[str]) -> str | None:
                return subprotocols[0]

            def open(self, *_: str, **__: str) -> None:
                self.number = fake._connections
                fake._connections += 1

            async def on_message(self, message: str | bytes) -> None:
                heard = json.loads(message)
                fake.heard.append((self.number, heard))
                for said in script(self.number, heard):
                    if isinstance(said, dict | str):
                        await self.write_message(said)
                    elif said:
                        self.close(said, "as the test wants")
                    else:
                        connection = self.ws_connection
                        assert connection is not None
                        assert connection.stream is not None
                        connection.stream.close()

        async def listen() -> int:
            (listening,) = bind_sockets(0, "127.0.0.1")
            self._server = HTTPServer(Application([("/v1/live", Handler)]))
            self._server.add_sockets([listening])
            port: int = listening.getsockname()[1]
            return port

        self.url = f"http://127.0.0.1:{self._run(listen())}/v1"

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        """Stop it."""

        async def stop() -> None:
            self._server.stop()
            await self._server.close_all_connections()
            # The tasks of connections that were dropped end in their own time.
            others = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._run(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()
