"""What is measured: five requests that clients send all the time, and their targets."""

import base64
import http.client
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

LISTED = 100
BATCHED = 25
PREFIX = "/v1"
_AUTHORIZATION = "Basic " + base64.b64encode(b"bench:secret").decode()
_RECORD = {
    "title": "Buy milk, and see whether the shop has that bread again",
    "done": False,
    "priority": 3,
    "tags": ["home", "shop"],
    "due": {"date": "2030-01-31", "zone": "Europe/Paris"},
}


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of request, ready to be sent.

    Attributes:
        requests: whole HTTP/1.1 requests, to be sent in turn.
        status: of every right answer.
        pattern: regular expression that occurs ``times`` times in its body.
    """

    requests: list[str]
    status: int
    pattern: str
    times: int


@dataclass(frozen=True, slots=True)
class Site:
    """A server to be measured, with a bucket that was made for it.

    Attributes:
        records: path of the list with ``LISTED`` records; ``created``: of the one that grows.
        etag: of the list that does not change, with its quotes.
    """

    host: str
    port: int
    records: str
    created: str
    etag: str

    def request(self, method: str, path: str, body: object = None, **headers: str) -> str:
        """The text of a request; header names with ``_`` for ``-``."""
        text = "" if body is None else json.dumps(body)
        lines = [f"{method} {PREFIX}{path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"Authorization: {_AUTHORIZATION}", "Accept: application/json"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if text:
            lines += ["Content-Type: application/json", f"Content-Length: {len(text)}"]
        return "\r\n".join([*lines, "", text])


def _get(site: Site) -> Workload:
    ids = [f"r{i:03}" for i in range(LISTED)]
    requests = [site.request("GET", f"{site.records}/{id_}") for id_ in ids]
    return Workload(requests, 200, '"last_modified"', 1)


def _not_modified(site: Site) -> Workload:
    request = site.request("GET", site.records, If_None_Match=site.etag)
    return Workload([request], 304, "", 0)


def _create(site: Site) -> Workload:
    request = site.request("POST", site.created, {"data": _RECORD})
    return Workload([request], 201, '"last_modified"', 1)


def _list(site: Site) -> Workload:
    return Workload([site.request("GET", site.records)], 200, '"last_modified"', LISTED)


def _batch(site: Site) -> Workload:
    one = {"method": "POST", "path": PREFIX + site.created, "body": {"data": _RECORD}}
    request = site.request("POST", "/batch", {"requests": [one] * BATCHED})
    return Workload([request], 200, r'"status": *201', BATCHED)


@dataclass(frozen=True, slots=True)
class Measured:
    """A workload by name.

    Attributes:
        target: the most that the server's CPU may be, as a multiple of the bare handler's.
    """

    title: str
    target: float
    make: Callable[[Site], Workload]


WORKLOADS = {
    "get": Measured("GET a record", 5, _get),
    "304": Measured("list, If-None-Match: 304", 4, _not_modified),
    "create": Measured("create one record", 6, _create),
    "list": Measured(f"list of {LISTED} records", 9, _list),
    "batch": Measured(f"batch of {BATCHED} creates", 25, _batch),
}

BARE = Workload(["GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"], 200, '"last_modified"', 1)


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> str:
    headers = {"Authorization": _AUTHORIZATION, "Content-Type": "application/json"}
    text = None if body is None else json.dumps(body)
    connection.request(method, PREFIX + path, text, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status not in (200, 201):
        raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]!r}")
    return answer.getheader("ETag", "")


def _chunks(items: list[Any], size: int) -> Iterable[list[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def prepare(host: str, port: int) -> Site:
    """Make a bucket of our own there, with the records to be read.

    Raises:
        RuntimeError: If the server does not do as it is asked.
    """
    bucket = f"/buckets/bench-{uuid.uuid4()}"
    read, grown = f"{bucket}/collections/read", f"{bucket}/collections/grown"
    connection = http.client.HTTPConnection(host, port, timeout=60)
    for path in (bucket, read, grown):
        _ask(connection, "PUT", path, None)
    puts = [
        {"method": "PUT", "path": f"{PREFIX}{read}/records/r{i:03}", "body": {"data": _RECORD}}
        for i in range(LISTED)
    ]
    for chunk in _chunks(puts, BATCHED):
        _ask(connection, "POST", "/batch", {"requests": chunk})
    etag = _ask(connection, "GET", f"{read}/records", None)
    connection.close()
    return Site(host, port, f"{read}/records", f"{grown}/records", etag)


def clear(site: Site) -> None:
    """Delete the bucket made for ``site``."""
    connection = http.client.HTTPConnection(site.host, site.port, timeout=300)
    _ask(connection, "DELETE", site.records.split("/collections/")[0], None)
    connection.close()
