"""Identity providers as processes of their own: one with opaque tokens, one with signed ones."""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.processes import OutputLines, die_with_parent, free_port

FOLDER = Path(__file__).with_name("oauth")
"""Holds the provider that runs on Node, and its packages."""

PATIENCE_SECONDS = 30


class OpaqueProvider:
    """``oidc-provider-mock``: login, token and userinfo.

    Attributes:
        issuer: its URL.
    """

    def __init__(self) -> None:
        port = free_port()
        self.issuer = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock"]
        self._process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        self._lines = OutputLines(self._process)
        self._lines.wait_for(re.compile("running on"))

    def revoke_tokens(self, sub: str) -> None:
        """Forget all tokens of a user."""
        url = f"{self.issuer}/users/{sub}/revoke-tokens"
        requests.post(url, timeout=PATIENCE_SECONDS).raise_for_status()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._lines.close()


@cache
def find_node() -> str:
    """The program; the packages of ``FOLDER`` are installed where they are not, or others."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.fail("install Node.js 18 or newer, with npm: a provider of signed tokens runs on it")
    done, wanted = FOLDER / "node_modules" / ".package-lock.json", FOLDER / "package-lock.json"
    if not done.exists() or done.stat().st_mtime < wanted.stat().st_mtime:
        subprocess.run([npm, "ci"], cwd=FOLDER, check=True, timeout=300)
    return node


class SigningProvider:
    """``oauth2-mock-server``: access tokens that are JWTs.

    Attributes:
        issuer: its URL.
    """

    def __init__(self, *, has_userinfo: bool = True) -> None:
        arguments = [] if has_userinfo else ["bare"]
        self._process = subprocess.Popen(
            [find_node(), "serve.mjs", *arguments],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        self.issuer = self._read().strip()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the provider has ended"
        return line

    def ask(self, **wanted: Any) -> Any:
        """What ``serve.mjs`` answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read())

    def token(self, *, expires: int = 3600, **claims: Any) -> str:
        """A token that says this."""
        text: str = self.ask(claims=claims, expires=expires)
        return text

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
