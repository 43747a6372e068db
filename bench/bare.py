"""The yardstick: a Tornado handler that answers a constant, in a process of its own.

Run as ``python -m bench.bare``; prints its port on the first line. It runs on
uvloop, as the server does where uvloop is installed.
"""

import asyncio

import tornado.httpserver
import tornado.netutil
import tornado.web
import uvloop

CONSTANT = (
    b'{"data":{"id":"2f5c1b9e-9d1d-4c7e-8d4a-3a0c7c9c9b11","last_modified":1700000000000,'
    b'"title":"a constant answer","done":false},"permissions":{}}'
)


class ConstantHandler(tornado.web.RequestHandler):
    """Answers 200 and always the same object, whatever was asked."""

    def get(self) -> None:
        """Send the constant."""
        self.set_header("Content-Type", "application/json")
        self.write(CONSTANT)


async def serve() -> None:
    """Serve on a free port of the loopback until killed."""
    server = tornado.httpserver.HTTPServer(tornado.web.Application([(r"/.*", ConstantHandler)]))
    [listener] = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_socket(listener)
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
