"""``kintoun create-user``, as a process beside a server or alone."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.cli import commands
from server.storage.base import StorageError
from tests.conftest import StartServer
from tests.processes import ROOT

ACCOUNTS = {
    "KINTO_INCLUDES": "accounts",
    "KINTO_MULTIAUTH_POLICIES": "account",
    "KINTO_ACCOUNT_PASSWORD_ROUNDS": "4",
}


def create(
    folder: Path, *words: str, environ: Mapping[str, str], said: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, and say something on its standard input."""
    known = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "server", "create-user", *words],
        input=said,
        cwd=folder,
        env={**known, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def user_of(url: str, name: str, password: str) -> object:
    text = base64.b64encode(f"{name}:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {text}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer).get("user", {}).get("id")


def test_account_is_made_before_the_server_starts_and_changed_while_it_runs(
    start_server: StartServer, tmp_path: Path
) -> None:
    words = ("admin", "--password-stdin", "--data", str(tmp_path / "data"))
    made = create(tmp_path, *words, environ=ACCOUNTS, said="first\n")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout == "The account admin was made: its user is account:admin.\n"
    server = start_server("--data", str(tmp_path / "data"), environ=ACCOUNTS)
    assert user_of(server.url, "admin", "first") == "account:admin"
    assert user_of(server.url, "admin", "second") is None
    changed = create(tmp_path, *words, environ=ACCOUNTS, said="second\n")
    assert (changed.returncode, changed.stderr) == (0, "")
    assert changed.stdout == "The account admin has its new password: its user is account:admin.\n"
    assert user_of(server.url, "admin", "second") == "account:admin"


def test_account_keeps_its_data_and_counts_as_confirmed(
    start_server: StartServer, tmp_path: Path, mongo_uri: str, mongo_database: str
) -> None:
    environ = {
        **ACCOUNTS,
        "MONGODB_URI": mongo_uri,
        "KINTO_MONGODB_DATABASE": mongo_database,
        "KINTO_ACCOUNT_CREATE_PRINCIPALS": "system.Everyone",
        "KINTO_ACCOUNT_VALIDATION": "true",
        "KINTO_MAIL_MAILER": "testing",
    }
    server = start_server(environ=environ)
    body = json.dumps({"data": {"password": "x", "n": 1}}).encode()
    url = f"{server.url}accounts/a@b.org"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["data"]["validated"] is False
    done = create(tmp_path, "a@b.org", "--password-stdin", environ=environ, said="y")
    assert done.returncode == 0, done.stderr
    text = base64.b64encode(b"a@b.org:y").decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {text}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        got = json.load(answer)
    assert (got["data"]["n"], got["data"]["validated"]) == (1, True)
    assert got["permissions"] == {"write": ["account:a@b.org"]}


@pytest.mark.parametrize(
    ("words", "environ", "said", "sentence"),
    [
        (("a/b",), ACCOUNTS, "x", "'a/b' cannot be the name of an account"),
        (("alice",), ACCOUNTS, "", "A password must not be empty."),
        (("alice",), ACCOUNTS, "x" * 4097, "The password should have at most 4096 bytes."),
        (("alice",), {}, "x", "The server has no accounts"),
        (("alice",), {**ACCOUNTS, "KINTO_READONLY": "true"}, "x", "The server is read-only"),
        (
            ("alice",),
            {**ACCOUNTS, "KINTO_STORAGE_BACKEND": "memory"},
            "x",
            "What is in memory ends with its process",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path,
    words: tuple[str, ...],
    environ: Mapping[str, str],
    said: str,
    sentence: str,
) -> None:
    done = create(tmp_path, *words, "--password-stdin", environ=environ, said=said)
    assert done.returncode == 1
    assert done.stderr.startswith(f"kintoun: {sentence}")
    assert len(done.stderr.splitlines()) == 1


def test_password_is_asked_for_twice_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ACCOUNTS, "KINTO_STORAGE_BACKEND": "memory"}.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(commands, ["create-user"], input="alice\nopen\nsesame\nx\nx\n")
    assert "Password of alice" in result.output
    assert "do not match" in result.output
    assert "sesame" not in result.output
    # It went on with the password that was said twice.
    assert isinstance(result.exception, StorageError)
