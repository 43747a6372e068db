"""A connection's socket, written to without a detour."""

from collections.abc import Callable
from typing import Any

from tornado.iostream import IOStream


class StreamTransport:
    """Sends at once what the socket takes; Tornado's stream sends the rest."""

    def __init__(self, stream: IOStream, close: Callable[[int, str], None]) -> None:
        """Begin.

        Args:
            stream: of the connection.
            close: ends it in its protocol's way.
        """
        self._stream = stream
        self._close = close

    def send(self, data: bytes) -> int:
        """How many bytes the socket took at once; 0 if none.

        Raises:
            OSError: If the connection is gone.
        """
        stream = self._stream
        if stream.closed():
            raise ConnectionResetError
        if stream.writing():
            # Something of Tornado's own, a pong say, is not to be cut in two.
            return 0
        try:
            return stream.socket.send(data)
        except BlockingIOError:
            return 0

    def finish(self, data: bytes, done: Callable[[], None]) -> None:
        """Take all, and call when it is gone; never, if the connection ends before."""
        if self._stream.closed():
            return

        def told(future: Any) -> None:
            if not future.cancelled() and future.exception() is None:
                done()

        self._stream.write(data).add_done_callback(told)

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was taken."""
        if not self._stream.closed():
            self._close(code, reason)

    def abort(self) -> None:
        """End the connection at once."""
        self._stream.close()
