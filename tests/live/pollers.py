"""Pollers of lists by cursor, some of whom wait: judged as those who are told."""

import asyncio
import random
from typing import NamedTuple

from tests.live.copies import Message, Topic, check, position_of
from tests.live.histories import History, parents_of
from tests.live.judges import differ, tell_log
from tests.live.sockets import Http, Lost
from tests.live.writers import Markers


class Poll(NamedTuple):
    """A poll, and what came of it.

    Attributes:
        since: its cursor; None for all there is.
        status: of the answer.
        cursor: of the answer, or one before it.
        exact: whether it is the answer's own.
        state: that was folded.
    """

    since: str | None
    status: int
    cursor: str | None
    exact: bool
    state: dict[str, Message]


class Poller:
    """One user who polls a list.

    Attributes:
        user: name; "" is an anonymous one.
        topic: the list.
        waits: whether it lets the server hold its polls.
        state: objects by URI.
        polls: all of them.
    """

    def __init__(self, user: str, topic: Topic, rng: random.Random, *, waits: bool) -> None:
        self.user = user
        self.topic = topic
        self.waits = waits
        self.state: dict[str, Message] = {}
        self.polls: list[Poll] = []
        self._rng = rng
        self._cursor: str | None = None
        self._marker: tuple[str, int] | None = None

    def finish(self, markers: Markers) -> None:
        """From now on it ends once it has heard the last words."""
        self._marker = markers[self.topic.path]

    def is_done(self) -> bool:
        """Whether it has heard them."""
        if self._marker is None:
            return False
        uri, last_modified = self._marker
        return self.state.get(uri, {}).get("last_modified") == last_modified

    async def run(self, urls: list[str]) -> None:
        """Poll until everything was heard after ``finish``."""
        while not self.is_done():
            client = Http(self._rng.choice(urls), self.user)
            try:
                for _ in range(self._rng.randint(1, 30)):
                    if not self.is_done():
                        await self._poll(client)
            except Lost:
                await asyncio.sleep(0.02)
            finally:
                client.close()

    async def _poll(self, client: Http) -> None:
        since = self._cursor
        query = "" if since is None else f"?_since={since}"
        if self.waits and since is not None:
            query += "&_wait=1"
        answer = await client.ask("GET", self.topic.path + query)
        check(answer.status in (200, 401, 403, 404, 410, 503), self.topic.path, query, answer)
        if answer.status == 200:
            if since is None:
                self.state = {}
            self._fold(answer.body["data"])
            # Who sees a part is told no cursor; all that the ETag may hide comes again.
            etag = answer.headers["etag"].strip('"')
            self._cursor = answer.headers.get("cursor", f"{etag}-0")
        elif answer.status != 503:
            self.state, self._cursor = {}, None
        whole = "cursor" in answer.headers
        self.polls.append(Poll(since, answer.status, self._cursor, whole, dict(self.state)))
        if not self.waits or answer.status != 200:
            await asyncio.sleep(self._rng.random() * 0.03)

    def _fold(self, entries: list[Message]) -> None:
        for entry in entries:
            uri = self.topic.uri_of(entry)
            if entry.get("deleted"):
                self.state.pop(uri, None)
            else:
                self.state[uri] = entry

    def judge(self, history: History, user_id: str) -> None:
        """Whoever has polled up to a cursor has what GET gave at an instant of it.

        Who sees a part only may be told an older cursor: what others do is none of theirs.

        Raises:
            Broken: With a readable account.
        """
        forgotten = history.forgotten(user_id)
        for number, poll in enumerate(self.polls):
            if poll.status != 200 or poll.cursor is None:
                continue
            instants = history.instants(self.topic, position_of(poll.cursor))
            later = () if poll.exact else range(instants[0], len(history.worlds))
            states = (history.contents(user_id, self.topic, one) for one in (*instants, *later))
            if any(_is_told(one, poll.state, forgotten) for one in states):
                continue
            wanted = history.contents(user_id, self.topic, instants[-1])
            lines = [_show(one) for one in self.polls[: number + 1]]
            log = tell_log(history, self.topic, instants[-1] + 3)[-60:]
            lines = ["polls:", *lines[-20:], *log, differ(poll.state, wanted)]
            check(False, self.user, self.topic.path, self.waits, instants, poll[:4], *_rows(lines))


def _is_told(wanted: dict[str, Message], state: dict[str, Message], surplus: set[str]) -> bool:
    kept = state.keys() - wanted.keys()
    told = {uri: one for uri, one in state.items() if uri not in kept}
    return told == wanted and all(not surplus.isdisjoint([u, *parents_of(u)]) for u in kept)


def _show(poll: Poll) -> str:
    part = "" if poll.exact else "a part: "
    ids = " ".join(sorted(uri.rpartition("/")[2] for uri in poll.state))
    return f"{poll.since} -> {poll.status} {poll.cursor} {part}{ids}"


def _rows(lines: list[str]) -> list[str]:
    return [f"\n  {line}" for line in lines]
