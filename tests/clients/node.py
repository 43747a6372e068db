"""Node, and the npm packages that the tests of the JavaScript clients need."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("kintojs")
"""Holds the scripts that Node runs, and their packages."""


@cache
def find_node() -> str:
    """The program; the packages of ``FOLDER`` are installed where they are not, or others."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.fail("install Node.js 18 or newer, with npm: kinto.js and live.js run on it")
    # npm writes this file last, so a broken installation is made again.
    done, wanted = FOLDER / "node_modules" / ".package-lock.json", FOLDER / "package-lock.json"
    if not done.exists() or done.stat().st_mtime < wanted.stat().st_mtime:
        subprocess.run([npm, "ci"], cwd=FOLDER, check=True, timeout=300)
    return node
