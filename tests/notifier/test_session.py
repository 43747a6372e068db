import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from notifier.messages import Auth, Hello, Subscribe
from notifier.session import (
    BAD_MESSAGE,
    TOO_LARGE,
    TOO_MANY,
    Begin,
    Close,
    Effect,
    End,
    Identify,
    Recheck,
    Say,
    Session,
    SessionLimits,
    Welcome,
    describe_error,
)
from server.core.errors import Forbidden, RateLimited
from server.core.permissions import ANONYMOUS
from tests.notifier.scenes import BOB, CAROL, make_subscription


def make_session(*, greeted: bool = True, **limits: Any) -> Session:
    session = Session(SessionLimits(**{"burst": 100, **limits}), ANONYMOUS)
    if greeted:
        assert say(session, "hello") == [Welcome(None)]
    return session


def say(session: Session, kind: str, **members: Any) -> list[Effect]:
    return session.receive(json.dumps({"type": kind, **members}), 0)


def begin(session: Session, name: str = "s") -> Begin:
    """Subscribe, and begin as whoever carries the connection does."""
    (effect,) = say(session, "subscribe", sub=name, path="/buckets")
    assert isinstance(effect, Begin)
    session.subscriptions[name] = make_subscription(name=name)
    return effect


def errors_in(effects: list[Effect]) -> list[tuple[Any, Any, int, str]]:
    """Id, subscription, code and first name of the details of each error, nothing else being."""
    found = []
    for effect in effects:
        assert isinstance(effect, Say)
        assert effect.kind == "error"
        members = effect.members
        name = members["details"][0]["name"] if "details" in members else ""
        found.append((members["id"], members["sub"], members["code"], name))
    return found


# Hello.


def test_hello_is_welcomed() -> None:
    session = make_session(greeted=False)
    assert not session.greeted
    assert say(session, "hello", id=1) == [Welcome(1)]
    assert session.greeted
    assert session.actor == ANONYMOUS


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("auth", {"authorization": "Basic x"}),
        ("subscribe", {"sub": "s", "path": "/buckets"}),
        ("unsubscribe", {"sub": "s"}),
    ],
)
def test_whatever_else_comes_before_hello_is_refused(kind: str, members: Any) -> None:
    session = make_session(greeted=False)
    found = say(session, kind, id=1, **members)
    assert errors_in(found) == [(1, None, 400, "type")]
    assert session.subscriptions == {}
    assert say(session, "hello", id=2) == [Welcome(2)]


def test_second_hello_is_refused_and_its_subscriptions_do_not_begin() -> None:
    session = make_session()
    found = say(session, "hello", id=2, subscribe=[{"sub": "s", "path": "/buckets"}])
    assert errors_in(found) == [(2, None, 400, "type")]
    assert session.subscriptions == {}


def test_hello_begins_subscriptions_and_refuses_those_that_cannot_be() -> None:
    session = make_session(greeted=False, subscriptions=2)
    bodies = [
        {"id": 1, "sub": "a", "path": "/buckets", "since": "now"},
        {"id": 2, "sub": "a", "path": "/buckets"},
        {"id": 3, "sub": "b"},
        "nonsense",
        {"id": 4, "sub": "c", "path": "/buckets/b"},
        {"id": 5, "sub": "d", "path": "/buckets/b"},
    ]
    effects = say(session, "hello", id=0, subscribe=bodies)
    assert effects[:2] == [Welcome(0), Begin(Subscribe(1, "a", "/buckets", "now"))]
    assert errors_in(effects[2:5]) == [
        (2, "a", 400, "sub"),
        (3, "b", 400, "path"),
        (None, None, 400, "subscribe"),
    ]
    assert effects[5] == Begin(Subscribe(4, "c", "/buckets/b"))
    assert errors_in(effects[6:]) == [(5, "d", 429, "")]
    assert session.subscriptions == {"a": None, "c": None}
    assert session.begun == []


