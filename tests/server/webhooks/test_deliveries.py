import json

from server.core.positions import spell_cursor
from server.webhooks.deliveries import make_body, make_id, sign
from server.webhooks.hooks import Hook
from tests.server.storage.scenes import make_revision

HOOK = Hook("audit", "https://a.example/", "s")


def test_delivery_tells_what_was_done_to_what_and_by_whom() -> None:
    revision = make_revision()
    body = json.loads(make_body(HOOK, "b", [revision], missed=False))
    (event,) = body.pop("events")
    assert body == {"type": "changes", "hook": "audit", "bucket_id": "b", "missed": False}
    assert event == {
        "action": "update",
        "uri": "/buckets/b/groups/g",
        "resource_name": "group",
        "cursor": spell_cursor(revision.position),
        "seq": spell_cursor(revision.seq),
        "date": event["date"],
        "user_id": "basicauth:alice",
        "data": {"id": "g", "x": 1},
        "old": {"id": "g"},
    }
    assert event["date"].endswith("+00:00")


def test_what_was_made_had_nothing_before() -> None:
    revisions = [make_revision(before=None, action="create"), make_revision()]
    first, second = json.loads(make_body(HOOK, "b", revisions, missed=True))["events"]
    assert first["old"] is None
    assert second["old"] == {"id": "g"}


def test_delivery_that_is_sent_again_has_the_same_id_and_others_have_others() -> None:
    first, second = make_revision(seq=1), make_revision(seq=2)
    ids = [
        make_id(HOOK, "b", [first]),
        make_id(HOOK, "b", [first]),
        make_id(HOOK, "b", [first, second]),
        make_id(HOOK, "c", [first]),
        make_id(Hook("other", "https://a.example/", "s"), "b", [first]),
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


def test_signature_is_that_of_the_standard() -> None:
    # The example that the libraries of Standard Webhooks test themselves with.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secret_that_only_looks_like_base64_is_a_key_as_it_is() -> None:
    assert sign("whsec_!", "m", 1, b"") == sign("whsec_!", "m", 1, b"")
    assert sign("whsec_!", "m", 1, b"") != sign("whsec_", "m", 1, b"")
