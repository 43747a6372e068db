"""Clients that write down which of their methods were called, synchronous or not."""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.servers import run_alone

Test = TypeVar("Test", bound=Callable[..., None])


class Recorded:
    """A kinto-http client. What it would have to await is waited for.

    So one test says what ``Client`` and ``AsyncClient`` have to do.
    """

    def __init__(self, client: Any, called: set[str]) -> None:
        """Record the calls of ``client`` in ``called``."""
        self._client = client
        self._called = called

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name.startswith("_") or not inspect.ismethod(found):
            return found

        def call(*given: Any, **named: Any) -> Any:
            self._called.add(name)
            result = found(*given, **named)
            # Twice, where a method of AsyncClient only calls another one of it.
            while inspect.isawaitable(result):
                result = run_alone(_wait(result))
            return self._recorded(name, result)

        return call

    def _recorded(self, name: str, result: Any) -> Any:
        if name == "clone":
            return Recorded(result, self._called)
        return self._enter(result) if name == "batch" else result

    @contextmanager
    def _enter(self, batch: Any) -> Iterator["Recorded"]:
        with batch as client:
            yield Recorded(client, self._called)


async def _wait(result: Awaitable[Any]) -> Any:
    return await result


def public_methods(cls: type) -> set[str]:
    """Names of the methods that ``cls`` means for its users."""
    found = inspect.getmembers(cls, inspect.isfunction)
    return {name for name, _ in found if not name.startswith("_")}


class Register:
    """The methods that the tests of a module say they call.

    Attributes:
        names: all of them.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __call__(self, *names: str) -> Callable[[Test], Test]:
        """Decorate the test that calls ``names``; its fixture checks that it did."""
        self.names |= set(names)

        def note(test: Test) -> Test:
            vars(test)["calls"] = set(names)
            return test

        return note
