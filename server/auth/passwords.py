"""Passwords: hashed by bcrypt, in threads of their own, so that nothing else waits."""

import asyncio
import hashlib
import os
import secrets
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from server.core.errors import Unavailable

T = TypeVar("T")

BCRYPT_MAX_BYTES = 72
"""Of a password that bcrypt looks at."""

MAX_WAITING = 200
"""Passwords that wait to be hashed; past it whoever asks is to come back."""

_DIGESTED = "sha256+"
"""Before a hash of what bcrypt could not take whole: of the password's SHA-256."""


def hash_password(password: str, rounds: int) -> str:
    """The hash that is stored; takes a fraction of a second.

    Args:
        password: as it was sent; never empty.
        rounds: the base-2 logarithm of how often bcrypt turns.
    """
    raw = password.encode()
    # Of as many bytes, what follows would not count.
    is_long = len(raw) >= BCRYPT_MAX_BYTES or b"\0" in raw
    hashed = bcrypt.hashpw(_digest(raw) if is_long else raw, bcrypt.gensalt(rounds)).decode()
    return _DIGESTED + hashed if is_long else hashed


def is_password(password: str, hashed: str) -> bool:
    """Whether a hash is of this password.

    A hash without a mark may be Kinto's, whose bcrypt looked at the first 72 bytes
    only; so they alone count there.
    """
    raw = password.encode()
    if hashed.startswith(_DIGESTED):
        raw, hashed = _digest(raw), hashed.removeprefix(_DIGESTED)
    try:
        return bcrypt.checkpw(raw[:BCRYPT_MAX_BYTES], hashed.encode())
    except ValueError:
        return False


def _digest(raw: bytes) -> bytes:
    return b64encode(hashlib.sha256(raw).digest())


def make_dummy(rounds: int) -> str:
    """A hash of no password, that takes as long to check as any other."""
    return bcrypt.gensalt(rounds).decode() + secrets.token_hex(16)[:31]


class Passwords:
    """Hashes and checks, a few at a time."""

    def __init__(self, rounds: int, retry_after: int, *, max_waiting: int = MAX_WAITING) -> None:
        """Begin.

        Args:
            rounds: see ``hash_password``.
            retry_after: seconds after which who is turned away should come back.
            max_waiting: passwords that may wait.
        """
        self._rounds = rounds
        self._retry_after = retry_after
        self._max_waiting = max_waiting
        self._waiting = 0
        self._dummy = make_dummy(rounds)
        threads = min(4, os.cpu_count() or 1)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="passwords")

    async def hash(self, password: str) -> str:
        """The hash that is stored.

        Raises:
            Unavailable: If too many wait already.
        """
        return await self._run(lambda: hash_password(password, self._rounds))

    async def matches(self, password: str, hashed: str) -> bool:
        """Whether a hash is of this password; takes as long if there is none (``""``).

        Raises:
            Unavailable: If too many wait already.
        """
        right = await self._run(lambda: is_password(password, hashed or self._dummy))
        return right and bool(hashed)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._max_waiting:
            words = "Too many passwords are being checked: try again in a moment."
            raise Unavailable(words, self._retry_after)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the threads end; what still waits is given up."""
        self._executor.shutdown(wait=False, cancel_futures=True)
