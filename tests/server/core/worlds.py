"""A database of one process, in a dictionary: the core decides, the dictionary remembers."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from server.core.commands import Change, Create, Outcome, Remove, Replace, Target, Write
from server.core.contents import parse_content
from server.core.decisions import Decider
from server.core.errors import SyncError
from server.core.judge import Judge
from server.core.objects import StoredObject, make_root
from server.core.patches import SHALLOW, parse_patch
from server.core.paths import ROOT, ListPath, object_path, parse_path
from server.core.permissions import GRANTABLE, Actor, Rules, make_actor
from server.core.positions import timestamp_of
from server.core.preconditions import NONE, Precondition
from server.core.state import State, Unread

NOW = 1_000
ALICE = make_actor("alice")
BOB = make_actor("bob")
RULES = Rules({"bucket:create": frozenset(["system.Authenticated"])})
EMPTY_PATCH: Mapping[str, Any] = {"data": {}}


class World:
    """A database of one process: each write is decided and, if it is not refused, stored."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules = rules
        self.now = NOW
        self.objects: dict[str, StoredObject | None] = {ROOT: make_root(NOW, "e1")}

    def do(self, write: Write) -> Any:
        state = State({})
        decider = Decider(Judge(state, self.rules), self.now)
        for _ in range(20):
            mark = state.mark()
            try:
                verdict = decider.decide(write)
            except Unread as unread:
                state.undo(mark)
                state.add_read({uri: self.objects.get(uri) for uri in unread.uris})
            else:
                self.objects.update(state.finished())
                return verdict
        raise AssertionError("the decision comes to no end")

    def put(self, uri: str, body: Any = None, actor: Actor = ALICE, **more: Any) -> Outcome:
        content = parse_content(object_path(uri).kind.name, body or {})
        outcome = self.do(Replace(target(uri, actor, **more), content))
        assert isinstance(outcome, Outcome)
        return outcome

    def patch(
        self,
        uri: str,
        body: Any = EMPTY_PATCH,
        actor: Actor = ALICE,
        kind: str = SHALLOW,
        **more: Any,
    ) -> Outcome:
        patch = parse_patch(kind, body, GRANTABLE[object_path(uri).kind.name])
        outcome = self.do(Change(target(uri, actor, **more), patch))
        assert isinstance(outcome, Outcome)
        return outcome

    def post(self, uri: str, body: Any = None, actor: Actor = ALICE, **more: Any) -> Outcome:
        content = parse_content(object_path(uri).kind.name, body or {})
        outcome = self.do(Create(target(uri, actor, **more), content))
        assert isinstance(outcome, Outcome)
        return outcome

    def delete(
        self, uri: str, actor: Actor = ALICE, date: int | None = None, **more: Any
    ) -> Outcome:
        outcome = self.do(Remove(target(uri, actor, **more), date))
        assert isinstance(outcome, Outcome)
        return outcome

    def method(self, name: str) -> Callable[..., Outcome]:
        """The write that a method of HTTP stands for."""
        methods: dict[str, Callable[..., Outcome]] = {
            "PUT": self.put,
            "POST": self.post,
            "PATCH": self.patch,
            "DELETE": self.delete,
        }
        return methods[name]

    def get(self, uri: str) -> Mapping[str, Any] | None:
        path = object_path(uri)
        state = State({step.uri: self.objects.get(step.uri) for step in path.chain})
        if any(state.live(step) is None for step in path.ancestors):
            return None
        found = state.live(path)
        return None if found is None else found.data

    def acl(self, uri: str) -> Mapping[str, tuple[str, ...]]:
        stored = self.objects[uri]
        assert stored is not None
        return stored.acl

    def etag(self, uri: str) -> int:
        path = list_path(uri)
        parent = self.objects[path.parent_uri]
        assert parent is not None
        return timestamp_of(parent.clocks[path.kind.plural].position)


def target(uri: str, actor: Actor = ALICE, precondition: Precondition = NONE) -> Target:
    return Target(actor, object_path(uri), precondition)


def list_path(uri: str) -> ListPath:
    path = parse_path(uri)
    assert isinstance(path, ListPath)
    return path


def error_of(do: Callable[[], object]) -> SyncError:
    with pytest.raises(SyncError) as caught:
        do()
    return caught.value
