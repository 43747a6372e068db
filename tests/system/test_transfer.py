"""Moving from the reference, PyPI's ``kinto``: nothing is lost, and its clients notice nothing."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from pymongo import MongoClient

from tests.processes import ROOT, OutputLines, die_with_parent
from tests.system.conftest import RunServer
from tests.system.references import ReferenceProcess

ADMIN = ("admin", "s3cret!!")
BOB = ("bob@example.com", "bobs password")
POSTS = "/buckets/blog/collections/posts"
RECORDS = f"{POSTS}/records"
COUNT = 200
ACCOUNTS = "kinto.plugins.accounts"
KINTO = {
    "KINTO_INCLUDES": ACCOUNTS,
    "KINTO_MULTIAUTH_POLICIES": "account",
    "KINTO_MULTIAUTH_POLICY_ACCOUNT_USE": (
        "kinto.plugins.accounts.authentication.AccountsAuthenticationPolicy"
    ),
    "KINTO_BUCKET_CREATE_PRINCIPALS": "system.Authenticated",
}


class Old:
    """The reference, and what one asks of it."""

    def __init__(self, process: ReferenceProcess) -> None:
        self.url = process.url
        self.files = process.files
        self._session = requests.Session()

    def ask(
        self, method: str, path: str, body: Any = None, auth: tuple[str, str] = ADMIN, **more: Any
    ) -> requests.Response:
        answer = self._session.request(method, self.url + path, json=body, auth=auth, **more)
        assert answer.status_code < 400, (path, answer.text)
        return answer

    def put(self, path: str, permissions: Any = None, **data: Any) -> None:
        self.ask("PUT", path, {"data": data, "permissions": permissions or {}})

    def close(self) -> None:
        self._session.close()


def fill(old: Old) -> None:
    for user, password in (ADMIN, BOB):
        old.ask("PUT", f"/accounts/{user}", {"data": {"password": password}}, (user, password))
    old.put("/buckets/blog", {"read": ["system.Authenticated"]}, title="Blog")
    old.put("/buckets/blog/groups/friends", members=["account:bob@example.com"])
    old.put("/buckets/blog/groups/foes")
    old.ask("DELETE", "/buckets/blog/groups/foes")
    old.put(POSTS, {"record:create": ["/buckets/blog/groups/friends"]}, sort="-n")
    old.put("/buckets/blog/collections/empty")
    old.put("/buckets/blog/collections/gone")
    old.ask("DELETE", "/buckets/blog/collections/gone")
    for start in range(0, COUNT, 25):
        batch = [
            {
                "path": f"{RECORDS}/r{n}",
                "body": {
                    "data": {"n": n, "a.b": {"$x": [None, 2.5, "ü"]}},
                    "permissions": {"read": ["account:bob@example.com"]} if n % 2 else {},
                },
            }
            for n in range(start, start + 25)
        ]
        old.ask("POST", "/batch", {"defaults": {"method": "PUT"}, "requests": batch})
    old.put(f"{RECORDS}/old", last_modified=1_400_000_000_000)
    old.put(f"{RECORDS}/odd", deleted=True)
    for n in range(5):
        old.ask("DELETE", f"{RECORDS}/r{n}")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    """A Kinto with something in it."""
    process = ReferenceProcess(tmp_path_factory.mktemp("kinto"))
    old = Old(process)
    try:
        fill(old)
        yield old
    finally:
        old.close()
        process.stop()


class Import:
    """A ``kintoun import`` that runs."""

    def __init__(
        self, mongo_uri: str, database: str, arguments: Sequence[str], settings: Mapping[str, str]
    ) -> None:
        environ = {name: one for name, one in os.environ.items() if not name.startswith("KINTO")}
        environ |= {"PYTHONPATH": str(ROOT), "KINTOUN_AUTH": ":".join(ADMIN), "COLUMNS": "200"}
        environ |= {"MONGODB_URI": mongo_uri, "KINTO_MONGODB_DATABASE": database, **settings}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "import", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            preexec_fn=die_with_parent,
        )
        self.output = OutputLines(self.process)

    def wait(self) -> tuple[int, str]:
        """Its exit code, and what it printed."""
        text = self.output.read_to_end()
        code = self.process.wait(60)
        self.output.close()
        return code, text


def run_import(mongo_uri: str, database: str, *arguments: str, **settings: str) -> tuple[int, str]:
    return Import(mongo_uri, database, arguments, settings).wait()


def fetch(url: str, auth: tuple[str, str] = ADMIN) -> requests.Response:
    return requests.get(url, auth=auth, timeout=30)


def objects_of(url: str) -> dict[str, Any]:
    """Everything of the blog that a server shows: objects with their permissions, by path."""
    paths = ["/buckets/blog"]
    for plural in ("groups", "collections"):
        listed = fetch(f"{url}/buckets/blog/{plural}").json()["data"]
        paths += [f"/buckets/blog/{plural}/{one['id']}" for one in listed]
    walk = f"{url}{RECORDS}"
    while walk:
        answer = fetch(walk)
        paths += [f"{RECORDS}/{one['id']}" for one in answer.json()["data"]]
        walk = answer.headers.get("Next-Page", "")
    found = {path: fetch(url + path).json() for path in paths}
    for body in found.values():
        body["permissions"] = {name: sorted(who) for name, who in body["permissions"].items()}
    return found


def test_everything_moves_and_clients_go_on_where_they_were(
    old: Old, mongo_uri: str, database: str, run_server: RunServer
) -> None:
    code, text = run_import(mongo_uri, database, old.url, "--accounts")
    assert code == 0, text
    # Accounts, the bucket, group, collections and records; then what was deleted of them.
    assert f"Loaded: {2 + 1 + 1 + 2 + COUNT - 5 + 2:,} new, 0 replaced, 7 deleted" in text
    assert "no difference" in text
    new = run_server(mongo_uri, **KINTO).url.rstrip("/")
    assert objects_of(new) == objects_of(old.url)
    lists = [f"/buckets/blog/{name}" for name in ("groups", "collections")]
    lists += [RECORDS, "/buckets/blog/collections/empty/records"]
    for path in lists:
        etag = fetch(old.url + path).headers["ETag"]
        assert fetch(new + path).headers["ETag"] == etag
        # Who has seen everything is told of nothing, and not that the server is another.
        poll = requests.get(
            f"{new}{path}?_since={etag}", auth=ADMIN, headers={"If-None-Match": etag}, timeout=30
        )
        assert poll.status_code == 304
    polled = {one["id"]: one for one in fetch(f"{new}{RECORDS}?_since=0").json()["data"]}
    for n in range(5):
        assert polled[f"r{n}"] == fetch(f"{old.url}{RECORDS}?_since=0&id=r{n}").json()["data"][0]
    mine = fetch(f"{new}/", BOB).json()["user"]
    assert mine["id"] == "account:bob@example.com"
    assert "/buckets/blog/groups/friends" in mine["principals"]
    assert fetch(f"{new}/", ("bob@example.com", "wrong")).status_code in (200, 401)
    assert "user" not in fetch(f"{new}/", ("bob@example.com", "wrong")).json()


def test_import_that_is_killed_goes_on_and_then_all_is_the_same(
    old: Old, mongo_uri: str, database: str
) -> None:
    broken = Import(mongo_uri, database, [old.url], {})
    # Long enough to have begun; wherever it stands by then, the next goes on.
    with Watch(mongo_uri, database) as watch:
        watch.wait_for_objects(20)
    broken.process.send_signal(signal.SIGKILL)
    code, _ = broken.wait()
    assert code in (-signal.SIGKILL, 0)
    code, text = run_import(mongo_uri, database, old.url)
    assert code == 0, text
    assert "no difference" in text
    code, text = run_import(mongo_uri, database, old.url)
    assert (code, "0 new, 0 replaced, 0 deleted" in text) == (0, True), text


class Watch:
    """Looks into the database while an import runs."""

    def __init__(self, mongo_uri: str, database: str) -> None:
        self._client = MongoClient[dict[str, Any]](mongo_uri)
        self._objects = self._client[database]["objects"]

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def wait_for_objects(self, count: int) -> None:
        while self._objects.estimated_document_count() < count:
            pass


def test_what_the_source_does_not_show_is_told(old: Old, mongo_uri: str, database: str) -> None:
    url = old.url
    code, text = run_import(mongo_uri, database, url, "--auth", ":".join(BOB), "--dry-run")
    assert code == 0, text
    assert re.search(r"permissions of [0-9]+ objects were not shown", text)
    code, text = run_import(mongo_uri, database, url, "--auth", "bob@example.com:wrong")
    assert code == 1
    assert "does not know this user" in text


def test_export_of_what_was_imported_makes_the_same_server_again(
    old: Old, mongo_uri: str, database: str, tmp_path: Path
) -> None:
    assert run_import(mongo_uri, database, old.url, "--no-check")[0] == 0
    path = tmp_path / "all.jsonl.gz"
    environ = {"MONGODB_URI": mongo_uri, "KINTO_MONGODB_DATABASE": database}
    subprocess.run(
        [sys.executable, "-m", "server", "export", str(path)],
        env={**os.environ, **environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    code, text = run_import(mongo_uri, f"{database}_2", str(path))
    assert (code, "no difference" in text) == (0, True), text
    code, text = run_import(mongo_uri, f"{database}_2", old.url)
    assert (code, "0 new, 0 replaced, 0 deleted" in text) == (0, True), text


def test_files_of_records_move_and_are_served(
    old: Old, mongo_uri: str, database: str, run_server: RunServer, tmp_path: Path
) -> None:
    content = os.urandom(700_000)
    old.put("/buckets/filed")
    old.put("/buckets/filed/collections/c")
    attach = "/buckets/filed/collections/c/records/r/attachment"
    old.ask("POST", attach, files={"attachment": ("x.json", content, "application/json")})
    # The reference serves no files itself: they lie in its folder.
    arguments = [old.url, "--bucket", "filed", "--accounts", "--attachments", str(old.files)]
    code, text = run_import(mongo_uri, database, *arguments)
    assert (code, "1 files copied" in text) == (0, True), text
    server = run_server(mongo_uri, **KINTO | {"KINTO_INCLUDES": f"{ACCOUNTS} kinto_attachment"})
    address = server.url.rstrip("/")
    code, text = run_import(mongo_uri, database, *arguments)
    assert (code, "files copied" in text) == (0, False), text
    code, text = run_import(
        mongo_uri, database, *arguments, KINTO_ATTACHMENT_BASE_URL=f"{address}/attachments/"
    )
    assert (code, "1 replaced" in text) == (0, True), text
    record = fetch(f"{address}/buckets/filed/collections/c/records/r").json()["data"]
    served = requests.get(record["attachment"]["location"], timeout=30)
    assert served.content == content
    assert served.headers["ETag"] == f'"{record["attachment"]["hash"]}"'
