import inspect

import pytest

from server.transfer.kinto import KintoSource
from server.transfer.lines import LineSource
from server.transfer.sources import Source


@pytest.mark.parametrize("kind", [LineSource, KintoSource])
def test_each_source_has_what_an_import_asks_of_one(kind: type) -> None:
    for name in ("read", "progress"):
        wanted = inspect.signature(getattr(Source, name)).parameters
        assert list(inspect.signature(getattr(kind, name)).parameters) == list(wanted), name
