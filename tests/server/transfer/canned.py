"""A server that answers what it is told to."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

Reply = tuple[int, dict[str, str], Any]


class Canned(RequestHandler):
    """Answers in turn what it was given, then the last for ever."""

    def initialize(self, replies: list[Reply], asked: list[Any]) -> None:
        self._replies = replies
        self._asked = asked

    def prepare(self) -> None:
        request = self.request
        self._asked.append((request.method, request.uri, request.headers, request.body))
        status, headers, body = self._replies[0]
        if len(self._replies) > 1:
            self._replies.pop(0)
        self.set_status(status)
        for name, value in headers.items():
            self.set_header(name, value)
        self.finish(body if isinstance(body, str) else json.dumps(body))


@asynccontextmanager
async def answering(*replies: Reply) -> AsyncIterator[tuple[str, list[Any]]]:
    asked: list[Any] = []
    app = Application([(".*", Canned, {"replies": list(replies), "asked": asked})])
    app.settings["log_function"] = lambda handler: None
    server = HTTPServer(app)
    (listening,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([listening])
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        server.stop()
        await server.close_all_connections()
