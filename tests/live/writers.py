"""Random writers: everything a client may do that a subscriber has to hear of."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.live.copies import check
from tests.live.sockets import Answer, Http, Lost

Body = dict[str, Any]

BUCKET = "/buckets/a"
OTHER = "/buckets/z"
COLLECTIONS = (f"{BUCKET}/collections/c", f"{BUCKET}/collections/d")
GROUPS = (f"{BUCKET}/groups/g", f"{BUCKET}/groups/h", f"{OTHER}/groups/k")
OBJECTS = (f"{COLLECTIONS[0]}/records/r1", GROUPS[0], COLLECTIONS[1])
"""That are subscribed to as objects."""

USERS = ("alice", "bob", "carol", "dave", "erin", "")
EVERYONE = "system.Everyone"
RECORDS = 8
PADDING = "x" * 1500

_EXPECTED = (200, 201, 304, 403, 404, 412)


@dataclass(frozen=True)
class Request:
    """One request, alone or in a batch."""

    method: str
    path: str
    body: Body | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def as_part(self) -> Body:
        part: Body = {"method": self.method, "path": f"/v1{self.path}", "headers": self.headers}
        return part if self.body is None else part | {"body": self.body}


class Chooser:
    """Makes up requests.

    Attributes:
        people: user ids by name; "" is the anonymous one's principal.
    """

    def __init__(
        self,
        rng: random.Random,
        people: dict[str, str],
        *,
        padding: float = 0,
    ) -> None:
        """Begin.

        Args:
            rng: chooses.
            people: see above.
            padding: how many records are long.
        """
        self.rng = rng
        self.people = people
        self._padding = padding
        self._makers: list[tuple[float, Callable[[], Request]]] = [
            (30, self._put_record),
            (12, self._patch_record),
            (10, self._share_record),
            (8, self._delete_record),
            (1.5, self._delete_list),
            (4, self._share_collection),
            (2, self._share_bucket),
            (6, self._put_group),
            (1.5, self._delete_group),
            (1.5, self._put_collection),
            (1, self._delete_collection),
            (0.3, self._delete_bucket),
            (1.5, self._put_bucket),
        ]

    def request(self) -> Request:
        """A request, alone."""
        weights = [weight for weight, _ in self._makers]
        return self.rng.choices(self._makers, weights)[0][1]()

    def parent(self) -> Request:
        """Make something again that others need, most likely."""
        return self.rng.choice((self._put_bucket, self._put_collection, self._put_group))()

    def batch(self) -> Request:
        """Several of them in one."""
        parts = [self.request().as_part() for _ in range(self.rng.randint(2, 6))]
        return Request("POST", "/batch", {"requests": parts})

    # Values.

    def _users(self) -> list[str]:
        return [self.people[name] for name in ("bob", "carol", "dave", "erin")]

    def _principals(self) -> list[str]:
        # Mostly nobody, or one group: whoever may see all hides what sharing does.
        choices = [*self._users(), *GROUPS, *GROUPS, "system.Authenticated", EVERYONE]
        count = self.rng.choices((0, 1, 2), (5, 4, 1))[0]
        return self.rng.sample(choices, count)

    def _members(self) -> list[str]:
        if self.rng.random() < 0.05:
            return ["system.Authenticated"]
        return self.rng.sample(self._users(), self.rng.randint(0, 2))

    def _read(self, *permissions: str) -> Body:
        acl: Body = {"read": self._principals()}
        for name in permissions:
            if self.rng.random() < 0.3:
                acl[name] = self._principals()
        return acl

    def _data(self) -> Body:
        data: Body = {"n": self.rng.randint(0, 3), "tag": self.rng.choice("ab")}
        data["v"] = self.rng.getrandbits(30)
        if self.rng.random() < self._padding:
            data["pad"] = PADDING
        return data

    def _date(self, data: Body) -> Body:
        choice = self.rng.random()
        if choice < 0.12:
            data["last_modified"] = 1_600_000_000_000 + self.rng.randint(0, 5)
        elif choice < 0.16:
            data["last_modified"] = 1_900_000_000_000 + self.rng.randint(0, 1_000_000)
        return data

    def _records(self) -> str:
        return f"{self.rng.choice((COLLECTIONS[0], *COLLECTIONS))}/records"

    def _record(self) -> str:
        return f"{self._records()}/r{self.rng.randrange(RECORDS)}"

    def _collection(self) -> str:
        return self.rng.choice(COLLECTIONS)

    # Requests.

    def _put_record(self) -> Request:
        body: Body = {"data": self._date(self._data())}
        if self.rng.random() < 0.3:
            body["permissions"] = self._read("write")
        return Request("PUT", self._record(), body)

    def _patch_record(self) -> Request:
        changes = dict(self.rng.sample(sorted(self._data().items()), 1))
        return Request("PATCH", self._record(), {"data": self._date(changes)})

    def _share_record(self) -> Request:
        return Request("PATCH", self._record(), {"permissions": self._read()})

    def _delete_record(self) -> Request:
        past = "?last_modified=1600000000100" if self.rng.random() < 0.2 else ""
        return Request("DELETE", self._record() + past)

    def _delete_list(self) -> Request:
        return Request("DELETE", f"{self._records()}?n={self.rng.randint(0, 3)}")

    def _share_collection(self) -> Request:
        acl = self._read("record:create")
        return Request("PATCH", self._collection(), {"permissions": acl})

    def _share_bucket(self) -> Request:
        acl = self._read("collection:create") if self.rng.random() < 0.5 else {"read": []}
        return Request("PATCH", BUCKET, {"permissions": acl})

    def _put_group(self) -> Request:
        body: Body = {"data": {"members": self._members(), "n": self.rng.randint(0, 3)}}
        if self.rng.random() < 0.3:
            body["permissions"] = self._read()
        return Request("PUT", self.rng.choice(GROUPS), body)

    def _delete_group(self) -> Request:
        return Request("DELETE", self.rng.choice(GROUPS))

    def _put_collection(self) -> Request:
        body: Body = {"data": {"n": self.rng.randint(0, 3)}}
        if self.rng.random() < 0.7:
            body["permissions"] = self._read("record:create")
        return Request("PUT", self._collection(), body)

    def _delete_collection(self) -> Request:
        return Request("DELETE", self._collection())

    def _delete_bucket(self) -> Request:
        return Request("DELETE", self.rng.choice((BUCKET, OTHER, OTHER)))

    def _put_bucket(self) -> Request:
        # Whoever makes it: the owner of all has to be able to write the last words.
        owned = {"permissions": {"write": [self.people["alice"]]}}
        return Request("PUT", self.rng.choice((BUCKET, OTHER)), owned)


class Writer:
    """Writes by turns, to the servers there are at the time."""

    def __init__(self, chooser: Chooser, urls: list[str], user: str) -> None:
        self._chooser = chooser
        self._urls = urls
        self._user = user
        self._clients: dict[str, Http] = {}

    def _client(self) -> Http:
        url = self._chooser.rng.choice(self._urls)
        if url not in self._clients:
            self._clients[url] = Http(url, self._user)
        return self._clients[url]

    async def write(self, count: int) -> None:
        """Write a number of times; without a pause, or with some."""
        rng = self._chooser.rng
        for _ in range(count):
            request = self._chooser.batch() if rng.random() < 0.1 else self._chooser.request()
            try:
                answer = await ask(self._client(), request)
                if answer.status == 404 and rng.random() < 0.4:
                    await ask(self._client(), self._chooser.parent())
            except Lost:
                # The server was killed: whether it was done, the log will say.
                await asyncio.sleep(0.02)
                continue
            if answer.status != 503:
                check(_is_expected(answer), request, "was answered", answer)
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() * 0.01)

    def close(self) -> None:
        """Let go of the connections."""
        for client in self._clients.values():
            client.close()


def _is_expected(answer: Answer) -> bool:
    parts = (answer.body or {}).get("responses", ())
    return answer.status in _EXPECTED and all(one["status"] in _EXPECTED for one in parts)


async def ask(client: Http, request: Request) -> Answer:
    """Send a request."""
    return await client.ask(request.method, request.path, request.body, request.headers)


def ensure_ok(answer: Answer) -> Answer:
    """The answer, if it is a success, with all its parts."""
    check(answer.status in (200, 201), answer)
    parts = (answer.body or {}).get("responses", ())
    check(all(one["status"] in (200, 201) for one in parts), answer)
    return answer


Markers = dict[str, tuple[str, int]]
"""Path of a topic, to the last thing written in it: its URI and ``last_modified``."""

_SHARED = {"read": [EVERYONE]}


async def write_markers(client: Http) -> Markers:
    """Write last words, which everybody may read, in every topic."""
    await _ensure(client, BUCKET, *COLLECTIONS, *GROUPS[:2])
    data: Body = {"n": 1, "tag": "a"}
    seen = {"record:create": [EVERYONE]}
    markers: Markers = {}

    async def mark(topic: str, uri: str, permissions: Body, data: Body) -> None:
        answer = await client.ask("PUT", uri, {"data": data, "permissions": permissions})
        check(answer.status in (200, 201), "a marker was answered", answer)
        markers[topic] = uri, answer.body["data"]["last_modified"]

    record, group, collection = OBJECTS
    await mark(record, record, _SHARED, data)
    await mark(group, group, _SHARED, {**data, "members": []})
    await mark(collection, collection, seen, data)
    await mark("/buckets", "/buckets/marker", _SHARED, data)
    await mark(f"{BUCKET}/groups", f"{BUCKET}/groups/marker", _SHARED, {**data, "members": []})
    await mark(f"{BUCKET}/collections", f"{BUCKET}/collections/marker", _SHARED, data)
    await mark(f"{COLLECTIONS[1]}/records", f"{COLLECTIONS[1]}/records/marker", _SHARED, data)
    records = f"{COLLECTIONS[0]}/records"
    await mark(records, f"{records}/marker", _SHARED, data)
    # The last of all in the bucket.
    markers[BUCKET] = markers[records]
    return markers


async def _ensure(client: Http, *uris: str) -> None:
    for uri in uris:
        body: Body = {"data": {"members": []} if "/groups/" in uri else {}}
        answer = await client.ask("PUT", uri, body, {"If-None-Match": "*"})
        check(answer.status in _EXPECTED, uri, "was answered", answer)
