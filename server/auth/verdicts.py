"""What was found out of credentials, remembered for a while."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

VERDICTS_MAX = 10_000
"""That are remembered; of more the least recently used are forgotten."""


class Verdicts(Generic[K, V]):
    """A mapping whose values expire, and which never grows beyond a bound."""

    def __init__(self, maximum: int = VERDICTS_MAX, clock: Callable[[], float] = time.time) -> None:
        self._maximum = maximum
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def find(self, key: K) -> V | None:
        """What is remembered under a key, unless it has expired."""
        found = self._kept.get(key)
        if found is None:
            return None
        until, value = found
        if until <= self._clock():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return value

    def remember(self, key: K, value: V, until: float) -> None:
        """Remember a value until a time, in seconds since 1970."""
        self._kept[key] = (until, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._maximum:
            self._kept.popitem(last=False)

    def forget(self, key: K) -> None:
        """Forget what is remembered under a key."""
        self._kept.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


class Inquiries(Generic[K, V]):
    """Questions that take a while: who asks what is being asked waits for the same answer."""

    def __init__(self) -> None:
        self._asked: dict[K, asyncio.Task[V]] = {}
        self._running: set[asyncio.Task[V]] = set()

    async def ask(self, key: K, question: Callable[[], Awaitable[V]]) -> V:
        """The answer to a question; errors of it are those of all who wait."""
        task = self._asked.get(key)
        if task is None:
            task = asyncio.ensure_future(self._answer(key, question))
            self._asked[key] = task
            self._running.add(task)
            task.add_done_callback(self._end)
        # One who leaves must not take the answer from the others.
        return await asyncio.shield(task)

    async def _answer(self, key: K, question: Callable[[], Awaitable[V]]) -> V:
        try:
            return await question()
        finally:
            if self._asked.get(key) is asyncio.current_task():
                del self._asked[key]

    def _end(self, task: asyncio.Task[V]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Whoever asked may have left: an error is nobody's then.
            task.exception()

    def forget(self, key: K) -> None:
        """Let nobody wait for the answer who has not asked yet."""
        self._asked.pop(key, None)

    def clear(self) -> None:
        """The same, for every question."""
        self._asked.clear()
