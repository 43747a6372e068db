"""kinto.js before and after a move: from the reference, PyPI's ``kinto``, to a server of ours."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.clients.conftest import Play
from tests.processes import ROOT, ServerProcess
from tests.system.references import ReferenceProcess

ALICE = ("alice", "secret")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[ReferenceProcess]:
    """A Kinto that knows alice."""
    process = ReferenceProcess(tmp_path)
    body = {"data": {"password": ALICE[1]}}
    requests.put(f"{process.url}/accounts/alice", json=body, auth=ALICE, timeout=30)
    yield process
    process.stop()


@pytest.fixture
def new(mongo_uri: str, mongo_database: str, tmp_path: Path) -> Iterator[ServerProcess]:
    environ = {
        "MONGODB_URI": mongo_uri,
        "KINTO_MONGODB_DATABASE": mongo_database,
        "KINTO_INCLUDES": "kinto.plugins.accounts",
        "KINTO_MULTIAUTH_POLICIES": "account",
    }
    server = ServerProcess(environ=environ, cwd=tmp_path)
    yield server
    server.close()


def test_devices_go_on_where_they_were(
    old: ReferenceProcess, new: ServerProcess, play: Play, mongo_uri: str, mongo_database: str
) -> None:
    url = new.url.rstrip("/")
    variables = [f"MONGODB_URI={mongo_uri}", f"KINTO_MONGODB_DATABASE={mongo_database}"]
    variables += [f"PYTHONPATH={ROOT}", "KINTOUN_AUTH=alice:secret"]
    command = ["env", *variables, sys.executable, "-m", "server", "import", "--accounts", old.url]
    seen = play(old.url, "move", url, *command)
    assert [one["ok"] for one in seen["results"]] == [True] * 4
    home, away, fresh, again = seen["results"]
    counts = ("created", "updated", "deleted", "published")
    assert [home[name] for name in counts] == [0, 0, 0, 0]
    assert [away[name] for name in counts] == [0, 1, 1, 2]
    assert fresh["created"] == 4
    assert [again[name] for name in counts] == [1, 1, 0, 0]
    everything = {"changed": "new", "edited": "away", "kept": "old", "made": "away"}
    assert seen["states"] == [everything] * 3
    assert seen["server"] == everything