def test_hello_with_credentials_is_welcomed_once_they_are_known() -> None:
    session = make_session(greeted=False)
    body = {"sub": "s", "path": "/buckets"}
    (asked,) = say(session, "hello", id=1, authorization="Basic x", subscribe=[body])
    cause = Hello(1, "Basic x", (body,))
    assert asked == Identify("Basic x", cause)
    assert session.subscriptions == {}
    told = session.identified(cause, BOB)
    assert told == [Welcome(1), Begin(Subscribe(None, "s", "/buckets"))]
    assert session.actor == BOB


def test_credentials_in_hello_do_not_count_for_who_is_known_already() -> None:
    session = make_session(greeted=False)
    session.actor = BOB
    assert say(session, "hello", id=1, authorization="Basic x") == [Welcome(1)]
    assert session.actor == BOB


def test_malformed_hello_may_be_said_again() -> None:
    session = make_session(greeted=False)
    assert errors_in(say(session, "hello", id=1, subscribe=1)) == [(1, None, 400, "subscribe")]
    assert say(session, "hello", id=2) == [Welcome(2)]


# Others.


def test_auth_makes_somebody_else_of_who_speaks() -> None:
    session = make_session()
    cause = Auth(1, "Basic x")
    assert say(session, "auth", id=1, authorization="Basic x") == [Identify("Basic x", cause)]
    assert session.actor == ANONYMOUS
    assert session.identified(cause, CAROL) == [Recheck(1)]
    assert session.actor == CAROL


@pytest.mark.parametrize("greeted", [True, False])
def test_ping_is_answered_at_any_time(greeted: bool) -> None:
    session = make_session(greeted=greeted)
    assert say(session, "ping", id="p", t=[1]) == [Say("pong", {"id": "p", "t": [1]})]


def test_name_is_taken_from_the_request_to_the_end() -> None:
    session = make_session()
    (first,) = say(session, "subscribe", id=1, sub="s", path="/buckets", since="5")
    assert first == Begin(Subscribe(1, "s", "/buckets", "5"))
    again = {"sub": "s", "path": "/buckets/b"}
    assert errors_in(say(session, "subscribe", id=2, **again)) == [(2, "s", 400, "sub")]
    # It has not begun yet, so there is nothing to end; the name remains its own.
    assert errors_in(say(session, "unsubscribe", id=3, sub="s")) == [(3, "s", 400, "sub")]
    subscription = make_subscription()
    session.subscriptions["s"] = subscription
    assert session.begun == [subscription]
    assert errors_in(say(session, "subscribe", id=4, **again)) == [(4, "s", 400, "sub")]
    told = {"id": 5, "sub": "s", "code": 200, "reason": "unsubscribed", "purge": False}
    ended = say(session, "unsubscribe", id=5, sub="s")
    assert ended == [End(subscription), Say("unsubscribed", told)]
    assert session.begun == []
    assert say(session, "subscribe", **again) == [Begin(Subscribe(None, "s", "/buckets/b"))]


def test_unsubscribing_what_is_no_subscription_is_refused() -> None:
    assert errors_in(say(make_session(), "unsubscribe", id=1, sub="s")) == [(1, "s", 400, "sub")]


def test_subscription_beyond_the_limit_is_refused_until_another_ends() -> None:
    session = make_session(subscriptions=2)
    begin(session, "a")
    begin(session, "b")
    refused = say(session, "subscribe", id=3, sub="c", path="/buckets")
    assert errors_in(refused) == [(3, "c", 429, "")]
    say(session, "unsubscribe", sub="a")
    begin(session, "c")
    assert [one.name for one in session.begun] == ["b", "c"]


def test_message_that_cannot_be_understood_is_refused_and_the_next_one_heard() -> None:
    session = make_session()
    assert errors_in(say(session, "nonsense", id=1)) == [(1, None, 400, "type")]
    refused = say(session, "subscribe", id=2, sub="s")
    assert errors_in(refused) == [(2, "s", 400, "path")]
    begin(session)


# What ends a connection.


@pytest.mark.parametrize("frame", [b"", b"\x00", b'{"type":"ping"}'])
def test_binary_frame_ends_the_connection(frame: bytes) -> None:
    (close,) = make_session().receive(frame, 0)
    assert isinstance(close, Close)
    assert close.code == BAD_MESSAGE


