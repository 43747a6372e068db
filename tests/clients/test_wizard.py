"""PyPI's kinto-wizard against a real server: what it loads it dumps, and it loads it again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from ruamel.yaml import YAML

from tests.clients.conftest import Serve

# It counts on what itertools has since Python 3.12.
_START = """
import itertools
from kinto_wizard.__main__ import main

def batched(items, size):
    items = iter(items)
    while chunk := tuple(itertools.islice(items, size)):
        yield chunk

vars(itertools).setdefault("batched", batched)
main()
"""
AUTH = ("alice", "secret")
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
}


def wizard(url: str, *arguments: str, folder: Path | None = None, code: int = 0) -> str:
    """What a command of the wizard prints."""
    command, *rest = arguments
    options = ["--server", url, "--auth", ":".join(AUTH)]
    ended = subprocess.run(
        [sys.executable, "-c", _START, command, *options, *rest],
        capture_output=True,
        text=True,
        cwd=folder,
        input="yes\n",
        timeout=120,
    )
    assert ended.returncode == code, ended.stderr
    return ended.stdout if code == 0 else ended.stderr


def ask(method: str, url: str, body: Any = None, **more: Any) -> Any:
    answer = requests.request(method, url, json=body, auth=AUTH, timeout=30, **more)
    assert answer.status_code < 400, answer.text
    return answer.json() if answer.content else None


@pytest.fixture
def config() -> dict[str, Any]:
    records = {f"r{n}": {"data": {"title": f"T{n}", "n": n}, "permissions": {}} for n in range(60)}
    collection = {
        "data": {"sort": "-n", "schema": SCHEMA},
        "permissions": {"read": ["system.Everyone"]},
        "records": records,
    }
    bucket = {
        "data": {"title": "Staging"},
        "permissions": {"read": ["account:bob"]},
        "groups": {"editors": {"data": {"members": ["account:bob"]}, "permissions": {}}},
        "collections": {"posts": collection, "empty": {"data": {}, "permissions": {}}},
    }
    return {"buckets": {"wizard": bucket}}


@pytest.fixture
def url(serve: Serve) -> str:
    """A server without the wizard's bucket."""
    url = serve(experimental_collection_schema_validation=True, includes="kinto_attachment")
    requests.delete(f"{url}/buckets/wizard", auth=AUTH, timeout=30)
    return url


def write(folder: Path, config: dict[str, Any]) -> str:
    path = folder / "config.yml"
    # JSON is YAML.
    path.write_text(json.dumps(config))
    return str(path)


def records_of(url: str) -> dict[str, Any]:
    """Their data without what the server assigns."""
    listed = ask("GET", f"{url}/buckets/wizard/collections/posts/records")["data"]
    return {one["id"]: {"title": one["title"], "n": one["n"]} for one in listed}


def without_assigned(data: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in data.items() if name not in ("id", "last_modified")}


def test_what_is_loaded_is_dumped(url: str, config: dict[str, Any], tmp_path: Path) -> None:
    wizard(url, "load", write(tmp_path, config))
    dumped = YAML(typ="safe").load(wizard(url, "dump", "--full", "--bucket", "wizard"))
    bucket, wanted = dumped["buckets"]["wizard"], config["buckets"]["wizard"]
    assert without_assigned(bucket["data"]) == wanted["data"]
    assert bucket["permissions"]["read"] == ["account:bob"]
    editors = without_assigned(bucket["groups"]["editors"]["data"])
    assert editors == wanted["groups"]["editors"]["data"]
    assert set(bucket["collections"]) == {"posts", "empty"}
    posts = bucket["collections"]["posts"]
    assert without_assigned(posts["data"]) == wanted["collections"]["posts"]["data"]
    found = {name: one["data"] for name, one in posts["records"].items()}
    for name, record in wanted["collections"]["posts"]["records"].items():
        assert {key: found[name][key] for key in ("title", "n")} == record["data"]


