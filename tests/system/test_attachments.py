"""A file of 200 MB, both ways: what it costs the server, and whether others wait for it."""

import base64
import hashlib
import json
import random
import re
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from tests.system.clients import records_of, run_together
from tests.system.conftest import LoadedServer, RunServer

SIZE = 200_000_000
LIMIT = 20_000_000
PIECE = bytes(1_000_000)
WAIT_SECONDS = 2.0
"""That another request may take beside it, on two cores which a database and this test share."""

_AUTHORIZATION = "Basic " + base64.b64encode(b"alice:secret").decode()
_HEAD = (
    b'--limit\r\nContent-Disposition: form-data; name="attachment"; filename="zeros.bin"\r\n\r\n'
)
_END = b"\r\n--limit--\r\n"


def memory(pid: int, name: str) -> int:
    """A figure of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def forget_peak(pid: int) -> int:
    """Begin to measure the peak; what it is now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory(pid, "VmRSS")


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    assert address.hostname is not None
    return socket.create_connection((address.hostname, address.port or 80), 60)


def head(method: str, url: str, *more: str) -> bytes:
    address = urlsplit(url)
    lines = [f"{method} {address.path} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
    return "\r\n".join([*lines, f"Authorization: {_AUTHORIZATION}", *more, "", ""]).encode()


def upload(url: str, size: int = SIZE) -> dict[str, object]:
    """Put a file of zeros where there is none yet; what is said of it."""
    length = len(_HEAD) + size + len(_END)
    kind = "Content-Type: multipart/form-data; boundary=limit"
    with connect(url) as connection:
        connection.sendall(head("POST", url, kind, f"Content-Length: {length}") + _HEAD)
        for _ in range(size // len(PIECE)):
            connection.sendall(PIECE)
        connection.sendall(_END)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 201 " in answer.partition(b"\r\n")[0], answer
    described: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return described


def download(url: str) -> tuple[int, str]:
    """How much comes, and its hash."""
    digest, size = hashlib.sha256(), 0
    with connect(url) as connection:
        connection.sendall(head("GET", url))
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        piece = received.partition(b"\r\n\r\n")[2]
        while piece:
            digest.update(piece)
            size += len(piece)
            piece = connection.recv(1 << 20)
    return size, digest.hexdigest()


class Bystander:
    """Asks for something small all the time.

    Attributes:
        longest: seconds that an answer took.
        answers: how many there were.
    """

    def __init__(self, server: LoadedServer) -> None:
        self.longest = 0.0
        self.answers = 0
        self._client = server.connect()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.005):
            begun = time.monotonic()
            assert self._client.get("/buckets/b/collections/c").status == 200
            self.longest = max(self.longest, time.monotonic() - begun)
            self.answers += 1

    def stop(self) -> None:
        self._over.set()
        self._thread.join(60)


@pytest.fixture(params=["pymongo", "motor", "folder"])
def server(
    request: pytest.FixtureRequest, run_server: RunServer, mongo_uri: str, tmp_path: Path
) -> LoadedServer:
    settings = {"KINTO_INCLUDES": "attachments", "KINTO_ATTACHMENT_EXTENSIONS": "any"}
    if request.param == "folder":
        settings["KINTO_ATTACHMENT_BASE_PATH"] = str(tmp_path / "files")
    else:
        settings["KINTO_MONGODB_DRIVER"] = request.param
    started = run_server(mongo_uri, **settings)
    client = started.connect()
    client.put("/buckets/b")
    client.put("/buckets/b/collections/c")
    return started


def test_large_file_costs_little_memory_and_delays_nobody(server: LoadedServer) -> None:
    url = f"{server.url}buckets/b/collections/c/records/r/attachment"
    bystander = Bystander(server)
    before = forget_peak(server.pid)
    described = upload(url)
    up = memory(server.pid, "VmHWM") - before
    assert described["size"] == SIZE
    before = forget_peak(server.pid)
    size, digest = download(str(described["location"]))
    down = memory(server.pid, "VmHWM") - before
    bystander.stop()
    assert (size, digest) == (SIZE, described["hash"])
    assert max(up, down) < LIMIT, f"{up} bytes to take it in, {down} to send it"
    assert bystander.answers > 10
    assert bystander.longest < WAIT_SECONDS


def test_file_that_one_process_has_stored_goes_when_another_deletes_its_record(
    run_server: RunServer, mongo_uri: str
) -> None:
    given = {"KINTO_INCLUDES": "attachments", "KINTO_ATTACHMENT_EXTENSIONS": "any"}
    first, second = (run_server(mongo_uri, **given) for _ in range(2))
    client, other = first.connect(), second.connect()
    client.put("/buckets/b")
    client.put("/buckets/b/collections/c")
    described = upload(f"{first.url}buckets/b/collections/c/records/r/attachment", 1_000_000)
    path = str(described["location"]).partition("/v1")[2]
    assert other.ask("HEAD", path).status == 200
    assert other.ask("DELETE", "/buckets/b/collections/c/records/r").status == 200
    end = time.monotonic() + 30
    while client.ask("HEAD", path).status != 404:
        assert time.monotonic() < end, "the file is still there"


def replace_often(server: LoadedServer, records: list[str], chance: random.Random) -> None:
    """Put and remove files of some records, as others do at the same time."""
    client = server.connect()
    for number in range(15):
        record = chance.choice(records)
        if chance.random() < 0.2:
            path = f"{record}/attachment" if chance.random() < 0.5 else record
            assert client.ask("DELETE", path).status in (200, 204, 404)
            continue
        content = b"%d %d" % (number, chance.random() * 10**9)
        # A reader of JSON sends no form by itself.
        client._connection.request(
            "POST",
            f"/v1{record}/attachment",
            _HEAD + content + _END,
            {**client._headers, "Content-Type": "multipart/form-data; boundary=limit"},
        )
        response = client._connection.getresponse()
        assert response.status in (200, 201), response.read()
        described = json.loads(response.read())
        assert described["hash"] == hashlib.sha256(content).hexdigest()


def test_every_record_has_its_file_and_no_file_is_left_over_after_a_race(
    run_server: RunServer, mongo_uri: str, database: str, mongo_client: MongoClient[dict[str, Any]]
) -> None:
    given = {"KINTO_INCLUDES": "attachments", "KINTO_ATTACHMENT_EXTENSIONS": "any"}
    servers = [run_server(mongo_uri, **given) for _ in range(2)]
    client = servers[0].connect()
    client.put("/buckets/b")
    client.put("/buckets/b/collections/c")
    records = [f"/buckets/b/collections/c/records/{name}" for name in "xy"]
    run_together(
        *(
            partial(replace_often, servers[seed % 2], records, random.Random(seed))
            for seed in range(6)
        )
    )
    living = {
        one["id"]: one["attachment"]
        for one in records_of(client, "/buckets/b/collections/c").values()
        if one.get("attachment")
    }
    for attachment in living.values():
        size, digest = download(attachment["location"])
        assert (size, digest) == (attachment["size"], attachment["hash"])
    files = mongo_client[database]["fs.files"]
    names = {one["location"].rpartition("/")[2] for one in living.values()}
    end = time.monotonic() + 30
    while set(files.distinct("filename")) != names:
        assert time.monotonic() < end, (files.distinct("filename"), names)
    known = files.distinct("_id")
    assert mongo_client[database]["fs.chunks"].count_documents({"files_id": {"$nin": known}}) == 0