@pytest.mark.parametrize("frame", ["", "{", "[]", "null", '{"type":"ping"}x', "x" * 300])
def test_frame_that_is_no_message_ends_the_connection(frame: str) -> None:
    (close,) = make_session().receive(frame, 0)
    assert isinstance(close, Close)
    assert close.code == BAD_MESSAGE
    assert 0 < len(close.reason) <= 100


@pytest.mark.parametrize(("letter", "size"), [("x", 1), ("ä", 2), ("☺", 3)])
def test_frame_of_too_many_bytes_ends_the_connection(letter: str, size: int) -> None:
    def frame(letters: int) -> str:
        return json.dumps({"type": "ping", "t": letter * letters}, ensure_ascii=False)

    whole = len(frame(0)) + 10 * size
    (answer,) = make_session(message_bytes=whole).receive(frame(10), 0)
    assert isinstance(answer, Say)
    (close,) = make_session(message_bytes=whole - 1).receive(frame(10), 0)
    assert close == Close(TOO_LARGE, f"a message may have {whole - 1} bytes")


# Too many messages.


def ping(session: Session, now: float) -> str:
    """What a message meets with."""
    (effect,) = session.receive('{"type":"ping"}', now)
    if isinstance(effect, Close):
        assert effect.code == TOO_MANY
        return "close"
    assert isinstance(effect, Say)
    if effect.kind == "error":
        assert effect.members["code"] == RateLimited.status
        assert effect.members["errno"] == RateLimited.errno
        assert effect.members["retry_after"] == 1
    return effect.kind


def test_messages_beyond_the_burst_are_refused_until_time_has_passed() -> None:
    session = make_session(greeted=False, messages_per_second=2, burst=3)
    assert [ping(session, 0) for _ in range(5)] == ["pong"] * 3 + ["error"] * 2
    assert [ping(session, 0.5) for _ in range(2)] == ["pong", "error"]
    assert [ping(session, 0.75) for _ in range(1)] == ["error"]
    assert [ping(session, 1) for _ in range(2)] == ["pong", "error"]


def test_messages_that_were_not_sent_count_only_up_to_the_burst() -> None:
    session = make_session(greeted=False, messages_per_second=2, burst=3)
    assert [ping(session, now) for now in (0, 1000, 1000, 1000, 1000)] == ["pong"] * 4 + ["error"]


def test_ten_times_as_many_messages_end_the_connection() -> None:
    session = make_session(greeted=False, messages_per_second=2, burst=3)
    assert [ping(session, 0) for _ in range(31)] == ["pong"] * 3 + ["error"] * 27 + ["close"]


def test_ten_times_the_rate_ends_the_connection_in_the_long_run() -> None:
    told: list[str] = []
    session = make_session(greeted=False, messages_per_second=1, burst=2)
    while "close" not in told and len(told) < 1000:
        told.append(ping(session, len(told) / 20))
    # Twenty come in a second and ten are tolerated, beside twenty at once.
    assert len(told) in range(39, 43)
    slower = make_session(greeted=False, messages_per_second=1, burst=2)
    assert "close" not in [ping(slower, count / 9) for count in range(1000)]


def test_refused_messages_do_nothing() -> None:
    session = make_session(messages_per_second=1, burst=1)
    (refused,) = say(session, "subscribe", id=7, sub="s", path="/buckets")
    assert isinstance(refused, Say)
    assert (refused.kind, session.subscriptions) == ("error", {})


def test_error_is_described_by_its_fields_beside_whom_it_answers() -> None:
    assert describe_error(Forbidden(), 1, "s") == {
        "id": 1,
        "sub": "s",
        "code": 403,
        "errno": 121,
        "error": "Forbidden",
        "message": "This user cannot access this resource.",
    }


# Whatever is said, and in whatever order.