def test_loading_again_leaves_all_as_it_is(
    url: str, config: dict[str, Any], tmp_path: Path
) -> None:
    # It writes the records again: a list does not tell it their permissions.
    path = write(tmp_path, config)
    places = [f"{url}/buckets/wizard{rest}" for rest in ("", "/groups/editors", "/collections")]
    wizard(url, "load", path)
    before = records_of(url), [ask("GET", place)["data"] for place in places]
    wizard(url, "load", path)
    assert (records_of(url), [ask("GET", place)["data"] for place in places]) == before


def test_dry_run_loads_nothing(url: str, config: dict[str, Any], tmp_path: Path) -> None:
    wizard(url, "load", "--dry-run", write(tmp_path, config))
    assert requests.get(f"{url}/buckets/wizard", auth=AUTH, timeout=30).status_code in (403, 404)


def test_changes_are_loaded_and_what_is_missing_is_deleted_on_demand(
    url: str, config: dict[str, Any], tmp_path: Path
) -> None:
    wizard(url, "load", write(tmp_path, config))
    records = config["buckets"]["wizard"]["collections"]["posts"]["records"]
    records["r1"]["data"]["title"] = "New"
    del records["r2"]
    wizard(url, "load", write(tmp_path, config))
    found = records_of(url)
    assert (found["r1"], "r2" in found) == ({"title": "New", "n": 1}, True)
    wizard(url, "load", "--delete-records", write(tmp_path, config))
    assert found.keys() - records_of(url).keys() == {"r2"}


def test_force_overwrites_what_is_there(url: str, config: dict[str, Any], tmp_path: Path) -> None:
    wizard(url, "load", write(tmp_path, config))
    record = f"{url}/buckets/wizard/collections/posts/records/r1"
    ask("PATCH", record, {"data": {"title": "Mine"}})
    wizard(url, "load", "--force", write(tmp_path, config))
    assert ask("GET", record)["data"]["title"] == "T1"


def test_one_collection_is_loaded_and_dumped(
    url: str, config: dict[str, Any], tmp_path: Path
) -> None:
    only = ("--bucket", "wizard", "--collection", "posts")
    wizard(url, "load", *only, write(tmp_path, config))
    listed = ask("GET", f"{url}/buckets/wizard/collections")["data"]
    assert [one["id"] for one in listed] == ["posts"]
    dumped = YAML(typ="safe").load(wizard(url, "dump", "--records", *only))
    assert len(dumped["buckets"]["wizard"]["collections"]["posts"]["records"]) == 60


def test_schema_is_checked_before_and_by_the_server(
    url: str, config: dict[str, Any], tmp_path: Path
) -> None:
    path = write(tmp_path, config)
    wizard(url, "validate", path)
    config["buckets"]["wizard"]["collections"]["posts"]["records"]["r3"]["data"] = {"n": 1}
    path = write(tmp_path, config)
    assert "r3" in wizard(url, "validate", path, code=1)
    assert "title" in wizard(url, "load", path, code=1)


def test_files_are_dumped_and_loaded(url: str, config: dict[str, Any], tmp_path: Path) -> None:
    wizard(url, "load", write(tmp_path, config))
    record = f"{url}/buckets/wizard/collections/posts/records/r1"
    ask("POST", f"{record}/attachment", files={"attachment": ("a.txt", b"hello", "text/plain")})
    dumped = wizard(
        url, "dump", "--full", "--bucket", "wizard", "--attachments", "out", folder=tmp_path
    )
    files = [path for path in (tmp_path / "out").rglob("*.txt")]
    assert [path.read_text() for path in files] == ["hello"]
    ask("DELETE", f"{record}/attachment")
    (tmp_path / "again.yml").write_text(dumped)
    wizard(url, "load", "--force", "--attachments", "out", "again.yml", folder=tmp_path)
    location = ask("GET", record)["data"]["attachment"]["location"]
    assert requests.get(location, timeout=30).text == "hello"
