import pytest

from notifier.messages import Options
from notifier.subscriptions import Request, State
from tests.notifier.scenes import BOB, make_subscription, rights_of


def test_subscription_begins_with_nothing_known_of_it() -> None:
    subscription = make_subscription(options=Options("ids"), name="s")
    assert subscription.state is State.CATCHING_UP
    assert (subscription.request, subscription.rights, subscription.cursor) == (None, None, None)
    assert (subscription.since_at, subscription.key) == (0, None)
    assert subscription.label == "ws s"


def test_look_is_what_it_wants_as_far_as_it_may() -> None:
    subscription = make_subscription(options=Options("ids"))
    subscription.rights = rights_of(BOB)
    look = subscription.look(7)
    assert (look.topic, look.options) == (subscription.topic, Options("ids"))
    assert (look.rights, look.event_max_bytes) == (rights_of(BOB), 7)


def test_look_before_rights_are_known_is_an_error_of_ours() -> None:
    with pytest.raises(AssertionError):
        make_subscription().look(7)


def test_request_waits_for_nothing_unless_it_says_so() -> None:
    request = Request()
    assert (request.id, request.since, request.waiting) == (None, None, False)
