"""Judges what a subscriber heard by the log of what was done."""

from collections import defaultdict

from tests.live.copies import Broken, Copy, Message, Topic, check, position_of
from tests.live.histories import History
from tests.live.subscribers import Subscriber, Wish, describe

_CONTEXT = 40
"""Messages that a report shows of those before a broken promise."""

_NEAR = 25
"""Revisions that a reader who does not lag is behind at most, about."""

_UPSERTS = ("create", "update", "enter")


class Judge:
    """Judges one subscriber's transcript."""

    def __init__(
        self,
        history: History,
        subscriber: Subscriber,
        user_id: str,
        *,
        strict: bool,
        sample: int = 1,
    ) -> None:
        """Begin.

        Args:
            history: what was done.
            subscriber: whose transcript it is.
            user_id: who that is to the server; "" is an anonymous one.
            strict: whether it never lags. Who does is not told when a silent backfill
                begins and ends, so that its events are in order, but not each at its time.
            sample: every how manieth live event all that was folded is compared.
        """
        self._history = history
        self._subscriber = subscriber
        self._user = user_id
        self._strict = strict
        self._sample = sample
        self._events = 0
        self._copies = {name: Copy(wish.topic) for name, wish in subscriber.wishes.items()}
        self._last: defaultdict[str, int] = defaultdict(int)
        self._abreast: set[tuple[str, str]] = set()

    def judge(self) -> None:
        """Go through all that was heard.

        Raises:
            Broken: With a readable account.
        """
        for number, (name, message) in enumerate(self._subscriber.transcript):
            try:
                self._judge(name, message)
            except Broken as error:
                raise Broken(self._tell(number, name, error)) from None

    def _judge(self, name: str, message: Message) -> None:
        wish, copy = self._subscriber.wishes[name], self._copies[name]
        kind = message["type"]
        live = copy.consistent
        before = dict(copy.state) if kind == "event" else {}
        if kind == "cut":
            self._last.clear()
        copy.hear(message)
        if not copy.consistent:
            self._abreast = {one for one in self._abreast if one[0] != name}
        if wish.pokes:
            return
        if kind in ("ready", "progress") and (kind == "ready" or self._strict):
            self._check_consistent(wish, copy, message["cursor"])
        elif kind == "snapshot":
            self._check_page(wish, copy, message)
        elif kind == "event":
            index = self._find(wish, message)
            try:
                if live and self._strict:
                    self._check_live(name, message, index, before)
                else:
                    self._check_backfilled(wish, message, index)
            except Broken:
                if not self._may_collapse(wish, message, index):
                    raise
                self._check_backfilled(wish, message, index)

    def _check_consistent(self, wish: Wish, copy: Copy, cursor: str) -> None:
        """What was folded is what GET gave at an instant of this cursor."""
        instants = self._history.instants(wish.topic, position_of(cursor))
        for instant in instants:
            if self._history.contents(self._user, wish.topic, instant) == copy.state:
                return
        wanted = self._history.contents(self._user, wish.topic, instants[-1])
        raise Broken(f"not what GET gives at {cursor}, {instants}: {differ(copy.state, wanted)}")

    def _check_page(self, wish: Wish, copy: Copy, message: Message) -> None:
        assert copy.announced is not None
        instants = self._history.instants(wish.topic, position_of(copy.announced))
        uris = {wish.topic.uri_of(entry) for entry in message["data"]}
        seen = [set(self._history.visible(self._user, wish.topic, one)) for one in instants]
        check(any(uris <= one for one in seen), "a page of what may not be seen", instants)

    def _find(self, wish: Wish, message: Message) -> int:
        index = self._history.find(wish.topic, position_of(message["cursor"]))
        check(index is not None, "no revision at", message["cursor"])
        assert index is not None
        check(self._history.log[index].uri == message["uri"], "another object's cursor")
        return index

    def _check_live(
        self, name: str, message: Message, index: int, before: dict[str, Message]
    ) -> None:
        """A live event is judged as of its own place; it tells all there is to tell by then."""
        history, uri = self._history, message["uri"]
        wish, copy = self._subscriber.wishes[name], self._copies[name]
        self._events += 1
        if self._events % self._sample == 0:
            wanted = history.contents(self._user, wish.topic, index + 1)
            if copy.state != wanted:
                raise Broken(f"[{index}] at its place: {differ(copy.state, wanted)}")
        revision = history.log[index]
        self._check_order(name, revision.bucket, index)
        # A collection that goes takes its records along, whether it matched the filter or not.
        takes = wish.topic.kind == "feed" and revision.action == "delete" and "/records/" not in uri
        if message["action"] not in _UPSERTS and not takes:
            check(uri in before, f"[{index}] {message['action']} of what was not there")
        seen = history.sees(self._user, uri, index)
        check(message["action"] != "create" or revision.before is None, "no creation")
        check("old" not in message or seen, f"[{index}] shows what it was before")
        if "permissions" in message:
            acl = history.worlds[index + 1][uri].acl
            principals = history.principals(self._user, index + 1)
            check(acl.get("write", set()) & principals, f"[{index}] shows permissions")
        included = wish.options.get("include", ())
        check("user_id" not in included or message["user_id"] == revision.by, "user_id")

    def _may_collapse(self, wish: Wish, message: Message, index: int) -> bool:
        """Whether rights were changed hereabouts, and perhaps back again.

        Then the subscription may have caught up in silence, as one that lags.
        """
        last = self._history.instants(wish.topic, position_of(message["prev"]))[0]
        end = min(index + _NEAR, len(self._history.log))
        return self._history.turns(self._user, last, end)

    def _check_order(self, name: str, bucket: str, index: int) -> None:
        """Those of a bucket come in one order, once a newcomer was told what it had to wait for."""
        last = self._last[bucket]
        if (name, bucket) in self._abreast:
            check(index >= last, f"[{index}] after [{last}]")
        elif index >= last:
            self._abreast.add((name, bucket))
        self._last[bucket] = max(last, index)

    def _check_backfilled(self, wish: Wish, message: Message, index: int) -> None:
        """What is shown may be read at an instant at which it was shown."""
        history, uri = self._history, message["uri"]
        if message["action"] in _UPSERTS:
            end = len(history.log) + 1
            all_of_it = wish.options.get("history") == "all"
            shown = range(index + 1, end) if all_of_it else history.lifetime(index)
            check(any(history.sees(self._user, uri, i) for i in shown), f"[{index}] leaks")
        else:
            ever = range(len(history.worlds))
            check(any(history.sees(self._user, uri, i) for i in ever), f"[{index}] leaks its going")

    # Words.

    def _tell(self, number: int, name: str, error: Broken) -> str:
        subscriber = self._subscriber
        wish = subscriber.wishes[name]
        mine = [m for n, m in subscriber.transcript[: number + 1] if n == name]
        lines = [f"{subscriber.user or 'anonymous'} ({self._user}) {subscriber.temper}"]
        lines += [f"{name}: {wish.topic.target} {wish.options}", "heard:"]
        lines += [f"  {self._place(wish, m)}{describe(m)}" for m in mine[-_CONTEXT:]]
        return "\n".join([*lines, f"BROKEN: {error}", *self._tell_log(wish, mine)])

    def _place(self, wish: Wish, message: Message) -> str:
        cursor = message.get("cursor")
        if not cursor:
            return ""
        instants = self._history.instants(wish.topic, position_of(cursor))
        return f"@{instants[0]} "

    def _tell_log(self, wish: Wish, heard: list[Message]) -> list[str]:
        cursors = [m["cursor"] for m in heard if m.get("cursor")]
        if not cursors:
            return []
        last = self._history.instants(wish.topic, position_of(cursors[-1]))[-1]
        return ["log:", *tell_log(self._history, wish.topic, last + 5)[-2 * _CONTEXT :]]


def tell_log(history: History, topic: Topic, end: int) -> list[str]:
    """Entries of the log as lines: those of a topic, and those about rights."""
    lines = []
    for index, one in enumerate(history.log[:end]):
        if "/records/" in one.uri and not history.is_about(topic, one.uri):
            continue
        acl = {name: [who[:18] for who in named] for name, named in one.acl.items()}
        text = one.json.decode()[:120]
        lines.append(f"  [{index}] {one.action} {one.uri} {text} {acl} {one.touched or ''}")
    return lines


def differ(found: dict[str, Message], wanted: dict[str, Message]) -> str:
    """How a copy differs from what it should be."""
    lines = [f"missing {uri} {wanted[uri]}" for uri in wanted if uri not in found]
    lines += [f"too much {uri} {found[uri]}" for uri in found if uri not in wanted]
    both = [uri for uri in wanted if uri in found and found[uri] != wanted[uri]]
    lines += [f"{uri} is {found[uri]} and should be {wanted[uri]}" for uri in both]
    return "; ".join(lines).replace("x" * 100, "…")[:3000]
