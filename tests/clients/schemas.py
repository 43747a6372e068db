"""The official schemas of AsyncAPI documents, from npm."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).with_name("asyncapi")


@cache
def asyncapi_schema(version: str) -> dict[str, Any]:
    """The schema of a version; the package is installed where it is not."""
    npm = shutil.which("npm")
    done, wanted = _FOLDER / "node_modules" / ".package-lock.json", _FOLDER / "package-lock.json"
    if not done.exists() or done.stat().st_mtime < wanted.stat().st_mtime:
        if npm is None:
            pytest.fail("install npm: the schemas of AsyncAPI are a package of it")
        subprocess.run([npm, "ci"], cwd=_FOLDER, check=True, timeout=300)
    path = _FOLDER / "node_modules" / "@asyncapi" / "specs" / "schemas" / f"{version}.json"
    schema: dict[str, Any] = json.loads(path.read_text())
    return schema