NAMES = st.sampled_from(["a", "b", "c", "d", "bad name"])
PATHS = st.sampled_from(["/buckets", "/buckets/b/changes", None])
BODIES = st.fixed_dictionaries({"sub": NAMES, "path": PATHS}, optional={"id": st.just("inner")})
MESSAGES = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["ping", "auth", "nonsense"])}),
    st.fixed_dictionaries({"type": st.just("auth"), "authorization": st.just("Basic x")}),
    st.fixed_dictionaries(
        {"type": st.just("hello")},
        optional={
            "authorization": st.sampled_from(["Basic x", 1]),
            "subscribe": st.lists(BODIES | st.just(1), max_size=4),
        },
    ),
    BODIES.map(lambda body: {"type": "subscribe", **body}),
    BODIES.map(lambda body: {"type": "subscribe", **body}),
    NAMES.map(lambda name: {"type": "unsubscribe", "sub": name}),
)
FRAMES = st.text(max_size=20) | st.binary(max_size=5) | st.just("x" * 1000)


class SessionPromises(RuleBasedStateMachine):
    """A client that says anything, and a connection that does what the session says."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sent = 0
        self.connect()

    @precondition(lambda self: self.closed)
    @rule()
    def connect(self) -> None:
        limits = SessionLimits(subscriptions=2, message_bytes=900, messages_per_second=1, burst=6)
        self.session = Session(limits, ANONYMOUS)
        self.closed = False
        self.welcomed = 0
        self.names: set[str] = set()

    @precondition(lambda self: not self.closed)
    @rule(message=MESSAGES, pause=st.sampled_from([0, 0.1, 2]), known=st.booleans())
    def talk(self, message: dict[str, Any], pause: float, known: bool) -> None:
        self.now += pause
        self.sent += 1
        frame = json.dumps({**message, "id": self.sent})
        answers = self._do(self.session.receive(frame, self.now), known=known)
        if self.closed:
            return
        mine = [one for one in answers if one == self.sent]
        # Of a message that nobody read, because there are too many, the id is not known.
        assert mine == [self.sent] or answers == [None]
        assert all(one in (self.sent, "inner", None) for one in answers)

    @precondition(lambda self: not self.closed)
    @rule(frame=FRAMES)
    def babble(self, frame: str | bytes) -> None:
        self._do(self.session.receive(frame, self.now), known=True)

    @precondition(lambda self: self.session.begun)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """A subscription ends for a reason of the server's."""
        name = data.draw(st.sampled_from(sorted(self.names)))
        del self.session.subscriptions[name]
        self.names.remove(name)

    def _do(self, effects: list[Effect], *, known: bool) -> list[Any]:
        """Do what the session says; ids of the messages that it answers."""
        answers: list[Any] = []
        assert effects
        for effect in effects:
            assert not self.closed
            match effect:
                case Close(code, reason):
                    assert effects == [effect]
                    assert code in (BAD_MESSAGE, TOO_LARGE, TOO_MANY)
                    assert reason
                    self.closed = True
                case Identify(_, cause) if known:
                    assert effects == [effect]
                    answers += self._do(self.session.identified(cause, BOB), known=True)
                    assert self.session.actor == BOB
                case Identify():
                    self.closed = True
                case Begin(request):
                    self._begin(request)
                    answers.append(request.id)
                case End(subscription):
                    self.names.remove(subscription.name)
                case Say(_, members):
                    answers.append(members["id"])
                case Welcome(message_id) | Recheck(message_id):
                    self.welcomed += isinstance(effect, Welcome)
                    answers.append(message_id)
        return answers

    def _begin(self, request: Subscribe) -> None:
        assert self.welcomed
        assert request.sub not in self.names
        if request.path == "/buckets":
            self.session.subscriptions[request.sub] = make_subscription(name=request.sub)
            self.names.add(request.sub)
        else:
            # As if nothing were there.
            del self.session.subscriptions[request.sub]

    @invariant()
    def names_are_those_of_the_subscriptions(self) -> None:
        assert {one.name for one in self.session.begun} == self.names
        assert set(self.session.subscriptions) == self.names
        assert len(self.names) <= 2
        assert self.welcomed <= 1


SessionPromises.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, derandomize=True
)
TestSessionPromises = SessionPromises.TestCase
