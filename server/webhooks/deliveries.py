"""What a webhook is sent: changes of one bucket, in order, signed. Pure.

The headers are those of Standard Webhooks 1.0 (https://www.standardwebhooks.com):
``webhook-id``, ``webhook-timestamp`` in seconds, and ``webhook-signature``, which is
``v1,`` and base64 of HMAC-SHA256 of ``id.timestamp.body``.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from server.core.json_text import dump_json
from server.core.paths import object_path
from server.core.positions import spell_cursor
from server.core.revisions import Revision
from server.webhooks.hooks import Hook

PREFIX = "whsec_"
"""Of a secret whose rest is base64 of the key."""


def make_body(hook: Hook, bucket: str, revisions: Sequence[Revision], *, missed: bool) -> bytes:
    """The JSON of a delivery.

    Args:
        hook: that it is for.
        bucket: id of the bucket.
        revisions: in the bucket's order.
        missed: whether changes before these are not known any more.
    """
    head = dump_json({"type": "changes", "hook": hook.name, "bucket_id": bucket, "missed": missed})
    return b'%b,"events":[%b]}' % (head[:-1], b",".join(map(_make_event, revisions)))


def _make_event(revision: Revision) -> bytes:
    told: dict[str, Any] = {
        "action": revision.action,
        "uri": revision.uri,
        "resource_name": object_path(revision.uri).kind.name,
        "cursor": spell_cursor(revision.position),
        "seq": spell_cursor(revision.seq),
        "date": datetime.fromtimestamp(revision.date / 1000, UTC).isoformat(),
        "user_id": revision.by,
    }
    before = b"null" if revision.before is None else revision.before
    return b'%b,"data":%b,"old":%b}' % (dump_json(told)[:-1], revision.json, before)


def make_id(hook: Hook, bucket: str, revisions: Sequence[Revision]) -> str:
    """The same for a delivery that is sent again."""
    first, last = revisions[0].seq, revisions[-1].seq
    facts = f"{hook.name}\n{bucket}\n{first}\n{last}".encode()
    return "msg_" + hashlib.sha256(facts).hexdigest()[:32]


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``.

    Args:
        secret: of the webhook; one that begins with ``whsec_`` is base64 of the key.
        message_id: of the delivery.
        timestamp: in seconds since 1970.
        body: as it is sent.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.digest(_key(secret), signed, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    if secret.startswith(PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
